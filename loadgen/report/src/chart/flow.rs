//! The flow from the schedule to the stored records: bars as high as their counts, joined by bands.

use super::{CANVASES, svg};
use crate::axis::tenths;
use crate::flow::{Flow, Part};
use crate::markup::Markup;
use record::number::{count, counted};

/// Height of everything that was scheduled.
const WHOLE: f64 = 200.0;
/// Width of a bar.
const BAR: f64 = 12.0;
/// The least height of a part that is not empty, so that a single loan is seen.
const THIN: f64 = 2.0;
/// The least distance between the tops of two parts: the room that a label needs.
const LABEL: f64 = 34.0;
const TOP: f64 = 34.0;

/// Where a part lies.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    x: f64,
    top: f64,
    height: f64,
}

/// Draws the flow for a wide page. A narrow one has the bars, and both have the table.
pub(crate) fn flow(markup: &mut Markup, flow: &Flow) {
    let canvas = CANVASES[0];
    let (places, bottom) = places(flow, canvas.width);
    let whole = flow.part((0, 0));
    let description = format!(
        "From {} on the left to the stored records on the right. The table below has the same figures.",
        counted(whole.count, "scheduled arrival")
    );
    svg(
        markup,
        canvas,
        bottom + 24.0,
        "What was sent, and what became of it",
        &description,
        |markup| {
            for (step, row) in flow.steps.iter().zip(&places) {
                let x = tenths(row[0].x);
                markup.leaf(
                    "text",
                    &[("class", &"axis"), ("x", &x), ("y", &14)],
                    step.title,
                );
            }
            bands(markup, flow, &places);
            for (step, row) in flow.steps.iter().zip(&places) {
                for (part, place) in step.parts.iter().zip(row) {
                    if part.count > 0 {
                        bar(markup, *part, *place);
                    }
                }
            }
        },
    );
}

fn bar(markup: &mut Markup, part: Part, place: Place) {
    markup.empty(
        "rect",
        &[
            ("class", &format!("part {}", part.class)),
            ("x", &tenths(place.x)),
            ("y", &tenths(place.top)),
            ("width", &BAR),
            ("height", &tenths(place.height)),
            ("rx", &1.5),
        ],
    );
    let x = tenths(place.x + BAR + 7.0);
    let text = |markup: &mut Markup, class: &str, y: f64, text: &str| {
        markup.leaf(
            "text",
            &[("class", &class), ("x", &x), ("y", &tenths(y))],
            text,
        );
    };
    text(
        markup,
        &format!("number {}", part.class),
        place.top + 12.0,
        &count(part.count),
    );
    text(markup, "halo", place.top + 26.0, part.name);
}

/// The places of all parts, and how far down the lowest one reaches.
fn places(flow: &Flow, width: f64) -> (Vec<Vec<Place>>, f64) {
    let whole = flow.part((0, 0)).count.max(1) as f64;
    let pitch = width / flow.steps.len().max(1) as f64;
    let mut lowest = TOP;
    let places = flow
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let mut top = TOP;
            step.parts
                .iter()
                .map(|part| {
                    let mut place = Place {
                        x: index as f64 * pitch,
                        top,
                        height: 0.0,
                    };
                    if part.count > 0 {
                        place.height = (part.count as f64 / whole * WHOLE).max(THIN);
                        top += place.height.max(LABEL) + 8.0;
                        lowest = lowest.max(place.top + place.height.max(LABEL));
                    }
                    place
                })
                .collect()
        })
        .collect();
    (places, lowest)
}

/// The bands between the bars, each as high as its share of both.
fn bands(markup: &mut Markup, flow: &Flow, places: &[Vec<Place>]) {
    // How much of each part's right and left side is taken.
    let mut taken: Vec<Vec<(f64, f64)>> = places
        .iter()
        .map(|row| vec![(0.0, 0.0); row.len()])
        .collect();
    for link in &flow.links {
        let (from, to) = (flow.part(link.from), flow.part(link.to));
        let (start, end) = (
            places[link.from.0][link.from.1],
            places[link.to.0][link.to.1],
        );
        let leaving = link.count as f64 / from.count.max(1) as f64 * start.height;
        let arriving = link.count as f64 / to.count.max(1) as f64 * end.height;
        let from_top = start.top + taken[link.from.0][link.from.1].0;
        let to_top = end.top + taken[link.to.0][link.to.1].1;
        taken[link.from.0][link.from.1].0 += leaving;
        taken[link.to.0][link.to.1].1 += arriving;
        let [x1, x2, middle] =
            [start.x + BAR, end.x, f64::midpoint(start.x + BAR, end.x)].map(tenths);
        let [y1, y2, y3, y4] = [
            from_top,
            to_top,
            to_top + arriving.max(1.0),
            from_top + leaving.max(1.0),
        ]
        .map(tenths);
        let d = format!(
            "M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}V{y3}C{middle} {y3} {middle} {y4} {x1} {y4}z"
        );
        let title = format!(
            "{} of {} {}: {}",
            count(link.count),
            count(from.count),
            from.name,
            to.name
        );
        markup.element(
            "path",
            &[("class", &format!("flowband {}", to.class)), ("d", &d)],
            |markup| markup.leaf("title", &[], &title),
        );
    }
}

//! A line without axes, as high as a line of text: the trend of one figure.

use super::path;
use crate::axis::Axis;
use crate::markup::Markup;

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 26.0;
const MARGIN: f64 = 3.0;

/// Draws `values`, the oldest first, from zero up to the highest. Gaps stay gaps; the last value gets a dot.
pub(crate) fn spark(markup: &mut Markup, class: &str, name: &str, values: &[Option<f64>]) {
    let highest = values.iter().flatten().copied().fold(0.0, f64::max);
    if highest <= 0.0 {
        return;
    }
    let x = Axis::linear(
        (0.0, values.len().saturating_sub(1).max(1) as f64),
        (MARGIN, WIDTH - MARGIN),
    );
    let y = Axis::linear((0.0, highest), (HEIGHT - MARGIN, MARGIN));
    let view = format!("0 0 {WIDTH} {HEIGHT}");
    markup.element(
        "svg",
        &[
            ("class", &"spark"),
            ("viewBox", &view),
            ("role", &"img"),
            ("aria-label", &name),
        ],
        |markup| {
            let mut d = String::new();
            let mut run = Vec::new();
            for (index, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    run.push((x.at(index as f64), y.at(*value)));
                } else {
                    d.push_str(&path(&run));
                    run.clear();
                }
            }
            d.push_str(&path(&run));
            markup.empty("path", &[("class", &format!("line {class}")), ("d", &d)]);
            if let Some((cx, cy)) = run.last() {
                markup.empty(
                    "circle",
                    &[
                        ("class", &format!("dot {class}")),
                        ("cx", cx),
                        ("cy", cy),
                        ("r", &2.6),
                    ],
                );
            }
        },
    );
}

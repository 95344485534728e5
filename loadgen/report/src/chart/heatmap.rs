//! Response times over time: each cell is darker the more answers fell in it.

use std::fmt::Write as _;

use super::{Canvas, LEFT, clock, drawings, label, line, no_data, svg, tick, tick_micros};
use crate::axis::{Axis, clock_step};
use crate::markup::Markup;
use record::number::count;
use record::result::run::{Heatmap, Report};

/// Shades of a cell that holds anything.
const SHADES: usize = 6;

/// Draws the map, if one was kept.
pub(crate) fn heatmap(markup: &mut Markup, report: &Report) {
    let Some(map) = report.heatmap.as_ref().filter(|map| highest(map) > 0) else {
        no_data(markup, "No data: no map of the response times was kept.");
        return;
    };
    drawings(markup, "heatmap", |markup, canvas| {
        draw(markup, report, map, canvas);
    });
}

fn highest(map: &Heatmap) -> u64 {
    map.columns.iter().flatten().copied().max().unwrap_or(0)
}

/// The shade of a cell, 1 to [`SHADES`]: by the logarithm of its count, so that a single slow answer is seen.
fn shade(cell: u64, highest: u64) -> usize {
    let share = (cell as f64).ln_1p() / (highest as f64).ln_1p();
    ((share * SHADES as f64).ceil() as usize).clamp(1, SHADES)
}

fn draw(markup: &mut Markup, report: &Report, map: &Heatmap, canvas: Canvas) {
    let right = canvas.right();
    let top = 34.0;
    // A row that is too low cannot be seen, one that is too high looks like much.
    let rows = map.row_bounds_us.len() as f64;
    let row_height = (250.0 / rows).clamp(6.0, 22.0);
    let bottom = top + rows * row_height;
    let height = bottom + 40.0;
    let end = (map.columns.len() as f64 * map.column_seconds)
        .max(report.time_series.len() as f64)
        .max(1.0);
    let x = Axis::linear((0.0, end), (LEFT, right));
    let y = Axis::linear((0.0, rows), (bottom, top));
    let most = highest(map);
    let description =
        "Time runs to the right, response time upwards; darker cells hold more answers.";
    svg(
        markup,
        canvas,
        height,
        "Response time over time",
        description,
        |markup| {
            scale(markup, right, most);
            markup.empty(
                "rect",
                &[
                    ("class", &"heatground"),
                    ("x", &LEFT),
                    ("y", &top),
                    ("width", &(right - LEFT)),
                    ("height", &(bottom - top)),
                ],
            );
            for (level, d) in cells(map, most, &x, &y).iter().enumerate() {
                if !d.is_empty() {
                    let class = format!("heat h{}", level + 1);
                    markup.empty("path", &[("class", &class), ("d", d)]);
                }
            }
            for (row, bound) in map.row_bounds_us.iter().enumerate() {
                // Of each decade 1, and 3 where there is room: 3 lies in its middle.
                let first = bound / 10_u64.pow(bound.ilog10());
                let round = bound % 10_u64.pow(bound.ilog10()) == 0;
                if round && (first == 1 || (first == 3 && row_height >= 8.0)) {
                    let at = y.at(row as f64 + 1.0);
                    line(markup, "grid over", (LEFT, at), (right, at));
                    tick(markup, at, &tick_micros(*bound as f64));
                }
            }
            for phase in &report.phases {
                if phase.start_seconds > 0.0 && phase.start_seconds < end {
                    let at = x.at(phase.start_seconds);
                    line(markup, "border", (at, top), (at, bottom));
                }
            }
            let step = clock_step(end, if canvas.wide { 12.0 } else { 5.0 });
            for index in 0..=(end / step) as u32 {
                let at = f64::from(index) * step;
                label(
                    markup,
                    x.at(at),
                    bottom + 18.0,
                    "middle",
                    "tick",
                    &clock(at),
                );
            }
            label(
                markup,
                f64::midpoint(LEFT, right),
                height - 5.0,
                "middle",
                "axis",
                "time since the start of the load",
            );
        },
    );
}

/// What the shades stand for.
fn scale(markup: &mut Markup, right: f64, most: u64) {
    const BOX: f64 = 14.0;
    let text = format!("{} answers in a cell", count(most));
    let start = right - text.len() as f64 * 6.4 - BOX * SHADES as f64 - 6.0;
    label(markup, start - 6.0, 16.0, "end", "tick", "1");
    for level in 1..=SHADES {
        markup.empty(
            "rect",
            &[
                ("class", &format!("heat h{level}")),
                ("x", &(start + (level - 1) as f64 * BOX)),
                ("y", &5),
                ("width", &BOX),
                ("height", &12),
            ],
        );
    }
    label(
        markup,
        start + BOX * SHADES as f64 + 6.0,
        16.0,
        "start",
        "tick",
        &text,
    );
}

/// One path for each shade; neighbours of one shade in a row are joined.
fn cells(map: &Heatmap, most: u64, x: &Axis, y: &Axis) -> [String; SHADES] {
    let mut paths: [String; SHADES] = Default::default();
    for row in 0..map.row_bounds_us.len() {
        let shades: Vec<usize> = map
            .columns
            .iter()
            .map(|column| match column.get(row).copied().unwrap_or(0) {
                0 => 0,
                cell => shade(cell, most),
            })
            .collect();
        let mut from = 0;
        for run in shades.chunk_by(|a, b| a == b) {
            let to = from + run.len();
            if run[0] > 0 {
                let at = |column: usize| x.at(column as f64 * map.column_seconds);
                let (left, right) = (at(from), at(to));
                let (top, bottom) = (y.at(row as f64 + 1.0), y.at(row as f64));
                let _ = write!(paths[run[0] - 1], "M{left} {top}H{right}V{bottom}H{left}z");
            }
            from = to;
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_answer_among_thousands_is_seen() {
        assert_eq!(shade(1, 1), SHADES);
        assert_eq!(shade(1, 2_000), 1);
        assert_eq!(shade(2_000, 2_000), SHADES);
    }
}

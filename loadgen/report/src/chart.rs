//! The charts, as SVG. They need no script; where there is one, it puts charts to hover and zoom in their place.
//!
//! Each is drawn twice, for a wide and for a narrow page, so that its text keeps a readable size; the style sheet shows
//! one of them. Colours come from the style sheet by the name of the series, the same in every chart.

mod flow;
mod heatmap;
mod percentiles;
mod rates;
mod spark;
mod timeline;

use std::fmt::Write as _;

use crate::axis::tenths;
use crate::markup::Markup;
use record::number::{count, micros, plain, seconds};

pub(crate) use flow::flow;
pub(crate) use heatmap::heatmap;
pub(crate) use percentiles::percentiles;
pub(crate) use rates::rates;
pub(crate) use spark::spark;
pub(crate) use timeline::timeline;

/// The size of a drawing.
#[derive(Debug, Clone, Copy)]
struct Canvas {
    class: &'static str,
    width: f64,
    buckets_max: usize,
    wide: bool,
}

impl Canvas {
    /// Where plots on a time axis end.
    fn right(self) -> f64 {
        self.width - 12.0
    }
}

/// The two drawings of each chart.
const CANVASES: [Canvas; 2] = [
    Canvas {
        class: "chart wide",
        width: 920.0,
        buckets_max: 240,
        wide: true,
    },
    Canvas {
        class: "chart narrow",
        width: 340.0,
        buckets_max: 120,
        wide: false,
    },
];

/// Where plots begin: left of it stand the values of the axis.
const LEFT: f64 = 58.0;
/// Mean width of a character of the charts' text.
const CHARACTER: f64 = 6.4;

/// The drawings of one chart. The script, where there is one, finds them by `name`.
fn drawings(markup: &mut Markup, name: &str, draw: impl Fn(&mut Markup, Canvas)) {
    markup.element(
        "div",
        &[("class", &"static"), ("data-live", &name)],
        |markup| {
            for canvas in CANVASES {
                draw(markup, canvas);
            }
        },
    );
}

fn no_data(markup: &mut Markup, text: &str) {
    markup.leaf("p", &[("class", &"nodata")], text);
}

/// The title of a panel and the names of its lines, each after a piece of its line.
fn legend(
    markup: &mut Markup,
    x: f64,
    y: f64,
    title: &str,
    names: impl IntoIterator<Item = (&'static str, &'static str)>,
) {
    markup.element("text", &[("x", &x), ("y", &y)], |markup| {
        let mut gap = 0;
        if !title.is_empty() {
            markup.leaf("tspan", &[("class", &"panel")], title);
            gap = 14;
        }
        for (name, class) in names {
            markup.leaf(
                "tspan",
                &[("class", &format!("key {class}")), ("dx", &gap)],
                "━",
            );
            markup.leaf("tspan", &[("class", &"keyname"), ("dx", &4)], name);
            gap = 12;
        }
    });
}

fn svg(
    markup: &mut Markup,
    canvas: Canvas,
    height: f64,
    title: &str,
    description: &str,
    inside: impl FnOnce(&mut Markup),
) {
    let view = format!("0 0 {} {}", canvas.width, tenths(height));
    markup.element(
        "svg",
        &[
            ("class", &canvas.class),
            ("viewBox", &view),
            ("role", &"img"),
            ("aria-label", &format!("{title}. {description}")),
        ],
        inside,
    );
}

/// A straight line of a class.
fn line(markup: &mut Markup, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    markup.empty(
        "line",
        &[
            ("class", &class),
            ("x1", &tenths(x1)),
            ("y1", &tenths(y1)),
            ("x2", &tenths(x2)),
            ("y2", &tenths(y2)),
        ],
    );
}

fn grid_line(markup: &mut Markup, y: f64, right: f64) {
    line(markup, "grid", (LEFT, y), (right, y));
}

fn label(markup: &mut Markup, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let (x, y) = (tenths(x), tenths(y));
    markup.leaf(
        "text",
        &[
            ("class", &class),
            ("x", &x),
            ("y", &y),
            ("text-anchor", &anchor),
        ],
        text,
    );
}

/// A name along the left edge of a plot, by its value on the axis.
fn tick(markup: &mut Markup, y: f64, text: &str) {
    label(markup, LEFT - 8.0, y + 4.0, "end", "tick", text);
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(d, "{command}{x} {y}");
    }
    // A lone point would be invisible: a line of no length with round ends is a dot.
    if points.len() == 1 {
        d.push_str("h0.1");
    }
    d
}

/// Seconds since the start, as on an axis: `40 s`, `2 min`, `2 min 30 s`.
pub(crate) fn clock(at_seconds: f64) -> String {
    if at_seconds < 120.0 {
        return format!("{} s", plain(at_seconds));
    }
    let whole = at_seconds.round() as u64;
    if whole.is_multiple_of(60) && whole < 3600 {
        format!("{} min", count(whole / 60))
    } else {
        seconds(at_seconds)
    }
}

/// Microseconds on an axis, where every value is round: `10 ms`, not `10.0 ms`.
fn tick_micros(value: f64) -> String {
    micros(value as u64)
        .replacen(".00 ", " ", 1)
        .replacen(".0 ", " ", 1)
}

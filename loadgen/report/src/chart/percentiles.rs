//! Latency by percentile: response, service and end-to-end time, both axes logarithmic.

use super::{
    Canvas, LEFT, drawings, grid_line, label, legend, line, no_data, path, svg, tick, tick_micros,
};
use crate::axis::{Axis, logarithmic_ticks, spread};
use crate::markup::Markup;
use record::number::micros;
use record::result::run::{CurvePoint, Report};

/// The most nines that the axis shows: 99.99999 %.
const NINES_MAX: f64 = 7.0;

struct Curve<'a> {
    name: &'static str,
    class: &'static str,
    points: &'a [CurvePoint],
}

/// Draws the curves that have points.
pub(crate) fn percentiles(markup: &mut Markup, report: &Report) {
    let of = &report.latency_curve;
    let curves: Vec<Curve> = [
        ("end to end", "recorded", &of.end_to_end_us),
        ("response", "sent", &of.response_us),
        ("service", "service", &of.service_us),
    ]
    .into_iter()
    .filter(|(_, _, points)| !points.is_empty())
    .map(|(name, class, points)| Curve {
        name,
        class,
        points,
    })
    .collect();
    if curves.is_empty() {
        no_data(markup, "No data: no request was answered.");
        return;
    }
    drawings(markup, "percentiles", |markup, canvas| {
        draw(markup, &curves, canvas);
    });
}

fn draw(markup: &mut Markup, curves: &[Curve], canvas: Canvas) {
    let height = if canvas.wide { 340.0 } else { 300.0 };
    let right = canvas.width - if canvas.wide { 96.0 } else { 12.0 };
    let (top, bottom) = (if canvas.wide { 16.0 } else { 34.0 }, height - 44.0);
    let points = || curves.iter().flat_map(|curve| curve.points);
    let value = |point: &CurvePoint| (point.us as f64).max(1.0);
    let ticks = logarithmic_ticks(
        points().map(value).fold(f64::MAX, f64::min),
        points().map(value).fold(1.0, f64::max),
    );
    let y = Axis::logarithmic((ticks[0], ticks[ticks.len() - 1]), (bottom, top));
    // The last point of each curve is 100 %, which lies at infinity: the axis ends one step beyond the one before it.
    let nines_shown = points()
        .filter(|point| point.percentile < 100.0)
        .map(|point| nines(point.percentile))
        .fold(2.0, f64::max)
        .min(NINES_MAX);
    let x = Axis::linear((0.0, nines_shown), (LEFT, right));

    let description = "Both axes are logarithmic. The table below has the same figures.";
    svg(
        markup,
        canvas,
        height,
        "Latency by percentile",
        description,
        |markup| {
            for value in &ticks {
                grid_line(markup, y.at(*value), right);
                tick(markup, y.at(*value), &tick_micros(*value));
            }
            for (text, percentile) in [
                ("p50", 50.0),
                ("p90", 90.0),
                ("p99", 99.0),
                ("p99.9", 99.9),
                ("p99.99", 99.99),
                ("p99.999", 99.999),
                ("p99.9999", 99.9999),
            ] {
                if nines(percentile) <= nines_shown + 1e-6 {
                    let at = x.at(nines(percentile));
                    line(markup, "grid", (at, top), (at, bottom));
                    label(markup, at, bottom + 18.0, "middle", "tick", text);
                }
            }
            label(
                markup,
                f64::midpoint(LEFT, right),
                height - 6.0,
                "middle",
                "axis",
                "percentile of the requests: the share that was at least this fast",
            );
            for curve in curves {
                draw_curve(markup, curve, &x, &y);
            }
            if canvas.wide {
                let ends: Vec<f64> = curves
                    .iter()
                    .map(|curve| y.at(curve.points.last().map_or(1.0, value)))
                    .collect();
                for (curve, at) in curves.iter().zip(spread(&ends, 15.0, top + 6.0, bottom)) {
                    let class = format!("name {}", curve.class);
                    label(markup, right + 8.0, at + 4.0, "start", &class, curve.name);
                }
            } else {
                let names = curves.iter().map(|curve| (curve.name, curve.class));
                legend(markup, 12.0, 16.0, "", names);
            }
        },
    );
}

fn draw_curve(markup: &mut Markup, curve: &Curve, x: &Axis, y: &Axis) {
    let points: Vec<(f64, f64)> = curve
        .points
        .iter()
        .map(|point| {
            (
                x.at(nines(point.percentile)),
                y.at((point.us as f64).max(1.0)),
            )
        })
        .collect();
    let class = format!("line {}", curve.class);
    markup.empty("path", &[("class", &class), ("d", &path(&points))]);
    let class = format!("dot {}", curve.class);
    for (point, (cx, cy)) in curve.points.iter().zip(&points) {
        let text = format!(
            "{} p{}: {}",
            curve.name,
            percentile(point.percentile),
            micros(point.us)
        );
        let attributes: [(&str, &dyn std::fmt::Display); 4] =
            [("class", &class), ("cx", cx), ("cy", cy), ("r", &"2.2")];
        markup.element("circle", &attributes, |markup| {
            markup.leaf("title", &[], &text);
        });
    }
}

/// How many nines a percentile has: 90 has one, 99 two.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-12).log10()
}

fn percentile(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

//! Latency against rate: what a capacity search found, latencies on a logarithmic axis.

use super::{
    Canvas, LEFT, drawings, grid_line, label, legend, no_data, path, svg, tick, tick_micros,
};
use crate::axis::{Axis, linear_ticks, logarithmic_ticks};
use crate::markup::Markup;
use record::number::{micros, rate};
use record::result::capacity::{Outcome, Probe};

struct Curve {
    name: &'static str,
    class: &'static str,
    of: fn(&Probe) -> Option<u64>,
}

const CURVES: [Curve; 4] = [
    Curve {
        name: "end to end p99",
        class: "recorded",
        of: |probe| probe.end_to_end_us.p99,
    },
    Curve {
        name: "response p99.9",
        class: "service",
        of: |probe| probe.response_us.p999,
    },
    Curve {
        name: "response p99",
        class: "sent",
        of: |probe| probe.response_us.p99,
    },
    Curve {
        name: "response p50",
        class: "median",
        of: |probe| probe.response_us.p50,
    },
];

/// Draws the latencies of all probes. What missed the objectives is hollow.
pub(crate) fn rates(markup: &mut Markup, probes: &[Probe]) {
    let mut sorted: Vec<&Probe> = probes.iter().collect();
    sorted.sort_by(|a, b| a.rate_per_second.total_cmp(&b.rate_per_second));
    let values: Vec<f64> = sorted
        .iter()
        .flat_map(|probe| CURVES.iter().filter_map(|curve| (curve.of)(probe)))
        .map(|us| us.max(1) as f64)
        .collect();
    if values.is_empty() {
        no_data(markup, "No data: nothing was measured.");
        return;
    }
    drawings(markup, "rates", |markup, canvas| {
        draw(markup, &sorted, &values, canvas);
    });
}

fn draw(markup: &mut Markup, probes: &[&Probe], values: &[f64], canvas: Canvas) {
    let height = if canvas.wide { 360.0 } else { 320.0 };
    let (top, bottom) = (44.0, height - 44.0);
    // The last name of the axis stands half beyond its end.
    let right = canvas.right() - 24.0;
    let latencies = logarithmic_ticks(
        values.iter().copied().fold(f64::MAX, f64::min),
        values.iter().copied().fold(1.0, f64::max),
    );
    let highest = probes.last().map_or(1.0, |probe| probe.rate_per_second);
    let rates = linear_ticks(highest, if canvas.wide { 6.0 } else { 3.0 });
    let y = Axis::logarithmic(
        (latencies[0], latencies[latencies.len() - 1]),
        (bottom, top),
    );
    let x = Axis::linear((0.0, rates[rates.len() - 1]), (LEFT, right));
    let description = "Latencies on a logarithmic axis; hollow points missed the objectives. The table below has the same figures.";
    svg(
        markup,
        canvas,
        height,
        "Latency against rate",
        description,
        |markup| {
            for (row, curves) in CURVES.chunks(if canvas.wide { 4 } else { 2 }).enumerate() {
                let names = curves.iter().map(|curve| (curve.name, curve.class));
                legend(markup, 12.0, 14.0 + 16.0 * row as f64, "", names);
            }
            for value in &latencies {
                grid_line(markup, y.at(*value), right);
                tick(markup, y.at(*value), &tick_micros(*value));
            }
            for value in &rates {
                let text = rate(*value);
                label(markup, x.at(*value), bottom + 18.0, "middle", "tick", &text);
            }
            let middle = f64::midpoint(LEFT, right);
            label(markup, middle, height - 6.0, "middle", "axis", "loans sent");
            for curve in &CURVES {
                draw_curve(markup, curve, probes, &x, &y);
            }
        },
    );
}

fn draw_curve(markup: &mut Markup, curve: &Curve, probes: &[&Probe], x: &Axis, y: &Axis) {
    let points: Vec<(&Probe, u64, (f64, f64))> = probes
        .iter()
        .filter_map(|probe| {
            let us = (curve.of)(probe)?;
            let at = (x.at(probe.rate_per_second), y.at(us.max(1) as f64));
            Some((*probe, us, at))
        })
        .collect();
    // A rate that was tried more than once has one point on the line, the middle one; a late generator has none.
    let told: Vec<_> = points
        .iter()
        .filter(|(probe, ..)| probe.outcome != Outcome::Discarded)
        .collect();
    let is_same = |a: &Probe, b: &Probe| (a.rate_per_second - b.rate_per_second).abs() < 0.5;
    let line: Vec<(f64, f64)> = told
        .chunk_by(|a, b| is_same(a.0, b.0))
        .map(|tries| {
            let mut heights: Vec<f64> = tries.iter().map(|(.., (_, y))| *y).collect();
            heights.sort_by(f64::total_cmp);
            (tries[0].2.0, heights[heights.len() / 2])
        })
        .collect();
    let class = format!("line {}", curve.class);
    markup.empty("path", &[("class", &class), ("d", &path(&line))]);
    for (probe, us, (cx, cy)) in &points {
        let (kind, outcome) = match probe.outcome {
            Outcome::Met => ("dot", "met"),
            Outcome::Missed => ("dot hollow", "missed"),
            Outcome::Discarded => ("dot hollow", "discarded"),
        };
        let class = format!("{kind} {}", curve.class);
        let text = format!(
            "{} at {}: {}, {outcome}",
            curve.name,
            rate(probe.rate_per_second),
            micros(*us)
        );
        let attributes: [(&str, &dyn std::fmt::Display); 4] =
            [("class", &class), ("cx", cx), ("cy", cy), ("r", &"3.5")];
        markup.element("circle", &attributes, |markup| {
            markup.leaf("title", &[], &text);
        });
    }
}

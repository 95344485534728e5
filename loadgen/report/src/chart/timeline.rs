//! The run over time: rates, response time, backlog and workers on one axis, with the phases behind and faults across.

use std::fmt::Write as _;

use super::{
    CHARACTER, Canvas, LEFT, clock, drawings, grid_line, label, legend, line, no_data, path, svg,
    tick, tick_micros,
};
use crate::axis::{Axis, clock_step, linear_ticks, logarithmic_ticks, tenths};
use crate::buckets::{
    PANELS, Panel, Scale, Series, Spread, bucket_seconds, point_seconds, spreads,
};
use crate::markup::Markup;
use record::number::{counted, micros, or_no_data, plain};
use record::result::run::{EventKind, Report};

/// Space above a panel, for its title and its legend.
const TITLE: f64 = 30.0;
/// Space above the first panel, for the names of the phases.
const NAMES: f64 = 26.0;

/// Draws the panels, and says below them what a step of their lines stands for.
pub(crate) fn timeline(markup: &mut Markup, report: &Report) {
    let points = &report.time_series;
    if points.is_empty() {
        no_data(
            markup,
            "No data: the run ended before its first second was over.",
        );
        return;
    }
    drawings(markup, "timeline", |markup, canvas| {
        draw(markup, report, canvas);
    });
    let length = bucket_seconds(points, super::CANVASES[0].buckets_max);
    let length = length * point_seconds(points) as usize;
    if length > 1 {
        let text = format!(
            "Each step of a line stands for {}: the mean of a rate, the highest backlog, the most workers, the slowest \
             response time. The band behind it reaches from the lowest of its seconds to the highest. report.json has \
             every second.",
            counted(length as u64, "second")
        );
        let attributes: [(&str, &dyn std::fmt::Display); 2] =
            [("class", &"hint"), ("data-live-note", &"timeline")];
        markup.leaf("p", &attributes, &text);
    }
}

/// A line of the chart, bucket by bucket.
struct Line<'a> {
    series: &'a Series,
    values: Vec<Option<Spread>>,
}

/// The chart's time axis: where each bucket begins and ends.
struct Time {
    x: Axis,
    bounds: Vec<(f64, f64)>,
}

impl Time {
    fn of(report: &Report, bucket_seconds: usize, right: f64) -> Self {
        let step = point_seconds(&report.time_series);
        let bounds: Vec<(f64, f64)> = report
            .time_series
            .chunks(bucket_seconds)
            .map(|chunk| {
                let start = chunk[0].offset_seconds;
                (start, start + chunk.len() as f64 * step)
            })
            .collect();
        let end = bounds.last().map_or(1.0, |(_, end)| *end);
        Self {
            x: Axis::linear((0.0, end), (LEFT, right)),
            bounds,
        }
    }

    fn end(&self) -> f64 {
        self.bounds.last().map_or(1.0, |(_, end)| *end)
    }
}

fn draw(markup: &mut Markup, report: &Report, canvas: Canvas) {
    let points = &report.time_series;
    let bucket_seconds = bucket_seconds(points, canvas.buckets_max);
    let right = canvas.right();
    let time = Time::of(report, bucket_seconds, right);
    let panels: Vec<(&Panel, Vec<Line>)> = PANELS
        .iter()
        .map(|panel| {
            let lines = panel
                .series
                .iter()
                .map(|series| Line {
                    series,
                    values: spreads(points, bucket_seconds, series.of),
                })
                .filter(shown)
                .collect();
            (panel, lines)
        })
        .collect();
    let bottom = NAMES + PANELS.iter().map(|panel| panel.height + TITLE).sum::<f64>();
    let height = bottom + 40.0;

    let description =
        "Four panels on one time axis: rates, response time, backlog, workers. Phases are bands.";
    svg(
        markup,
        canvas,
        height,
        "The run over time",
        description,
        |markup| {
            bands(markup, report, &time, bottom);
            let step = clock_step(time.end(), if canvas.wide { 12.0 } else { 5.0 });
            for index in 0..=(time.end() / step) as u32 {
                let at = f64::from(index) * step;
                label(
                    markup,
                    time.x.at(at),
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
            let mut top = NAMES;
            for (panel, lines) in &panels {
                let plot = (top + TITLE, top + TITLE + panel.height - 8.0);
                draw_panel(markup, panel, lines, &time, right, plot);
                top += panel.height + TITLE;
            }
            pauses(markup, report, &time, bottom);
            faults(markup, report, &time, bottom);
            stop(markup, report, &time, bottom);
            if canvas.wide {
                tooltips(markup, &panels, &time, bottom);
            }
        },
    );
}

/// Whether anything was measured.
fn shown(line: &Line) -> bool {
    line.values.iter().any(Option::is_some)
}

/// The faults as lines across all panels, each with the number that it has in the list of events.
fn faults(markup: &mut Markup, report: &Report, time: &Time, bottom: f64) {
    let faults = report
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Fault)
        .zip(1..);
    for (event, number) in faults {
        let at = time.x.at(event.offset_seconds);
        let title = format!("{}: {}", clock(event.offset_seconds), event.text);
        markup.element("g", &[("class", &"fault")], |markup| {
            markup.leaf("title", &[], &title);
            line(markup, "", (at, NAMES), (at, bottom - 8.0));
            markup.empty("circle", &[("cx", &at), ("cy", &(NAMES - 4.0)), ("r", &8)]);
            label(markup, at, NAMES, "middle", "", &format!("{number}"));
        });
    }
}

/// When the generator stood still, as a tint across all panels.
fn pauses(markup: &mut Markup, report: &Report, time: &Time, bottom: f64) {
    for event in &report.events {
        let (EventKind::Pause, Some(lasts)) = (event.kind, event.lasts_seconds) else {
            continue;
        };
        let from = event.offset_seconds.min(time.end());
        let to = (event.offset_seconds + lasts).min(time.end());
        let title = format!("{}: {}", clock(event.offset_seconds), event.text);
        let (left, right) = (time.x.at(from), time.x.at(to));
        let attributes: [(&str, &dyn std::fmt::Display); 5] = [
            ("class", &"pause"),
            ("x", &left),
            ("y", &NAMES),
            ("width", &tenths((right - left).max(1.0))),
            ("height", &(bottom - 8.0 - NAMES)),
        ];
        markup.element("rect", &attributes, |markup| {
            markup.leaf("title", &[], &title);
        });
    }
}

/// Where the load ended before its planned end, as a line across all panels.
fn stop(markup: &mut Markup, report: &Report, time: &Time, bottom: f64) {
    let stops = report
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Stop);
    for event in stops {
        let at = time.x.at(event.offset_seconds.min(time.end()));
        let title = format!("{}: {}", clock(event.offset_seconds), event.text);
        markup.element("g", &[("class", &"fault stop")], |markup| {
            markup.leaf("title", &[], &title);
            line(markup, "", (at, NAMES), (at, bottom - 8.0));
            markup.empty("circle", &[("cx", &at), ("cy", &(NAMES - 4.0)), ("r", &8)]);
            let square: [(&str, &dyn std::fmt::Display); 5] = [
                ("class", &"square"),
                ("x", &tenths(at - 3.0)),
                ("y", &(NAMES - 7.0)),
                ("width", &6),
                ("height", &6),
            ];
            markup.empty("rect", &square);
        });
    }
}

/// Everything about a bucket, shown when the pointer rests on it.
fn tooltips(markup: &mut Markup, panels: &[(&Panel, Vec<Line>)], time: &Time, bottom: f64) {
    for (index, (start, end)) in time.bounds.iter().enumerate() {
        let mut text = clock(*start);
        for (panel, lines) in panels {
            let figures: Vec<String> = lines
                .iter()
                .map(|line| {
                    let value = line.values[index].map(|spread| panel.scale.of(&spread));
                    let value = or_no_data(value, |value| show(panel.scale, value));
                    format!("{} {value}", line.series.name)
                })
                .collect();
            if !figures.is_empty() {
                let _ = write!(text, "\n{}: {}", panel.title, figures.join(", "));
            }
        }
        let (left, right) = (time.x.at(*start), time.x.at(*end));
        let attributes: [(&str, &dyn std::fmt::Display); 5] = [
            ("class", &"hit"),
            ("x", &left),
            ("y", &NAMES),
            ("width", &tenths(right - left)),
            ("height", &(bottom - NAMES)),
        ];
        markup.element("rect", &attributes, |markup| {
            markup.leaf("title", &[], &text);
        });
    }
}

fn show(scale: Scale, value: f64) -> String {
    match scale {
        Scale::Rate => format!("{}/s", plain(value)),
        Scale::Level => plain(value),
        Scale::Latency => micros(value as u64),
    }
}

/// The phases as bands behind the panels, with their names where there is room, and the drain after them.
fn bands(markup: &mut Markup, report: &Report, time: &Time, bottom: f64) {
    let end = time.end();
    let mut bands: Vec<(&str, f64, f64)> = report
        .phases
        .iter()
        .filter(|phase| phase.start_seconds < end)
        .map(|phase| {
            (
                phase.name.as_str(),
                phase.start_seconds,
                phase.end_seconds.min(end),
            )
        })
        .collect();
    if let Some((_, _, last)) = bands.last().copied() {
        let sent = report.load.sending_seconds.clamp(last, end);
        for (name, from, to) in [("overdue", last, sent), ("drain", sent, end)] {
            if to - from > 0.5 {
                bands.push((name, from, to));
            }
        }
    }
    for (index, (name, from, to)) in bands.iter().enumerate() {
        let (left, right) = (time.x.at(*from), time.x.at(*to));
        let width = tenths(right - left);
        let class = if index % 2 == 0 {
            "band even"
        } else {
            "band odd"
        };
        markup.element("g", &[], |markup| {
            let title = format!("{name}: {} to {}", clock(*from), clock(*to));
            markup.leaf("title", &[], &title);
            markup.empty(
                "rect",
                &[
                    ("class", &class),
                    ("x", &left),
                    ("y", &0),
                    ("width", &width),
                    ("height", &bottom),
                ],
            );
            // Beside the sign of a fault or a stop that stands at its beginning.
            let is_marked = report.events.iter().any(|event| {
                matches!(event.kind, EventKind::Fault | EventKind::Stop)
                    && (event.offset_seconds - from).abs() < 0.05
            });
            let gap = if is_marked { 14.0 } else { 6.0 };
            if name.chars().count() as f64 * CHARACTER + gap + 6.0 <= width {
                label(markup, left + gap, 16.0, "start", "phase", name);
            }
        });
    }
}

fn draw_panel(
    markup: &mut Markup,
    panel: &Panel,
    lines: &[Line],
    time: &Time,
    right: f64,
    (top, bottom): (f64, f64),
) {
    markup.element("g", &[], |markup| {
        if lines.is_empty() {
            legend(markup, LEFT, top - 9.0, panel.title, []);
            let middle = f64::midpoint(top, bottom) + 4.0;
            label(markup, LEFT + 8.0, middle, "start", "axis", "no data");
            line(markup, "base", (LEFT, bottom), (right, bottom));
            return;
        }
        let single = lines.len() == 1 && lines[0].series.name.eq_ignore_ascii_case(panel.title);
        let names = lines
            .iter()
            .filter(|_| !single)
            .map(|line| (line.series.name, line.series.class));
        legend(markup, LEFT, top - 9.0, panel.title, names);

        let (ticks, y) = axis(panel, lines, (top, bottom));
        for value in &ticks {
            grid_line(markup, y.at(*value), right);
            let text = if panel.scale == Scale::Latency {
                tick_micros(*value)
            } else {
                plain(*value)
            };
            tick(markup, y.at(*value), &text);
        }
        for line in lines {
            band(markup, line, time, &y);
            let d = runs(line, time, panel, &y);
            let class = format!("line {}", line.series.class);
            markup.empty("path", &[("class", &class), ("d", &d)]);
        }
    });
}

/// The ticks of a panel's own axis, and the axis.
fn axis(panel: &Panel, lines: &[Line], (top, bottom): (f64, f64)) -> (Vec<f64>, Axis) {
    let spreads = || lines.iter().flat_map(|line| line.values.iter().flatten());
    let highest = spreads().map(|spread| spread.high).fold(0.0, f64::max);
    if panel.scale == Scale::Latency {
        let lowest = spreads().map(|spread| spread.low).fold(f64::MAX, f64::min);
        let ticks = logarithmic_ticks(lowest.max(1.0), highest.max(1.0));
        let bounds = (ticks[0], ticks[ticks.len() - 1]);
        return (ticks, Axis::logarithmic(bounds, (bottom, top)));
    }
    let ticks = linear_ticks(highest, (panel.height / 32.0).floor().max(1.0));
    let bounds = (ticks[0], ticks[ticks.len() - 1]);
    (ticks, Axis::linear(bounds, (bottom, top)))
}

/// The line itself, broken where nothing was measured.
fn runs(line: &Line, time: &Time, panel: &Panel, y: &Axis) -> String {
    let mut d = String::new();
    let mut run: Vec<(f64, f64)> = Vec::new();
    for ((start, end), spread) in time.bounds.iter().zip(&line.values) {
        let Some(spread) = spread else {
            d.push_str(&path(&visible(&run)));
            run.clear();
            continue;
        };
        let at = y.at(panel.scale.of(spread));
        if panel.stepped {
            run.extend([(time.x.at(*start), at), (time.x.at(*end), at)]);
        } else {
            run.push((time.x.at(f64::midpoint(*start, *end)), at));
        }
    }
    d.push_str(&path(&visible(&run)));
    d
}

/// A line of one point would be drawn as nothing: it becomes a short dash.
fn visible(run: &[(f64, f64)]) -> Vec<(f64, f64)> {
    match run {
        [(x, y)] => vec![(x - 3.0, *y), (x + 3.0, *y)],
        run => run.to_vec(),
    }
}

/// From the lowest to the highest second of each bucket, where they differ.
fn band(markup: &mut Markup, line: &Line, time: &Time, y: &Axis) {
    let mut d = String::new();
    for ((start, end), spread) in time.bounds.iter().zip(&line.values) {
        if let Some(spread) = spread.filter(|spread| spread.high > spread.low) {
            let (left, right) = (time.x.at(*start), time.x.at(*end));
            let (top, bottom) = (y.at(spread.high), y.at(spread.low));
            let _ = write!(d, "M{left} {top}H{right}V{bottom}H{left}z");
        }
    }
    if !d.is_empty() {
        let class = format!("spread {}", line.series.class);
        markup.empty("path", &[("class", &class), ("d", &d)]);
    }
}

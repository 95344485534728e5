//! The charts, as SVG: latency by percentile, and the run over time.
//!
//! Each is drawn twice, for a wide and for a narrow page, so that its text keeps a readable size; the style sheet shows
//! one of them. Colours come from the style sheet by the name of the series, the same in every chart.

use std::fmt::Write as _;

use super::axis::{Axis, clock_step, linear_ticks, logarithmic_ticks, spread, tenths};
use super::markup::Markup;
use super::number::{count, micros, or_no_data, plain, seconds};
use super::{CurvePoint, EventKind, Report, TimePoint};

/// The size of a drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    class: &'static str,
    width: f64,
    buckets_max: usize,
    wide: bool,
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

const LEFT: f64 = 58.0;
/// Mean width of a character of the charts' text.
const CHARACTER: f64 = 6.4;

struct Curve<'a> {
    name: &'static str,
    class: &'static str,
    points: &'a [CurvePoint],
}

/// Latency by percentile: response, service and end-to-end time, both axes logarithmic.
pub(super) fn latency(markup: &mut Markup, report: &Report) {
    let curves: Vec<Curve> = [
        (
            "end to end",
            "recorded",
            &report.latency_curve.end_to_end_us,
        ),
        ("response", "sent", &report.latency_curve.response_us),
        ("service", "service", &report.latency_curve.service_us),
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
        markup.leaf(
            "p",
            &[("class", &"nodata")],
            "No data: no request was answered.",
        );
        return;
    }
    for canvas in CANVASES {
        draw_latency(markup, &curves, canvas);
    }
}

fn draw_latency(markup: &mut Markup, curves: &[Curve], canvas: Canvas) {
    let height = if canvas.wide { 330.0 } else { 300.0 };
    let right = canvas.width - if canvas.wide { 96.0 } else { 12.0 };
    let (top, bottom) = (if canvas.wide { 16.0 } else { 34.0 }, height - 44.0);
    let values = || {
        curves
            .iter()
            .flat_map(|curve| curve.points)
            .map(|point| (point.us as f64).max(1.0))
    };
    let ticks = logarithmic_ticks(
        values().fold(f64::MAX, f64::min),
        values().fold(1.0, f64::max),
    );
    let y = Axis::logarithmic((ticks[0], ticks[ticks.len() - 1]), (bottom, top));
    // The last point of each curve is 100 %, which lies at infinity: the axis ends one step beyond the one before it.
    let nines = curves
        .iter()
        .flat_map(|curve| curve.points)
        .filter(|point| point.percentile < 100.0)
        .map(|point| nines(point.percentile))
        .fold(2.0, f64::max)
        .min(7.0);
    let x = Axis::linear((0.0, nines), (LEFT, right));

    let title = "Latency by percentile";
    svg(
        markup,
        canvas,
        height,
        title,
        "Both axes are logarithmic. The table below has the same figures.",
        |markup| {
            for tick in &ticks {
                grid_line(markup, y.at(*tick), right);
                label(
                    markup,
                    LEFT - 8.0,
                    y.at(*tick) + 4.0,
                    "end",
                    "tick",
                    &tick_micros(*tick),
                );
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
                if self::nines(percentile) <= nines + 1e-6 {
                    let at = x.at(self::nines(percentile));
                    markup.empty(
                        "line",
                        &[
                            ("class", &"grid"),
                            ("x1", &at),
                            ("x2", &at),
                            ("y1", &top),
                            ("y2", &bottom),
                        ],
                    );
                    label(markup, at, bottom + 18.0, "middle", "tick", text);
                }
            }
            label(
                markup,
                f64::midpoint(LEFT, right),
                height - 6.0,
                "middle",
                "axis",
                "percentile of the requests",
            );
            for curve in curves {
                let points: Vec<(f64, f64)> = curve
                    .points
                    .iter()
                    .map(|point| {
                        (
                            x.at(self::nines(point.percentile)),
                            y.at((point.us as f64).max(1.0)),
                        )
                    })
                    .collect();
                markup.empty(
                    "path",
                    &[
                        ("class", &format!("line {}", curve.class)),
                        ("d", &path(&points)),
                    ],
                );
                for (point, (cx, cy)) in curve.points.iter().zip(&points) {
                    let text = format!(
                        "{} p{}: {}",
                        curve.name,
                        percentile(point.percentile),
                        micros(point.us)
                    );
                    markup.element(
                        "circle",
                        &[
                            ("class", &format!("dot {}", curve.class)),
                            ("cx", cx),
                            ("cy", cy),
                            ("r", &"2.2"),
                        ],
                        |markup| markup.leaf("title", &[], &text),
                    );
                }
            }
            if canvas.wide {
                let ends: Vec<f64> = curves
                    .iter()
                    .map(|curve| y.at(curve.points.last().map_or(1.0, |point| point.us as f64)))
                    .collect();
                for (curve, at) in curves.iter().zip(spread(&ends, 15.0, top + 6.0, bottom)) {
                    label(
                        markup,
                        right + 8.0,
                        at + 4.0,
                        "start",
                        &format!("name {}", curve.class),
                        curve.name,
                    );
                }
            } else {
                legend(
                    markup,
                    12.0,
                    16.0,
                    "",
                    curves.iter().map(|curve| (curve.name, curve.class)),
                );
            }
        },
    );
}

/// How many nines a percentile has: 90 has one, 99 two.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-12).log10()
}

fn percentile(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One column of the time chart: one or more seconds.
struct Bucket {
    start: f64,
    end: f64,
    planned: f64,
    sent: f64,
    completed: f64,
    failed: Option<f64>,
    recorded: Option<f64>,
    queue: Option<f64>,
    unrecorded: Option<f64>,
    workers: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
}

/// Joins seconds so that at most `buckets_max` remain: rates by their mean, levels and latencies by their highest.
fn buckets(points: &[TimePoint], buckets_max: usize) -> Vec<Bucket> {
    let seconds_per_bucket = points.len().div_ceil(buckets_max).max(1);
    points
        .chunks(seconds_per_bucket)
        .map(|chunk| {
            let length = chunk.len() as f64;
            let mean =
                |of: fn(&TimePoint) -> u64| chunk.iter().map(of).sum::<u64>() as f64 / length;
            let highest = |of: fn(&TimePoint) -> Option<u64>| {
                chunk.iter().filter_map(of).max().map(|value| value as f64)
            };
            let recorded: Vec<f64> = chunk
                .iter()
                .filter_map(|point| point.recorded_per_second)
                .collect();
            let start = chunk[0].offset_seconds;
            Bucket {
                start,
                end: start + length,
                planned: mean(|point| point.planned),
                sent: mean(|point| point.sent),
                completed: mean(|point| point.completed),
                // A line along zero would only hide what lies there.
                failed: Some(mean(|point| point.failed)).filter(|failed| *failed > 0.0),
                recorded: (!recorded.is_empty())
                    .then(|| recorded.iter().sum::<f64>() / recorded.len() as f64),
                queue: highest(|point| point.queue_depth),
                unrecorded: highest(|point| point.unrecorded),
                workers: highest(|point| point.workers),
                p50: highest(|point| point.response_p50_us),
                p99: highest(|point| point.response_p99_us),
            }
        })
        .collect()
}

struct Series {
    name: &'static str,
    class: &'static str,
    values: Vec<Option<f64>>,
}

struct Panel {
    title: &'static str,
    height: f64,
    logarithmic: bool,
    stepped: bool,
    show: fn(f64) -> String,
    series: Vec<Series>,
}

fn panels(buckets: &[Bucket]) -> Vec<Panel> {
    let series = |name, class, of: fn(&Bucket) -> Option<f64>| Series {
        name,
        class,
        values: buckets.iter().map(of).collect(),
    };
    let latency: fn(f64) -> String = tick_micros;
    let mut rates = vec![
        series("planned", "planned", |bucket| Some(bucket.planned)),
        series("sent", "sent", |bucket| Some(bucket.sent)),
        series("recorded", "recorded", |bucket| bucket.recorded),
    ];
    if buckets.iter().any(|bucket| bucket.failed.is_some()) {
        rates.push(series("without answer", "bad", |bucket| bucket.failed));
    }
    vec![
        Panel {
            title: "Each second",
            height: 140.0,
            logarithmic: false,
            stepped: true,
            show: plain,
            series: rates,
        },
        Panel {
            title: "Response time",
            height: 120.0,
            logarithmic: true,
            stepped: false,
            show: latency,
            series: vec![
                series("p99", "sent", |bucket| bucket.p99),
                series("p50", "median", |bucket| bucket.p50),
            ],
        },
        Panel {
            title: "Backlog",
            height: 90.0,
            logarithmic: false,
            stepped: false,
            show: plain,
            series: vec![
                series("queued", "queue", |bucket| bucket.queue),
                series("not yet recorded", "recorded", |bucket| bucket.unrecorded),
            ],
        },
        Panel {
            title: "Workers",
            height: 52.0,
            logarithmic: false,
            stepped: true,
            show: plain,
            series: vec![series("workers", "workers", |bucket| bucket.workers)],
        },
    ]
}

/// The run over time: rates, response time, backlog and workers on one axis, with the phases behind and faults across.
pub(super) fn timeline(markup: &mut Markup, report: &Report) {
    if report.time_series.is_empty() {
        markup.leaf(
            "p",
            &[("class", &"nodata")],
            "No data: the run ended before its first second was over.",
        );
        return;
    }
    for canvas in CANVASES {
        draw_timeline(markup, report, canvas);
    }
}

fn draw_timeline(markup: &mut Markup, report: &Report, canvas: Canvas) {
    const TITLE: f64 = 30.0;
    let buckets = buckets(&report.time_series, canvas.buckets_max);
    let panels = panels(&buckets);
    let right = canvas.width - 12.0;
    let top = 26.0;
    let bottom = top + panels.iter().map(|panel| panel.height + TITLE).sum::<f64>();
    let height = bottom + 40.0;
    let end = buckets.last().map_or(1.0, |bucket| bucket.end);
    let x = Axis::linear((0.0, end), (LEFT, right));

    let description =
        "Four panels on one time axis: rates, response time, backlog, workers. Phases are bands.";
    svg(
        markup,
        canvas,
        height,
        "The run over time",
        description,
        |markup| {
            bands(markup, report, &x, end, bottom);
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

            let mut panel_top = top;
            for panel in &panels {
                let plot = (panel_top + TITLE, panel_top + TITLE + panel.height - 8.0);
                draw_panel(markup, panel, &buckets, &x, right, plot);
                panel_top += panel.height + TITLE;
            }
            for event in report
                .events
                .iter()
                .filter(|event| event.kind == EventKind::Fault)
            {
                let at = x.at(event.offset_seconds);
                markup.element("g", &[("class", &"fault")], |markup| {
                    markup.leaf(
                        "title",
                        &[],
                        &format!("{}: {}", clock(event.offset_seconds), event.text),
                    );
                    markup.empty(
                        "line",
                        &[("x1", &at), ("x2", &at), ("y1", &top), ("y2", &bottom)],
                    );
                    label(markup, at + 4.0, top + 12.0, "start", "bad", "fault");
                });
            }
            if canvas.wide {
                for bucket in &buckets {
                    let (left, right) = (x.at(bucket.start), x.at(bucket.end));
                    markup.element(
                        "rect",
                        &[
                            ("class", &"hit"),
                            ("x", &left),
                            ("y", &top),
                            ("width", &tenths(right - left)),
                            ("height", &(bottom - top)),
                        ],
                        |markup| markup.leaf("title", &[], &tooltip(bucket)),
                    );
                }
            }
        },
    );
}

fn tooltip(bucket: &Bucket) -> String {
    let show = |value: Option<f64>| or_no_data(value, plain);
    let latency = |value: Option<f64>| or_no_data(value, |us| micros(us as u64));
    format!(
        "{}\nplanned {}/s, sent {}/s, answered {}/s, without answer {}/s\nrecorded {}/s\n\
         response p50 {}, p99 {}\nqueued {}, not yet recorded {}, workers {}",
        clock(bucket.start),
        plain(bucket.planned),
        plain(bucket.sent),
        plain(bucket.completed),
        plain(bucket.failed.unwrap_or(0.0)),
        show(bucket.recorded),
        latency(bucket.p50),
        latency(bucket.p99),
        show(bucket.queue),
        show(bucket.unrecorded),
        show(bucket.workers),
    )
}

/// The phases as bands behind the panels, with their names where there is room, and the drain after them.
fn bands(markup: &mut Markup, report: &Report, x: &Axis, end: f64, bottom: f64) {
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
    if let Some((_, _, last)) = bands.last()
        && end - last > 0.5
    {
        bands.push(("drain", *last, end));
    }
    for (index, (name, from, to)) in bands.iter().enumerate() {
        let (left, right) = (x.at(*from), x.at(*to));
        let width = tenths(right - left);
        let class = if index % 2 == 0 {
            "band even"
        } else {
            "band odd"
        };
        markup.element("g", &[], |markup| {
            markup.leaf(
                "title",
                &[],
                &format!("{name}: {} to {}", clock(*from), clock(*to)),
            );
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
            if name.chars().count() as f64 * CHARACTER + 12.0 <= width {
                label(markup, left + 6.0, 16.0, "start", "phase", name);
            }
        });
    }
}

fn draw_panel(
    markup: &mut Markup,
    panel: &Panel,
    buckets: &[Bucket],
    x: &Axis,
    right: f64,
    (top, bottom): (f64, f64),
) {
    let shown: Vec<&Series> = panel
        .series
        .iter()
        .filter(|series| series.values.iter().any(Option::is_some))
        .collect();
    markup.element("g", &[], |markup| {
        if shown.is_empty() {
            legend(markup, LEFT, top - 9.0, panel.title, []);
            label(
                markup,
                LEFT + 8.0,
                f64::midpoint(top, bottom) + 4.0,
                "start",
                "axis",
                "no data",
            );
            markup.empty(
                "line",
                &[
                    ("class", &"base"),
                    ("x1", &LEFT),
                    ("x2", &right),
                    ("y1", &bottom),
                    ("y2", &bottom),
                ],
            );
            return;
        }
        let single = shown.len() == 1 && shown[0].name.eq_ignore_ascii_case(panel.title);
        let names = shown
            .iter()
            .filter(|_| !single)
            .map(|series| (series.name, series.class));
        legend(markup, LEFT, top - 9.0, panel.title, names);

        let values = || {
            shown
                .iter()
                .flat_map(|series| series.values.iter().flatten())
                .copied()
        };
        let highest = values().fold(0.0, f64::max);
        let ticks = if panel.logarithmic {
            logarithmic_ticks(values().fold(f64::MAX, f64::min).max(1.0), highest.max(1.0))
        } else {
            linear_ticks(highest, (panel.height / 32.0).floor().max(1.0))
        };
        let bounds = (ticks[0], ticks[ticks.len() - 1]);
        let y = if panel.logarithmic {
            Axis::logarithmic(bounds, (bottom, top))
        } else {
            Axis::linear(bounds, (bottom, top))
        };
        for tick in &ticks {
            grid_line(markup, y.at(*tick), right);
            label(
                markup,
                LEFT - 8.0,
                y.at(*tick) + 4.0,
                "end",
                "tick",
                &(panel.show)(*tick),
            );
        }
        for series in shown {
            let mut d = String::new();
            let mut run: Vec<(f64, f64)> = Vec::new();
            for (bucket, value) in buckets.iter().zip(&series.values) {
                let Some(value) = value else {
                    d.push_str(&path(&run));
                    run.clear();
                    continue;
                };
                let at = y.at(*value);
                if panel.stepped {
                    run.extend([(x.at(bucket.start), at), (x.at(bucket.end), at)]);
                } else {
                    run.push((x.at(f64::midpoint(bucket.start, bucket.end)), at));
                }
            }
            d.push_str(&path(&run));
            markup.empty(
                "path",
                &[("class", &format!("line {}", series.class)), ("d", &d)],
            );
        }
    });
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
    let view = format!("0 0 {} {height}", canvas.width);
    markup.element(
        "svg",
        &[
            ("class", &canvas.class),
            ("viewBox", &view),
            ("role", &"img"),
            ("aria-label", &title),
        ],
        |markup| {
            markup.leaf("desc", &[], description);
            inside(markup);
        },
    );
}

fn grid_line(markup: &mut Markup, y: f64, right: f64) {
    markup.empty(
        "line",
        &[
            ("class", &"grid"),
            ("x1", &LEFT),
            ("x2", &right),
            ("y1", &y),
            ("y2", &y),
        ],
    );
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
fn clock(at_seconds: f64) -> String {
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

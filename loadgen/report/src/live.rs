//! What the page's script gets: the same figures as the static charts, in more detail, as compact JSON.
//!
//! The script itself is built from `service/dashboard/report`. It is embedded when the load generator is built; where it
//! was not there, the pages have no script and lack only hovering and zooming.

use serde::Serialize;
use serde_json::{Value, json};

use crate::buckets::{PANELS, Scale, Spread, bucket_seconds, point_seconds, spreads};
use record::result::run::{CurvePoint, EventKind, Report};

/// The most buckets of the time axis. An hour is kept in steps of four seconds.
const BUCKETS_MAX: usize = 900;
/// The most events that are marked on the charts.
const MARKS_MAX: usize = 400;

const SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/live.js"));
const SHEET: &str = include_str!(concat!(env!("OUT_DIR"), "/live.css"));

/// The script of the page. Empty when none was built.
pub(crate) const fn script() -> &'static str {
    SCRIPT
}

/// The style sheet of what the script draws.
pub(crate) const fn sheet() -> &'static str {
    SHEET
}

/// The page's policy: it loads nothing, sends nothing, and runs at most `script`.
pub(crate) fn policy(script: &str) -> String {
    let scripts = if script.is_empty() {
        "'none'".to_owned()
    } else {
        format!("'sha256-{}'", digest(script))
    };
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}; base-uri 'none'; form-action 'none'"
    )
}

/// The digest of a script as a policy names it.
fn digest(script: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;

    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(script))
}

/// The data of the charts.
pub(crate) fn data(report: &Report) -> String {
    let point = point_seconds(&report.time_series) as usize;
    let data = json!({
        "bucketSeconds": bucket_seconds(&report.time_series, BUCKETS_MAX) * point,
        "seconds": report.time_series.len() * point,
        "panels": panels(report),
        "sentUntil": report.load.sending_seconds,
        "phases": report.phases.iter().map(|phase| json!({
            "name": phase.name,
            "from": phase.start_seconds,
            "to": phase.end_seconds,
        })).collect::<Vec<_>>(),
        "events": report.events.iter()
            .filter(|event| event.kind != EventKind::Phase)
            .take(MARKS_MAX)
            .map(|event| json!({
                "at": event.offset_seconds,
                "kind": event.kind,
                "text": event.text,
                "lasts": event.lasts_seconds,
            }))
            .collect::<Vec<_>>(),
        "curves": [
            curve("response", "sent", &report.latency_curve.response_us),
            curve("service", "service", &report.latency_curve.service_us),
            curve("end to end", "recorded", &report.latency_curve.end_to_end_us),
        ],
        "heatmap": report.heatmap,
    });
    serde_json::to_string(&data).expect("plain data with string keys always serialises to JSON")
}

/// A line: the lowest, the highest, the mean and the last second of each bucket. Where a bucket is one second, one row.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Vec<Value>>,
    /// What the line shows: the mean of a rate, the highest of the others.
    shown: Vec<Value>,
}

fn panels(report: &Report) -> Vec<Value> {
    let points = &report.time_series;
    let length = bucket_seconds(points, BUCKETS_MAX);
    PANELS
        .iter()
        .map(|panel| {
            let lines: Vec<Line> = panel
                .series
                .iter()
                .map(|series| {
                    let spreads = spreads(points, length, series.of);
                    let row = |of: fn(&Spread) -> f64| {
                        (length > 1).then(|| {
                            spreads
                                .iter()
                                .map(|spread| figure(spread.as_ref().map(of)))
                                .collect()
                        })
                    };
                    Line {
                        name: series.name,
                        class: series.class,
                        low: row(|spread| spread.low),
                        high: (panel.scale == Scale::Rate)
                            .then(|| row(|spread| spread.high))
                            .flatten(),
                        last: row(|spread| spread.last),
                        shown: spreads
                            .iter()
                            .map(|spread| {
                                figure(spread.as_ref().map(|spread| panel.scale.of(spread)))
                            })
                            .collect(),
                    }
                })
                .collect();
            json!({
                "title": panel.title,
                "scale": panel.scale.name(),
                "stepped": panel.stepped,
                "lines": lines,
            })
        })
        .collect()
}

/// A number as short as it can be, to a tenth.
fn figure(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| {
        let tenths = (value * 10.0).round() / 10.0;
        if tenths.fract() == 0.0 {
            json!(tenths as i64)
        } else {
            json!(tenths)
        }
    })
}

fn curve(name: &str, class: &str, points: &[CurvePoint]) -> Value {
    json!({
        "name": name,
        "class": class,
        "points": points.iter().map(|point| json!([point.percentile, point.us])).collect::<Vec<_>>(),
    })
}

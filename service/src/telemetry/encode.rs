//! The protocol: spans and figures as OTLP's JSON. Pure.
//!
//! Ids are hexadecimal digits, whole numbers of 64 bits are texts, kinds are numbers.

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::context::{Context, Hex};
use super::spans::{Span, Value};
use crate::figures::{Family, Labels, Number, Points, Unit};
use crate::metrics::Buckets;

/// Sums since the beginning.
const CUMULATIVE: u8 = 2;
/// A span that failed.
const FAILED: u8 = 2;
/// The flag of a trace that is kept.
const SAMPLED: u8 = 1;

/// Who speaks.
#[derive(Debug)]
pub(super) struct Resource(Json);

impl Resource {
    /// The instance of this name of a service.
    pub(super) fn new(service: &str, instance: &str, more: &[(String, String)]) -> Self {
        let own = [
            ("service.name", service),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", instance),
        ];
        let more = more
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| own.iter().all(|(known, _)| known != name));
        let attributes: Vec<_> = own
            .into_iter()
            .chain(more)
            .map(|(name, value)| json!({ "key": name, "value": { "stringValue": value } }))
            .collect();
        Self(json!({ "attributes": attributes }))
    }
}

/// The request that brings spans.
pub(super) fn spans(resource: &Resource, spans: &[Span]) -> Bytes {
    let spans: Vec<_> = spans.iter().map(span).collect();
    bytes(&json!({ "resourceSpans": [{
        "resource": resource.0,
        "scopeSpans": [{ "scope": scope(), "spans": spans }],
    }] }))
}

/// The request that brings figures, as they are at `now_us`, of a process that began at `started_us`.
pub(super) fn figures(
    resource: &Resource,
    families: &[Family],
    started_us: u64,
    now_us: u64,
) -> Bytes {
    let metrics: Vec<_> = families
        .iter()
        .map(|family| metric(family, started_us, now_us))
        .collect();
    bytes(&json!({ "resourceMetrics": [{
        "resource": resource.0,
        "scopeMetrics": [{ "scope": scope(), "metrics": metrics }],
    }] }))
}

fn bytes(json: &Json) -> Bytes {
    json.to_string().into()
}

fn scope() -> Json {
    json!({ "name": "sluice", "version": env!("CARGO_PKG_VERSION") })
}

fn nanoseconds(at_us: u64) -> String {
    (u128::from(at_us) * 1000).to_string()
}

fn link(context: &Context) -> Json {
    json!({
        "traceId": Hex(&context.trace_id).to_string(),
        "spanId": Hex(&context.span_id).to_string(),
        "flags": SAMPLED,
    })
}

fn span(span: &Span) -> Json {
    let mut json = link(&span.context);
    let attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Text(text) => json!({ "stringValue": text }),
                Value::Whole(number) => json!({ "intValue": number.to_string() }),
            };
            json!({ "key": name, "value": value })
        })
        .collect();
    if let Some(parent) = &span.parent {
        json["parentSpanId"] = Hex(parent).to_string().into();
    }
    json["name"] = span.name.into();
    json["kind"] = (span.kind as u8).into();
    json["startTimeUnixNano"] = nanoseconds(span.started_us).into();
    // Clocks of two machines differ; no span ends before it began.
    json["endTimeUnixNano"] = nanoseconds(span.ended_us.max(span.started_us)).into();
    json["attributes"] = attributes.into();
    json["links"] = span.links.iter().map(link).collect();
    json["droppedLinksCount"] = span.links_dropped.into();
    if span.is_error {
        json["status"] = json!({ "code": FAILED });
    }
    json
}

fn metric(family: &Family, started_us: u64, now_us: u64) -> Json {
    let point = |labels: &Labels| {
        let mut point = json!({
            "attributes": attributes(labels),
            "timeUnixNano": nanoseconds(now_us),
        });
        // What all instances share began before any of them, nobody knows when.
        if !family.is_shared {
            point["startTimeUnixNano"] = nanoseconds(started_us).into();
        }
        point
    };
    let mut metric = json!({
        "name": family.full_name(),
        "description": family.help,
        "unit": match family.unit {
            Some(Unit::Seconds) => "s",
            Some(Unit::Bytes) => "By",
            None => "1",
        },
    });
    match &family.points {
        Points::Counters(counters) => {
            let points: Vec<_> = counters
                .iter()
                .map(|(labels, number)| {
                    let mut point = point(labels);
                    match number {
                        Number::Whole(number) => point["asInt"] = number.to_string().into(),
                        Number::Real(number) => point["asDouble"] = (*number).into(),
                    }
                    point
                })
                .collect();
            metric["sum"] = json!({
                "aggregationTemporality": CUMULATIVE,
                "isMonotonic": true,
                "dataPoints": points,
            });
        }
        Points::Gauges(gauges) => {
            let points = gauges.iter().map(|(labels, value)| {
                let mut point = point(labels);
                point["asDouble"] = (*value).into();
                point
            });
            metric["gauge"] = json!({ "dataPoints": points.collect::<Vec<_>>() });
        }
        // A one that carries the words, as in Prometheus.
        Points::Info(labels) => {
            let mut point = point(labels);
            point["asDouble"] = 1.0.into();
            metric["gauge"] = json!({ "dataPoints": [point] });
        }
        Points::Histograms(histograms) => {
            let points: Vec<_> = histograms
                .iter()
                .map(|(labels, buckets)| histogram(point(labels), buckets))
                .collect();
            metric["histogram"] = json!({
                "aggregationTemporality": CUMULATIVE,
                "dataPoints": points,
            });
        }
    }
    metric
}

fn histogram(mut point: Json, buckets: &Buckets) -> Json {
    let bounds: Vec<f64> = buckets
        .counts
        .iter()
        .map(|(bound, _)| *bound)
        .filter(|bound| *bound < f64::MAX)
        .collect();
    let counts: Vec<_> = buckets
        .counts
        .iter()
        .map(|(_, count)| count.to_string())
        .collect();
    point["count"] = buckets.count.to_string().into();
    point["sum"] = buckets.sum_seconds.into();
    point["explicitBounds"] = bounds.into();
    point["bucketCounts"] = counts.into();
    point
}

fn attributes(labels: &Labels) -> Vec<Json> {
    labels
        .iter()
        .map(|(name, value)| json!({ "key": name, "value": { "stringValue": value } }))
        .collect()
}

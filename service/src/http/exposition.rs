//! `GET /metrics`: the figures in OpenMetrics form, which Prometheus reads.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use hyper::header::{ACCEPT, HeaderMap};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{self, Registry};

use crate::figures::{Family, Labels, Number, Points, Unit};
use crate::printable::is_printable;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text.
pub(super) fn text(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(families)));
    let mut text = String::with_capacity(16 * 1024);
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// The content type of [`plain`].
pub(super) const PLAIN_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same text in Prometheus's former form, for tools that ask for it: there a counter's family has the name of its
/// lines, and information is a gauge.
pub(super) fn plain(text: &str) -> String {
    let kinds: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            plain.push_str(line);
            plain.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let kind = kinds.get(name).copied().unwrap_or("unknown");
        let (suffix, kind) = match kind {
            "counter" => ("_total", kind),
            "info" => ("_info", "gauge"),
            "unknown" => ("", "untyped"),
            kind => ("", kind),
        };
        let rest = if what == "TYPE" { kind } else { rest };
        let _ = writeln!(plain, "# {what} {name}{suffix} {rest}");
    }
    plain
}

/// Whether a client asks for the former form, and not for this one.
pub(super) fn wants_plain(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let names = |name: &str| accepted.iter().any(|value| value.contains(name));
    names("text/plain") && !names("application/openmetrics-text")
}

#[derive(Debug)]
struct Figures(Vec<Family>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| put(family, &mut encoder))
    }
}

fn put(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let unit = family.unit.map(|unit| match unit {
        Unit::Seconds => registry::Unit::Seconds,
        Unit::Bytes => registry::Unit::Bytes,
    });
    let kind = match &family.points {
        Points::Counters(_) => MetricType::Counter,
        Points::Gauges(_) => MetricType::Gauge,
        Points::Info(_) => MetricType::Info,
        Points::Histograms(_) => MetricType::Histogram,
    };
    let mut encoder = encoder.encode_descriptor(&family.name, &family.help, unit.as_ref(), kind)?;
    match &family.points {
        Points::Counters(counters) => {
            // Those of a family are told apart by labels; a lone one has none.
            if let [(labels, number)] = &counters[..]
                && labels.is_empty()
            {
                return put_counter(*number, encoder);
            }
            counters.iter().try_for_each(|(labels, number)| {
                put_counter(*number, encoder.encode_family(&written(labels))?)
            })
        }
        Points::Gauges(gauges) => {
            if let [(labels, value)] = &gauges[..]
                && labels.is_empty()
            {
                return ConstGauge::new(*value).encode(encoder);
            }
            gauges.iter().try_for_each(|(labels, value)| {
                ConstGauge::new(*value).encode(encoder.encode_family(&written(labels))?)
            })
        }
        Points::Info(labels) => Info::new(written(labels)).encode(encoder),
        Points::Histograms(histograms) => histograms.iter().try_for_each(|(labels, buckets)| {
            encoder
                .encode_family(&written(labels))?
                .encode_histogram::<NoLabelSet>(
                    buckets.sum_seconds,
                    buckets.count,
                    &buckets.counts,
                    None,
                )
        }),
    }
}

fn put_counter(number: Number, encoder: MetricEncoder<'_>) -> fmt::Result {
    match number {
        Number::Whole(number) => ConstCounter::new(number).encode(encoder),
        Number::Real(number) => ConstCounter::new(number).encode(encoder),
    }
}

/// Labels as a line may hold them.
fn written(labels: &Labels) -> Vec<(&'static str, String)> {
    labels
        .iter()
        .map(|(name, value)| (*name, escaped(value)))
        .collect()
}

/// A text as a label's value may hold it: the encoder writes what it is given, as it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => safe.push_str("\\\""),
            '\\' => safe.push_str("\\\\"),
            '\n' => safe.push_str("\\n"),
            // No reader needs them, and a terminal may obey them.
            c if !is_printable(c) => {
                let _ = write!(safe, "\\\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::families;
    use crate::metrics::Metrics;
    use crate::snapshot::{Replica, Shard, Snapshot};

    fn told(snapshot: &Snapshot) -> String {
        text(families(snapshot, &Metrics::default(), 0, true))
    }

    /// Some counters are kept under names that come from Redis: whoever writes there forges no line.
    #[test]
    fn a_label_cannot_end_its_line() {
        let mut snapshot = Snapshot::default();
        let evil = "a\"b\\c\n# EOF\nsluice_forged 1\r\u{1b}[31m";
        snapshot.counters.failed.insert(evil.to_owned(), 1);
        snapshot.version = evil.to_owned();
        let text = told(&snapshot);
        assert_eq!(
            text.matches("# EOF").count(),
            3,
            "two of them within labels"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("# EOF"))
                .count(),
            1
        );
        assert!(!text.lines().any(|line| line.starts_with("sluice_forged")));
        assert!(!text.contains('\r') && !text.contains('\u{1b}'), "{text}");
        let expected = r#"{error_type="a\"b\\c\n# EOF\nsluice_forged 1\\u{d}\\u{1b}[31m"} 1"#;
        assert!(
            text.contains(&format!("sluice_cluster_loans_failed_total{expected}")),
            "{text}"
        );
    }

    /// Who asks for the former form alone gets it; everybody else, the newer one.
    #[test]
    fn the_former_form_is_for_who_asks_for_it() {
        for (accept, plain) in [
            (None, false),
            (Some("*/*"), false),
            (Some("text/plain"), true),
            (Some("text/plain;version=0.0.4;q=0.5, */*;q=0.1"), true),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(wants_plain(&headers), plain, "{accept:?}");
        }
        let text = plain(&told(&Snapshot::default()));
        for line in [
            "# TYPE sluice_requests_received_total counter",
            "# TYPE sluice_build_info gauge",
            "# TYPE sluice_latency_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(
            !text.contains("# EOF") && !text.contains("# UNIT"),
            "{text}"
        );
    }

    /// Who an applicant is stands in no label.
    #[test]
    fn no_applicant_is_a_label() {
        let mut snapshot = Snapshot::default();
        snapshot.counters.failed_by_applicant = vec![crate::snapshot::ApplicantCount {
            applicant: "ada@example.org".to_owned(),
            count: 3,
        }];
        let text = told(&snapshot);
        assert!(!text.contains("ada@example.org"), "{text}");
    }

    /// One node is one label, whatever its address holds. Of a shard that is out of reach no gauge is told that was true once.
    #[test]
    fn each_shard_is_told() {
        let mut snapshot = Snapshot::default();
        let shard = |address: &str, up| Shard {
            address: address.to_owned(),
            up,
            durable: up,
            queue_depth: 7,
            oldest_waiting_ms: 1_500,
            used_memory_bytes: 1_000,
            max_memory_bytes: 2_000,
            ..Shard::default()
        };
        snapshot.redis.shards = vec![shard("10.0.0.1:6379", true)];
        snapshot.redis.shards.push(shard("a\"b:1", false));
        snapshot.redis.replicas = vec![Replica {
            address: "10.0.0.3:6379".to_owned(),
            up: false,
        }];
        let text = told(&snapshot);
        assert!(!text.contains(r#"shard="a\"b:1""#), "{text}");
        for line in [
            r#"sluice_cluster_shard_queue_depth{shard="10.0.0.1:6379"} 7.0"#,
            r#"sluice_cluster_shard_oldest_waiting_seconds{shard="10.0.0.1:6379"} 1.5"#,
            r#"sluice_cluster_shard_used_memory_bytes{shard="10.0.0.1:6379"} 1000.0"#,
            r#"sluice_redis_node_up{node="10.0.0.1:6379",role="master"} 1.0"#,
            r#"sluice_redis_node_up{node="a\"b:1",role="master"} 0.0"#,
            r#"sluice_redis_node_up{node="10.0.0.3:6379",role="replica"} 0.0"#,
            r#"sluice_redis_node_durable{node="a\"b:1",role="master"} 0.0"#,
            "# UNIT sluice_cluster_shard_used_memory_bytes bytes",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
    }

    /// A figure of all instances is named as one, and its help says how to read it.
    #[test]
    fn what_is_shared_says_so() {
        let mut snapshot = Snapshot::default();
        snapshot.redis.up = true;
        let text = told(&snapshot);
        let helps = |scope: &str| -> Vec<&str> {
            let prefix = format!("# HELP {scope}");
            text.lines()
                .filter(|line| line.starts_with(&prefix))
                .collect()
        };
        assert!(helps("sluice_cluster_").len() > 15, "{text}");
        for help in helps("sluice_cluster_") {
            assert!(help.contains("take the maximum, no sum"), "{help}");
        }
        assert!(text.contains("sluice_build_info{version="), "{text}");
    }
}

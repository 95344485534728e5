//! The page of a capacity search: the answer, the curve of latency against rate, the probes. One file, no script.

use std::path::Path;

use crate::chart;
use crate::files::{ReportError, write_file};
use crate::html::page;
use crate::html::parts::{self, Cell, section, table};
use crate::markup::Markup;
use crate::words::{commit, instant};
use record::number::{micros, or_dash, plain, rate, seconds};
use record::result::capacity::{Capacity, Outcome, Probe};

/// Writes `capacity.json` and `capacity.html` into `dir`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(capacity: &Capacity, dir: &Path) -> Result<(), ReportError> {
    let json = serde_json::to_string_pretty(capacity).expect("plain data serialises") + "\n";
    for (file, text) in [("capacity.json", json), ("capacity.html", html(capacity))] {
        write_file(&dir.join(file), &text)?;
    }
    Ok(())
}

/// The answer in a sentence or two.
pub fn answer(capacity: &Capacity) -> String {
    let (Some(sent), Some(recorded)) = (capacity.rate_per_second, capacity.recorded_per_second)
    else {
        return format!("none. {}", capacity.limit);
    };
    let interval = capacity
        .rate_interval
        .map_or_else(String::new, |[low, high]| {
            format!(" (the limit lies from {} to {})", rate(low), rate(high))
        });
    format!(
        "{} sent{interval}, {} recorded. {}",
        rate(sent),
        rate(recorded),
        capacity.limit
    )
}

/// The page.
pub fn html(capacity: &Capacity) -> String {
    page(&format!("Capacity of {}", capacity.scenario), |markup| {
        banner(markup, capacity);
        markup.element("main", &[], |markup| {
            let lead = format!(
                "Each probe held its rate for {} after a warm-up, on a fresh stack, and was audited. A rate counts when \
                 every objective was met; the best one met them again in further runs.",
                seconds(capacity.hold_seconds)
            );
            section(markup, "curve", "Latency against rate", &lead, |markup| {
                chart::rates(markup, &capacity.probes);
            });
            section(markup, "probes", "Probes", "", |markup| {
                probes(markup, capacity);
            });
            section(markup, "objectives", "Objectives", "", |markup| {
                parts::why(markup, &capacity.objectives);
            });
        });
    })
}

fn banner(markup: &mut Markup, capacity: &Capacity) {
    let answer = capacity.rate_per_second.zip(capacity.recorded_per_second);
    let (class, sign, none) = if answer.is_some() {
        ("banner pass", "✓", "")
    } else if capacity.is_stopped {
        ("banner aborted", "■", "Stopped before there was an answer")
    } else if capacity.is_unsteady {
        ("banner discarded", "?", "Too unsteady for an answer")
    } else {
        ("banner fail", "✗", "No rate met the objectives")
    };
    let headline = answer.map_or_else(
        || none.to_owned(),
        |(sent, recorded)| {
            let of = |[low, high]: [f64; 2]| format!(" ({} to {})", rate(low), rate(high));
            let interval = capacity.rate_interval.map_or_else(String::new, of);
            format!("{} sent{interval}, {} recorded", rate(sent), rate(recorded))
        },
    );
    markup.element("header", &[("class", &class)], |markup| {
        markup.element("p", &[("class", &"eyebrow")], |markup| {
            markup.leaf("strong", &[], &capacity.scenario);
            markup.text(" · the highest rate that meets the objectives in recorded loans");
        });
        parts::headline(markup, sign, &headline);
        markup.leaf("p", &[("class", &"summary")], &capacity.limit);
        let provenance = &capacity.provenance;
        let facts = format!(
            "{} to {} · {}, {} cores, {} · Redis {} (appendfsync {}), MongoDB {} · service {}, load generator {}, on the \
             same machine",
            instant(&capacity.started_at),
            instant(&capacity.finished_at),
            provenance.cpu,
            provenance.cores,
            provenance.kernel,
            provenance.redis,
            provenance.appendfsync,
            provenance.mongodb,
            commit(&provenance.service_commit, provenance.service_dirty),
            commit(&provenance.git_commit, provenance.dirty),
        );
        markup.leaf("p", &[("class", &"facts")], &facts);
    });
}

fn probes(markup: &mut Markup, capacity: &Capacity) {
    let columns = [
        "Rate",
        "Objectives",
        "Recorded",
        "p50",
        "p99",
        "p99.9",
        "End to end p99",
        "Drain",
        "CPU ms for 1,000",
    ];
    let rows = capacity.probes.iter().map(|probe| {
        let latency = |us: Option<u64>| Cell::from(or_dash(us, micros));
        vec![
            rate(probe.rate_per_second).into(),
            outcome(probe),
            rate(probe.recorded_per_second).into(),
            latency(probe.response_us.p50),
            latency(probe.response_us.p99),
            latency(probe.response_us.p999),
            latency(probe.end_to_end_us.p99),
            or_dash(probe.drain_seconds, seconds).into(),
            or_dash(probe.service_cpu_ms_per_1000, plain).into(),
        ]
    });
    table(markup, "Probes", &columns, 2, rows);
    let reasons = capacity
        .probes
        .iter()
        .filter(|probe| probe.outcome != Outcome::Met)
        .filter_map(|probe| {
            let why = probe.why.first()?;
            Some(format!("{}: {why}", rate(probe.rate_per_second)))
        });
    parts::why(markup, reasons);
}

fn outcome(probe: &Probe) -> Cell {
    match (probe.outcome, probe.confirms) {
        (Outcome::Met, false) => Cell::of("✓ met", "good"),
        (Outcome::Met, true) => Cell::of("✓ met again", "good"),
        (Outcome::Missed, _) => Cell::of("✗ missed", "bad"),
        (Outcome::Discarded, _) => Cell::of("? discarded", "hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::result::run::{Percentiles, Provenance};

    #[test]
    fn the_page_says_the_answer_and_escapes_its_texts() {
        let probe = |rate, outcome| Probe {
            rate_per_second: rate,
            outcome,
            confirms: false,
            recorded_per_second: rate,
            response_us: Percentiles {
                p50: Some(800),
                p99: Some(4_000),
                p999: Some(9_000),
                ..Percentiles::default()
            },
            end_to_end_us: Percentiles::default(),
            send_lag_us: Percentiles::default(),
            drain_seconds: Some(0.3),
            service_cpu_ms_per_1000: None,
            why: vec!["<b>late</b>".to_owned()],
            run: String::new(),
        };
        let page = html(&Capacity {
            scenario: "steady".to_owned(),
            started_at: String::new(),
            finished_at: String::new(),
            objectives: vec!["response_ms.p99: at most 5 ms".to_owned()],
            rate_interval: Some([1_500.0, 1_600.0]),
            is_unsteady: false,
            is_stopped: false,
            rate_per_second: Some(1000.0),
            recorded_per_second: Some(990.0),
            missed_at_per_second: Some(2000.0),
            limit: "At 2,000/s the objectives were missed.".to_owned(),
            hold_seconds: 8.0,
            probes: vec![probe(1000.0, Outcome::Met), probe(2000.0, Outcome::Missed)],
            provenance: Provenance::default(),
        });
        assert!(
            page.contains("1,000/s sent (1,500/s to 1,600/s), 990/s recorded"),
            "{page}"
        );
        assert!(page.contains("&lt;b&gt;late") && !page.contains("<b>late"));
        // Three curves have points, in a wide and in a narrow drawing.
        assert_eq!(page.matches("<circle").count(), 12);
        assert_eq!(page.matches("class=\"dot hollow").count(), 6);
        assert!(!page.contains("<script") && !page.contains("src="));
    }
}

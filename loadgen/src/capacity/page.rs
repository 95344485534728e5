//! The page of a capacity search: the answer, the curve of latency against rate, the probes. One file, no script.

use std::fmt::Write as _;

use super::{Capacity, Outcome, Probe};

/// Size of the chart, and the space around its plot.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --page: #fff;
  --a: #3e63dd; --b: #e5484d; --c: #ad7f00; --d: #2b9a66; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #43484e; --page: #111113;
  --a: #9eb1ff; --b: #ff9592; --c: #ffca16; --d: #3dd68c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p, figcaption { color: var(--soft); } p.answer { color: var(--ink); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, th:last-child, td:last-child, .word { text-align: left; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--soft); }
.scroll { overflow-x: auto; } figure { margin: 1rem 0; }
";

/// The page.
pub(super) fn render(capacity: &Capacity) -> String {
    let headline = match (capacity.rate_per_second, capacity.recorded_per_second) {
        (Some(rate), Some(recorded)) => {
            format!("{rate:.0} loans a second sent, {recorded:.0} recorded")
        }
        _ => "No rate met the objectives".to_owned(),
    };
    let mut objectives = String::new();
    for objective in &capacity.objectives {
        let _ = write!(objectives, "<li>{}</li>", escape(objective));
    }
    let provenance = &capacity.provenance;
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
        <title>Capacity, {scenario}</title><style>{STYLE}</style></head><body>\
        <h1>Capacity of {scenario}: {headline}</h1>\
        <p class=\"answer\">{limit}</p>\
        <p>Each probe held its rate for {hold:.0} s after a warm-up, on a fresh stack, and was audited. \
        A rate counts when every objective was met, and the best one met them again in further runs.</p>\
        <h2>Latency against rate</h2>{chart}\
        <h2>Probes</h2><div class=\"scroll\">{table}</div>\
        <h2>Objectives</h2><ul>{objectives}</ul>\
        <h2>Machine</h2><p>{cpu}, {cores} cores, {kernel}; Redis {redis} (appendfsync {sync}), MongoDB {mongodb}; \
        service {service}, load generator {loadgen}. Load and service shared the machine.</p>\
        <p>{started} to {finished}</p></body></html>\n",
        scenario = escape(&capacity.scenario),
        limit = escape(&capacity.limit),
        hold = capacity.hold_seconds,
        chart = chart(&capacity.probes),
        table = table(&capacity.probes),
        cpu = escape(&provenance.cpu),
        cores = provenance.cores,
        kernel = escape(&provenance.kernel),
        redis = escape(&provenance.redis),
        sync = escape(&provenance.appendfsync),
        mongodb = escape(&provenance.mongodb),
        service = escape(&commit(
            &provenance.service_commit,
            provenance.service_dirty
        )),
        loadgen = escape(&commit(&provenance.git_commit, provenance.dirty)),
        started = escape(&capacity.started_at),
        finished = escape(&capacity.finished_at),
    )
}

fn commit(commit: &str, dirty: bool) -> String {
    match (commit.get(..12), dirty) {
        (Some(short), true) => format!("{short} with changes"),
        (Some(short), false) => short.to_owned(),
        (None, _) => "of an unknown commit".to_owned(),
    }
}

type Line = (&'static str, &'static str, fn(&Probe) -> Option<u64>);

const LINES: [Line; 4] = [
    ("response p50", "var(--a)", |probe| probe.response_us.p50),
    ("response p99", "var(--b)", |probe| probe.response_us.p99),
    ("response p99.9", "var(--c)", |probe| probe.response_us.p999),
    ("end to end p99", "var(--d)", |probe| {
        probe.end_to_end_us.p99
    }),
];

fn chart(probes: &[Probe]) -> String {
    let mut sorted: Vec<&Probe> = probes.iter().collect();
    sorted.sort_by(|a, b| a.rate_per_second.total_cmp(&b.rate_per_second));
    let latencies: Vec<f64> = sorted
        .iter()
        .flat_map(|probe| LINES.iter().filter_map(|(.., of)| of(probe)))
        .map(|us| (us.max(1) as f64 / 1e3).log10())
        .collect();
    let (Some(low), Some(high)) = (
        latencies.iter().copied().min_by(f64::total_cmp),
        latencies.iter().copied().max_by(f64::total_cmp),
    ) else {
        return "<p>Nothing was measured.</p>".to_owned();
    };
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let rate_max = sorted.last().map_or(1.0, |probe| probe.rate_per_second) * 1.05;
    let x = |rate: f64| LEFT + rate / rate_max * (WIDTH - LEFT - RIGHT);
    let y = |log: f64| TOP + (high - log) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Latency against rate\">"
    );
    for decade in low as i32..=high as i32 {
        let at = y(f64::from(decade));
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--line)\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} ms</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            10f64.powi(decade)
        );
    }
    for part in 0..=5 {
        let rate = rate_max / 1.05 * f64::from(part) / 5.0;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{rate:.0}/s</text>",
            x(rate),
            HEIGHT - BOTTOM + 20.0
        );
    }
    for (name, colour, of) in LINES {
        let points: Vec<(f64, f64, Outcome)> = sorted
            .iter()
            .filter_map(|probe| {
                let log = (of(probe)?.max(1) as f64 / 1e3).log10();
                Some((x(probe.rate_per_second), y(log), probe.outcome))
            })
            .collect();
        let path: Vec<String> = points
            .iter()
            .map(|(x, y, _)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y, outcome) in points {
            // A hollow point missed the objectives.
            let fill = if outcome == Outcome::Met {
                colour
            } else {
                "var(--page)"
            };
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"><title>{name}</title></circle>"
            );
        }
    }
    svg.push_str("</svg><figcaption>");
    for (name, colour, _) in LINES {
        let _ = write!(svg, "<span style=\"color:{colour}\">&#9632;</span> {name} ");
    }
    svg.push_str("&middot; hollow points missed the objectives &middot; logarithmic scale</figcaption></figure>");
    svg
}

fn table(probes: &[Probe]) -> String {
    let ms = |us: Option<u64>| {
        us.map_or_else(
            || "no data".to_owned(),
            |us| format!("{:.2}", us as f64 / 1e3),
        )
    };
    let mut table = String::from(
        "<table><thead><tr><th>Rate</th><th>Recorded</th><th>p50 ms</th><th>p99 ms</th><th>p99.9 ms</th>\
         <th>End to end p99 ms</th><th>Drain s</th><th>CPU ms for 1000</th><th class=\"word\">Objectives</th><th>Why</th></tr></thead><tbody>",
    );
    for probe in probes {
        let outcome = match (probe.outcome, probe.confirms) {
            (Outcome::Met, false) => "met",
            (Outcome::Met, true) => "met again",
            (Outcome::Missed, _) => "missed",
            (Outcome::Discarded, _) => "discarded",
        };
        let figure = |value: Option<f64>| {
            value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.1}"))
        };
        let why = match (probe.outcome, probe.why.first()) {
            (Outcome::Met, _) | (_, None) => "",
            (_, Some(why)) => why,
        };
        let _ = write!(
            table,
            "<tr><td>{:.0}/s</td><td>{:.0}/s</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"word\">{outcome}</td><td>{}</td></tr>",
            probe.rate_per_second,
            probe.recorded_per_second,
            ms(probe.response_us.p50),
            ms(probe.response_us.p99),
            ms(probe.response_us.p999),
            ms(probe.end_to_end_us.p99),
            figure(probe.drain_seconds),
            figure(probe.service_cpu_ms_per_1000),
            escape(why)
        );
    }
    table.push_str("</tbody></table>");
    table
}

/// Text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Percentiles, Provenance};

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
        let page = render(&Capacity {
            scenario: "steady".to_owned(),
            started_at: String::new(),
            finished_at: String::new(),
            objectives: vec!["response_ms.p99: at most 5 ms".to_owned()],
            rate_per_second: Some(1000.0),
            recorded_per_second: Some(990.0),
            missed_at_per_second: Some(2000.0),
            limit: "At 2000/s the objectives were missed.".to_owned(),
            hold_seconds: 8.0,
            probes: vec![probe(1000.0, Outcome::Met), probe(2000.0, Outcome::Missed)],
            provenance: Provenance::default(),
        });
        assert!(page.contains("1000 loans a second sent, 990 recorded"));
        assert!(page.contains("&lt;b&gt;late") && !page.contains("<b>late"));
        assert_eq!(page.matches("<circle").count(), 6);
    }
}

//! How far to trust the figures, on what they were measured, with which settings, how to measure them again.

use super::parts::{Cell, code_block, list, section, table};
use crate::markup::Markup;
use crate::words::{commit, instant, is_judged, why_no_audit};
use record::number::{bytes, count, counted, micros, or_dash, or_no_data, seconds};
use record::result::run::{Percentiles, Report};

/// A load average above this share of the cores means that others were at work.
const BUSY_SHARE: f64 = 0.5;

/// What a doubter would ask.
pub(crate) fn trust(markup: &mut Markup, report: &Report) {
    let lead = "A load test is worth what its figures are worth. This is what speaks for them, and against.";
    section(
        markup,
        "trust",
        "How far to trust the figures",
        lead,
        |markup| {
            let rows = [
                known_truths(report),
                overrides(report),
                left_on_time(report),
                all_left(report),
                counters(report),
                audited(report),
                tail(&report.load.response_us),
                quiet(report),
                build(report),
                (
                    "How fine are the latencies?",
                    "HdrHistograms of microseconds with 3 digits: each figure is within 0.1 % of what was measured. Rounding \
                     is upwards, so no percentile exceeds the maximum by more."
                        .to_owned(),
                    None,
                ),
            ]
            .map(|(question, answer, good)| {
                let mark = match good {
                    Some(true) => Cell::of("✓", "good"),
                    Some(false) => Cell::of("✗", "bad"),
                    None => Cell::from("–"),
                };
                vec![question.into(), answer.into(), mark]
            });
            table(markup, "Trust", &["Question", "Answer", "Good"], 3, rows);
            if !report.instants.is_empty() {
                markup.leaf("h3", &[], "Where each instant is taken");
                let rows = report
                    .instants
                    .iter()
                    .map(|instant| vec![(&instant.name).into(), (&instant.taken).into()]);
                table(markup, "Instants", &["Instant", "Taken"], 2, rows);
            }
        },
    );
}

/// A question, its answer, and whether that speaks for the figures.
type Answer = (&'static str, String, Option<bool>);

fn known_truths(report: &Report) -> Answer {
    let question = "Does the load generator find what is known?";
    let Some(stamp) = &report.provenance.self_test else {
        let answer = "Not tried on this machine: make self-test compares it with stalls, latencies and losses that are known.";
        return (question, answer.to_owned(), None);
    };
    let result = if stamp.pass {
        format!("All {} known truths were found", stamp.compared)
    } else {
        format!(
            "Of {} known truths these were missed: {}",
            stamp.compared,
            stamp.missed.join(", ")
        )
    };
    let binary = if stamp.same_binary {
        "by this very binary"
    } else {
        "by another build of it"
    };
    let answer = format!("{result}, {binary}, on {}.", instant(&stamp.finished_at));
    (question, answer, Some(stamp.pass && stamp.same_binary))
}

fn overrides(report: &Report) -> Answer {
    let overrides = &report.provenance.overrides;
    if report.load.sent == 0 && overrides.is_empty() {
        let question = "Was everything as a run demands?";
        let answer = "Not known: the run ended before its load began.";
        return (question, answer.to_owned(), None);
    }
    let answer = if overrides.is_empty() {
        "Yes: nothing was overridden.".to_owned()
    } else {
        format!("Overridden on the command line: {}", overrides.join("; "))
    };
    (
        "Was everything as a run demands?",
        answer,
        Some(overrides.is_empty()),
    )
}

fn left_on_time(report: &Report) -> Answer {
    let lag = &report.load.send_lag_us;
    let own = or_dash(report.load.generator_lag_us.p99, micros);
    let answer = match (lag.p50, lag.p99, lag.max) {
        (Some(p50), Some(p99), Some(max)) => format!(
            "Half left within {} of the instant they were due, 99 % within {} (of it the generator's own lateness {own}), \
             the latest {} late; {} waited because every user was busy. Response times include this delay; service times \
             do not.",
            micros(p50),
            micros(p99),
            micros(max),
            count(report.load.held_back)
        ),
        _ => "No data: nothing was sent.".to_owned(),
    };
    ("Did requests leave when they were due?", answer, None)
}

fn all_left(report: &Report) -> Answer {
    let load = &report.load;
    let answer = format!(
        "{} of {} scheduled arrivals were sent.",
        count(load.sent),
        count(load.scheduled)
    );
    (
        "Did all of them leave?",
        answer,
        Some(load.unsent == 0 && load.scheduled > 0),
    )
}

fn counters(report: &Report) -> Answer {
    let rows = &report.counters_agree;
    let agreeing = rows.iter().filter(|row| row.agree).count();
    let question = "Do two independent counts agree?";
    if rows.is_empty() {
        let answer = "No data: the service's counters were not compared with the audit.";
        // Whoever left the stores out, or stopped the run, did not ask for it.
        return (
            question,
            answer.to_owned(),
            (!report.without_stores && is_judged(report.verdict)).then_some(false),
        );
    }
    let answer = format!(
        "{agreeing} of {} live counters of the service agree with what the audit counted in MongoDB.",
        rows.len()
    );
    (question, answer, Some(agreeing == rows.len()))
}

fn audited(report: &Report) -> Answer {
    let audit = &report.audit;
    let answer = if audit.complete {
        format!(
            "{} were looked up by id in MongoDB and Redis, not through the service.",
            counted(audit.ids, "loan")
        )
    } else {
        format!(
            "No: {}, so nothing is known of what is stored.",
            why_no_audit(report)
        )
    };
    (
        "Was everything looked up?",
        answer,
        (!report.without_stores).then_some(audit.complete),
    )
}

/// How much the tail rests on.
fn tail(response: &Percentiles) -> Answer {
    let above = |share: f64| count((response.count as f64 * share).floor() as u64);
    let answer = format!(
        "{} response times were measured: {} lie above p99 and {} above p99.9. With fewer than 10 above it, a percentile \
         is little more than luck.",
        count(response.count),
        above(0.01),
        above(0.001)
    );
    ("How much does the tail rest on?", answer, None)
}

fn quiet(report: &Report) -> Answer {
    let provenance = &report.provenance;
    let (answer, good) = provenance.load_average_before.map_or_else(
        || ("No data.".to_owned(), None),
        |[minute, five, quarter]| {
            let busy = provenance.cores > 0 && minute > f64::from(provenance.cores) * BUSY_SHARE;
            let verdict = if busy {
                "others were at work, or what ran before, which makes latencies longer and less steady"
            } else {
                "little else was at work"
            };
            (
                format!(
                    "Load average {minute:.2}, {five:.2}, {quarter:.2} before the start on {}: {verdict}.",
                    counted(u64::from(provenance.cores), "core")
                ),
                Some(!busy),
            )
        },
    );
    ("Was the machine quiet?", answer, good)
}

fn build(report: &Report) -> Answer {
    let provenance = &report.provenance;
    let service = commit(&provenance.service_commit, provenance.service_dirty);
    let ours = commit(&provenance.git_commit, provenance.dirty);
    let known = !provenance.service_commit.is_empty() && !provenance.git_commit.is_empty();
    let same = provenance.service_commit == provenance.git_commit;
    let answer =
        format!("The service says commit {service}; the load generator was built from {ours}.");
    let good = known.then_some(same && !provenance.dirty && !provenance.service_dirty);
    ("Is it the build that it claims to be?", answer, good)
}

/// The machine, the versions, and what was used of them.
pub(crate) fn machine(markup: &mut Markup, report: &Report) {
    section(markup, "machine", "Machine", "", |markup| {
        let resources = &report.resources;
        let provenance = &report.provenance;
        let load_average =
            |averages: [f64; 3]| averages.map(|average| format!("{average:.2}")).join(", ");
        markup.element("div", &[("class", &"columns")], |markup| {
            list(
                markup,
                "Machine and versions",
                &[
                    ("Processor", or_unknown(&provenance.cpu)),
                    ("Cores", provenance.cores.to_string()),
                    ("Frequency governor", or_unknown(&provenance.cpu_governor)),
                    ("Memory", or_no_data(provenance.memory_bytes, bytes)),
                    ("Kernel", or_unknown(&provenance.kernel)),
                    (
                        "Load average before the run",
                        or_no_data(provenance.load_average_before, load_average),
                    ),
                    (
                        "Redis",
                        format!(
                            "{}, appendfsync {}",
                            or_unknown(&provenance.redis),
                            or_unknown(&provenance.appendfsync)
                        ),
                    ),
                    ("MongoDB", or_unknown(&provenance.mongodb)),
                    (
                        "Service",
                        format!(
                            "{}, commit {}",
                            or_unknown(&provenance.service_version),
                            commit(&provenance.service_commit, provenance.service_dirty)
                        ),
                    ),
                    (
                        "Service arguments",
                        or_unknown(&provenance.service_arguments.join(" ")),
                    ),
                    (
                        "Load generator",
                        format!(
                            "{}, commit {}",
                            or_unknown(&provenance.loadgen_version),
                            commit(&provenance.git_commit, provenance.dirty),
                        ),
                    ),
                    (
                        "Load generator's binary",
                        format!("SHA-256 {}", short(&provenance.loadgen_sha256)),
                    ),
                    ("Sending thread", or_unknown(&provenance.generator_priority)),
                ],
            );
            list(
                markup,
                "Memory and processor time",
                &[
                    (
                        "Service memory, highest",
                        or_no_data(resources.service_rss_bytes_peak, bytes),
                    ),
                    (
                        "Service processor time",
                        or_no_data(resources.service_cpu_milliseconds, |used| {
                            seconds(used as f64 / 1e3)
                        }),
                    ),
                    (
                        "Service processor time for each request",
                        or_dash(cpu_of_request(report), micros),
                    ),
                    (
                        "Redis memory before",
                        or_no_data(resources.redis_memory_start_bytes, bytes),
                    ),
                    (
                        "Redis memory after the drain",
                        or_no_data(resources.redis_memory_end_bytes, bytes),
                    ),
                    (
                        "Load generator memory, highest",
                        or_no_data(resources.loadgen_rss_bytes_peak, bytes),
                    ),
                ],
            );
        });
    });
}

/// Microseconds of the service's processor time for each request that was sent.
fn cpu_of_request(report: &Report) -> Option<u64> {
    let used = report.resources.service_cpu_milliseconds?;
    (used * 1_000).checked_div(report.load.sent)
}

/// The scenario as it was in effect, and the command that repeats the run.
pub(crate) fn settings(markup: &mut Markup, report: &Report) {
    section(
        markup,
        "settings",
        "Repeat it, and the settings",
        "",
        |markup| {
            if !report.repeat.is_empty() {
                markup.leaf("h3", &[], "How to repeat this run");
                code_block(markup, &report.repeat, "How to repeat this run");
                let text = "The same seed sends the same loans at the same instants; their ids differ from run to run.";
                markup.leaf("p", &[("class", &"hint")], text);
            }
            if !report.settings.is_empty() {
                markup.leaf("h3", &[], "The scenario in effect");
                code_block(markup, &report.settings, "The scenario in effect");
                let digest = &report.provenance.scenario_sha256;
                if !digest.is_empty() {
                    let text = format!("SHA-256 of the file: {digest}");
                    markup.leaf("p", &[("class", &"hint wrap")], &text);
                }
            }
        },
    );
}

/// The words that the page uses.
pub(crate) fn glossary(markup: &mut Markup, _: &Report) {
    section(markup, "words", "The words of this report", "", |markup| {
        markup.element("dl", &[("class", &"words")], |markup| {
            for (word, meaning) in [
                ("arrival", "One request of the schedule, with the instant at which it is due."),
                ("response time", "From the instant an arrival was due to the last byte of its answer: what a client waits."),
                ("service time", "From the real send to the last byte of the answer: what the service takes."),
                ("send lag", "From the instant an arrival was due to its real send: the generator's own lateness, and the wait for a connection."),
                ("end to end", "From the instant an arrival was due to MongoDB's confirmation that the loan is stored."),
                ("promised", "Answered 202. From then on the service must record the loan exactly once."),
                ("recorded", "Stored in MongoDB: as a loan, or, when it breaks a rule, as a failure that can be corrected."),
                ("repeat", "A loan that is sent again on purpose: the same content, or other content under the same id."),
                ("p99", "99 % of the measurements are at most this; one in a hundred is above."),
                ("discarded", "Something else than the service disturbed the run, so it proves nothing either way."),
            ] {
                markup.element("div", &[], |markup| {
                    markup.leaf("dt", &[], word);
                    markup.leaf("dd", &[], meaning);
                });
            }
        });
    });
}

/// The first digits of a digest, which are enough to compare by eye.
fn short(digest: &str) -> String {
    or_unknown(&digest.chars().take(16).collect::<String>())
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text.to_owned()
    }
}

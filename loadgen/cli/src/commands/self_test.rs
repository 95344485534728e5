//! The self-test: known truths, and whether the generator finds them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drive::error::DriveError;
use drive::load::load_only;
use drive::stop;
use hdrhistogram::Histogram;
use observe::provenance;
use observe::stack::Target;
use observe::stub::{Ahead, Delays, Spoils, Storing, Stub};
use plan::kind::Kind;
use plan::random::mix64;
use plan::scenario::Scenario;
use plan::schedule::Schedule;
use record::folder::{Unwritable, rfc3339, write_whole};
use record::recorder::Recorder;
use record::result::run::{Audit, Report};
use record::result::self_test::{FILE, Row, SelfTest};
use record::sample::{Answer, Sample};
use testbed::{MongoOptions, MongoServer, RedisOptions, RedisServer, Servers};
use time::OffsetDateTime;

use crate::commands::run::{self, Allowed, Options, RunError};

mod words;

/// How far a percentile may be from theory in a stall.
const STALL_TOLERANCE: f64 = 0.02;
/// What a histogram of three digits keeps.
const PRECISION: f64 = 0.001;
/// Percentiles that are compared with known latencies.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
];
/// Arrivals that are recorded without being sent.
const SAMPLES: u32 = 1_000_000;
/// Arrivals of each run with a fault.
const ARRIVALS: u64 = 10_000;
/// How long the stub stalls.
const STALL: Duration = Duration::from_secs(2);
/// Arrivals per second of the run with a stall, and all of them. So few that the stub answers those that waited at once when the
/// stall is over: theory knows nothing of the time that this takes.
const STALL_RATE_PER_SECOND: u64 = 100;
const STALL_ARRIVALS: u64 = 2_000;

/// Compares everything, and says what it does with `say`. A stop ends it at once, with what was found until then.
///
/// # Errors
/// When a load could not be sent, or Redis or mongod did not start.
pub async fn run(mut say: impl FnMut(&str)) -> Result<SelfTest, RunError> {
    let mut rows = Vec::new();
    let whole = stop::unless_asked(compare(&mut rows, &mut say)).await;
    let stopped = match whole {
        // A run that was stopped may end before the comparison is given up.
        _ if stop::asked().is_some() => stop::asked(),
        Some(compared) => {
            compared?;
            None
        }
        None => None,
    };
    Ok(SelfTest {
        finished_at: rfc3339(OffsetDateTime::now_utc()),
        loadgen_sha256: provenance::own_sha256().unwrap_or_default(),
        rows,
        stopped: stopped.map(str::to_owned),
    })
}

/// Adds a row for each known truth.
async fn compare(rows: &mut Vec<Row>, say: &mut impl FnMut(&str)) -> Result<(), RunError> {
    say("a million samples of known latency");
    rows.push(recorded());
    say("a stub that stalls for 2 s in a run of 20 s");
    rows.extend(stall().await?);
    say("a stub with known latencies");
    rows.extend(spread().await?);
    say("stubs that lose, double, swap or alter one loan in 10,000");
    faults(rows).await?;
    words::compare(rows, say).await
}

/// Keeps the result in the folder `reports`, so that later reports tell it.
///
/// # Errors
/// When it cannot be written.
pub fn keep(result: &SelfTest, reports: &Path) -> Result<(), Unwritable> {
    let path = reports.join(FILE);
    let text = serde_json::to_string_pretty(result).unwrap_or_default();
    std::fs::create_dir_all(reports)
        .and_then(|()| write_whole(&path, (text + "\n").as_bytes()))
        .map_err(|error| Unwritable { path, error })
}

/// A load of `rate_per_second` for `seconds`, with enough users that a stall holds nothing back.
fn scenario(name: &str, rate_per_second: u64, seconds: u64, users: usize) -> Scenario {
    let text = format!(
        "name = \"{name}\"\ndescription = \"A known truth\"\nusers = {users}\nsend_lag_max = \"1h\"\n\
         drain_timeout = \"5s\"\n[target]\nrequest_timeout = \"30s\"\n\
         [[phase]]\nname = \"all\"\nduration = \"{seconds}s\"\nrate = {rate_per_second}\n"
    );
    Scenario::parse(&text, Path::new("self-test.toml")).expect("the text is a good scenario")
}

/// The share of the arrivals above a percentile, and the response time that a stall gives it.
///
/// Arrivals come evenly, and those in the stall wait until its end: the response times from the longest down are the
/// stall's length, and one gap less for each.
const STALL_TRUTHS: [(&str, f64); 4] =
    [("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

async fn stall() -> Result<Vec<Row>, RunError> {
    let stub = start(
        Delays::Stall {
            from: STALL_ARRIVALS * 2 / 5,
            length: STALL,
        },
        None,
    )?;
    let seconds = STALL_ARRIVALS / STALL_RATE_PER_SECOND;
    let scenario = scenario("self-test-stall", STALL_RATE_PER_SECOND, seconds, 300);
    let loaded = load_only(&scenario, &stub.url()).await?;
    let mut rows = stall_rows(&loaded.recorder.total.response);
    rows.push(counts(
        "requests of the stall: goose, the ledger, the stub",
        [loaded.requests.0, loaded.requests.1, stub.requests()],
        STALL_ARRIVALS,
    ));
    Ok(rows)
}

fn stall_rows(response: &Histogram<u64>) -> Vec<Row> {
    STALL_TRUTHS
        .map(|(name, quantile)| {
            let above = (1.0 - quantile) * STALL_ARRIVALS as f64;
            let truth_s = STALL.as_secs_f64() - above / STALL_RATE_PER_SECOND as f64;
            let found_s = response.value_at_quantile(quantile) as f64 / 1e6;
            let off = found_s / truth_s - 1.0;
            Row {
                name: format!("response time {name} over a stall of 2 s"),
                expected: format!("{truth_s:.3} s, within 2 %"),
                observed: format!("{found_s:.3} s ({:+.2} %)", off * 100.0),
                pass: off.abs() <= STALL_TOLERANCE && response.len() == STALL_ARRIVALS,
            }
        })
        .to_vec()
}

/// Samples of known latency through the recorder of a run: what its histograms keep of them.
fn recorded() -> Row {
    // 50 us to 100 s, evenly on a logarithmic scale.
    let truth = |index: u32| {
        let share = (f64::from(index) + 0.5) / f64::from(SAMPLES);
        Duration::from_micros((50.0 * 2e6_f64.powf(share)) as u64)
    };
    let mut recorder = Recorder::new(1, SAMPLES);
    for number in 0..SAMPLES {
        // In no order: the multiples of an odd number that is no multiple of 5 pass every remainder once.
        let index = (u64::from(number) * 618_033) % u64::from(SAMPLES);
        let sent = Duration::from_micros(10) * number;
        recorder.note(&Sample {
            number,
            phase: 0,
            kind: Kind::Valid,
            intended: sent,
            generator_lag: Duration::ZERO,
            sent,
            last_sent: sent,
            done: sent + truth(index as u32),
            answer: Answer::Queued,
            resent: 0,
        });
    }
    recorder.finish();
    recorded_row(
        &[&recorder.total.response, &recorder.total.service],
        |rank| truth(rank as u32 - 1),
    )
}

/// `truth` is the latency of a rank, counted from 1.
fn recorded_row(histograms: &[&Histogram<u64>], truth: impl Fn(u64) -> Duration) -> Row {
    let mut off_max: f64 = 0.0;
    for histogram in histograms {
        for step in 1..=10_000 {
            let quantile = f64::from(step) / 1e4;
            let truth_us = truth(rank(quantile, u64::from(SAMPLES))).as_micros() as f64;
            let found_us = histogram.value_at_quantile(quantile) as f64;
            off_max = off_max.max((found_us / truth_us - 1.0).abs());
        }
    }
    let are_all = histograms
        .iter()
        .all(|histogram| histogram.len() == u64::from(SAMPLES));
    Row {
        name: "every percentile of 1,000,000 known samples, 50 us to 100 s".to_owned(),
        expected: "within 0.1 %".to_owned(),
        observed: format!("at most {:.3} % off", off_max * 100.0),
        pass: off_max <= PRECISION && are_all,
    }
}

/// Which of `len` values, counted from the smallest, is the percentile: the first that this share does not exceed.
fn rank(quantile: f64, len: u64) -> u64 {
    ((quantile * len as f64).ceil() as u64).clamp(1, len.max(1))
}

async fn spread() -> Result<Vec<Row>, RunError> {
    let stub = start(Delays::Spread, None)?;
    let scenario = scenario("self-test-spread", 250, 20, 1024);
    let loaded = load_only(&scenario, &stub.url()).await?;
    let mut rows = spread_rows(&loaded.recorder.total.service, &stub.imposed());
    rows.push(counts(
        "requests of the known latencies: goose, the ledger, the stub",
        [loaded.requests.0, loaded.requests.1, stub.requests()],
        u64::from(Schedule::new(&scenario.phases, 1).arrivals()),
    ));
    Ok(rows)
}

/// `imposed` is sorted. The middle of a histogram's step stands for it, so that the step's width is not an error.
fn spread_rows(service: &Histogram<u64>, imposed: &[Duration]) -> Vec<Row> {
    QUANTILES
        .map(|(name, quantile)| {
            let index = rank(quantile, imposed.len() as u64) as usize - 1;
            let truth_ms = imposed.get(index).map_or(0.0, Duration::as_secs_f64) * 1e3;
            let found_us = service.median_equivalent(service.value_at_quantile(quantile));
            let found_ms = found_us as f64 / 1e3;
            let off = found_ms / truth_ms - 1.0;
            Row {
                name: format!("service time {name} of known latencies, 1 to 4 s"),
                expected: format!("{truth_ms:.1} ms, within 0.1 %"),
                observed: format!("{found_ms:.1} ms ({:+.3} %)", off * 100.0),
                pass: off.abs() <= PRECISION && service.len() == imposed.len() as u64,
            }
        })
        .to_vec()
}

async fn faults(rows: &mut Vec<Row>) -> Result<(), RunError> {
    let servers = Servers::discover()?;
    let (redis, mongodb) = tokio::try_join!(
        RedisServer::start(&servers, RedisOptions::default()),
        MongoServer::start(&servers, MongoOptions::default()),
    )?;
    let folder = tempfile::tempdir().map_err(|error| Unwritable {
        path: std::env::temp_dir(),
        error,
    })?;
    let scenario = scenario("self-test-fault", 2000, ARRIVALS / 2000, 256);
    for (index, fault) in [
        None,
        Some(Spoils::Loses),
        Some(Spoils::Doubles),
        Some(Spoils::Swaps),
        Some(Spoils::Alters),
    ]
    .into_iter()
    .enumerate()
    {
        let database = format!("selftest{index}");
        // Another loan each time. The last one has no next one to be swapped with.
        let chosen = mix64(OffsetDateTime::now_utc().unix_timestamp_nanos() as u64 ^ index as u64)
            % (ARRIVALS - 1);
        let storing = Storing {
            mongodb_uri: mongodb.uri(),
            database: database.clone(),
            fault: fault.map(|fault| (fault, chosen)),
            ahead: Ahead::default(),
        };
        let stub = start(Delays::None, Some(storing))?;
        let finished = run::run(Options {
            scenario: scenario.clone(),
            scenario_path: PathBuf::from("self-test.toml"),
            target: Some(Target {
                url: stub.url(),
                other_urls: Vec::new(),
                redis_url: redis.url(),
                mongodb_uri: mongodb.uri(),
                mongodb_database: database,
                private: true,
            }),
            service_binary: None,
            reports: folder.path().to_path_buf(),
            quiet: true,
            // The stub is of no commit.
            allow: vec![Allowed::OtherCommit],
            no_stores: false,
            samples: None,
            otlp: None,
            merge: Vec::new(),
        })
        .await?;
        rows.push(fault_row(fault, &finished.report));
    }
    Ok(())
}

/// What the audit must say of a run in which one loan was treated so.
fn fault_row(fault: Option<Spoils>, report: &Report) -> Row {
    let (name, lost, duplicated, mismatched) = match fault {
        None => ("no fault among 10,000 loans", 0, 0, 0),
        Some(Spoils::Loses) => ("1 loan of 10,000 lost", 1, 0, 0),
        Some(Spoils::Doubles) => ("1 loan of 10,000 doubled", 0, 1, 0),
        Some(Spoils::Swaps) => ("2 loans of 10,000 swapped", 0, 0, 2),
        Some(Spoils::Alters) => ("1 loan of 10,000 altered", 0, 0, 1),
    };
    let counted = |audit: &Audit| {
        format!(
            "{} lost, {} doubled, {} mismatched",
            audit.lost, audit.duplicated, audit.mismatched
        )
    };
    // A loan doubled as a failure has a record that it must not have, whichever record is looked at.
    let mismatched = mismatched + u64::from(fault == Some(Spoils::Doubles));
    let truth = Audit {
        lost,
        duplicated,
        mismatched,
        ..Audit::default()
    };
    let audit = &report.audit;
    Row {
        name: name.to_owned(),
        expected: counted(&truth),
        observed: counted(audit),
        pass: audit.complete
            && audit.acknowledged == ARRIVALS
            && (audit.lost, audit.duplicated, audit.mismatched)
                == (truth.lost, truth.duplicated, truth.mismatched)
            && audit.unexpected + audit.stuck == 0,
    }
}

fn counts(name: &str, counted: [u64; 3], truth: u64) -> Row {
    Row {
        name: name.to_owned(),
        expected: truth.to_string(),
        observed: counted.map(|count| count.to_string()).join(", "),
        pass: counted.iter().all(|count| *count == truth),
    }
}

fn start(delays: Delays, storing: Option<Storing>) -> Result<Stub, RunError> {
    Stub::start(delays, storing)
        .map_err(|error| DriveError::Goose(format!("no stub to ask: {error}")).into())
}

#[cfg(test)]
mod tests {
    use record::latencies::{empty, record};

    use super::*;

    #[test]
    fn a_stall_that_is_measured_from_the_intended_instant_is_found() {
        let gap = Duration::from_secs(1) / STALL_RATE_PER_SECOND as u32;
        let mut response = empty();
        let mut service = empty();
        for number in 0..STALL_ARRIVALS as u32 {
            let delay = STALL.checked_sub(gap * number).unwrap_or_default();
            record(&mut response, delay);
            // A generator that waits for its answers sends one request into the stall.
            record(
                &mut service,
                if number == 0 { STALL } else { Duration::ZERO },
            );
        }
        assert!(stall_rows(&response).iter().all(|row| row.pass));
        let missed = stall_rows(&service).iter().filter(|row| !row.pass).count();
        assert_eq!(missed, 3, "all but the maximum");
    }

    #[test]
    fn known_latencies_are_compared_within_the_precision() {
        let imposed: Vec<_> = (1000..4000).map(Duration::from_millis).collect();
        let measured = |factor: f64| {
            let mut service = empty();
            for delay in &imposed {
                record(&mut service, delay.mul_f64(factor));
            }
            spread_rows(&service, &imposed)
        };
        assert!(measured(1.0).iter().all(|row| row.pass));
        assert!(measured(1.0003).iter().all(|row| row.pass));
        assert!(measured(1.002).iter().all(|row| !row.pass));
        assert!(measured(0.998).iter().all(|row| !row.pass));
        assert!(spread_rows(&empty(), &imposed).iter().all(|row| !row.pass));
        assert!(spread_rows(&empty(), &[]).iter().all(|row| !row.pass));
    }

    #[test]
    fn the_recorder_keeps_three_digits_and_two_would_be_noticed() {
        let row = recorded();
        assert!(row.pass, "{row:?}");
        let truth = |rank: u64| Duration::from_micros(1000 + rank);
        let coarse = |digits| {
            let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, digits).unwrap();
            for rank in 1..=u64::from(SAMPLES) {
                record(&mut histogram, truth(rank));
            }
            recorded_row(&[&histogram], truth).pass
        };
        assert!(coarse(3));
        assert!(!coarse(2));
        assert!(!recorded_row(&[&empty()], truth).pass);
    }

    #[test]
    fn a_rank_is_the_one_that_the_histogram_takes() {
        assert_eq!(
            [0.0, 0.5, 0.51, 1.0].map(|quantile| rank(quantile, 100)),
            [1, 50, 51, 100]
        );
        assert_eq!(rank(0.5, 0), 1);
    }

    #[test]
    fn a_fault_that_is_missed_fails_the_row() {
        let report = |lost, mismatched| Report {
            audit: Audit {
                complete: true,
                acknowledged: ARRIVALS,
                lost,
                mismatched,
                ..Audit::default()
            },
            ..Report::default()
        };
        assert!(fault_row(None, &report(0, 0)).pass);
        assert!(!fault_row(None, &report(1, 0)).pass);
        assert!(fault_row(Some(Spoils::Loses), &report(1, 0)).pass);
        assert!(!fault_row(Some(Spoils::Loses), &report(0, 0)).pass);
        assert!(fault_row(Some(Spoils::Swaps), &report(0, 2)).pass);
        assert!(!fault_row(Some(Spoils::Swaps), &report(0, 1)).pass);
    }
}

//! What a whole run says of a service that freezes, refuses or takes everything, of clocks that differ, of others who send too, and of
//! itself when it is stopped.
//!
//! Each run is a process of its own, so that it can be stopped while its stub goes on. Those of one sort run side by side.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use drive::load::load_only;
use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use observe::stub::{Ahead, Delays, Storing};
use record::folder::Unwritable;
use record::result::run::{Report, Verdict};
use record::result::self_test::Row;
use testbed::{MongoOptions, MongoServer, RedisOptions, RedisServer, Servers};

use super::{scenario as scenario_of, start};
use crate::commands::run::RunError;

/// Arrivals per second, and the length of a run that is frozen or stopped.
const RATE_PER_SECOND: u64 = 500;
const LONG: Duration = Duration::from_secs(15);
/// The length of the others.
const SHORT: Duration = Duration::from_secs(6);
/// How often a stub is asked how many requests it had.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// No run takes this long.
const ENDED_WITHIN: Duration = Duration::from_secs(90);

/// One run of which the truth is known.
struct Truth {
    name: String,
    /// What it must say, and a word that must be in its reasons.
    verdict: Verdict,
    word: &'static str,
    delays: Delays,
    ahead: Ahead,
    length: Duration,
    /// The share of malformed arrivals.
    malformed: f64,
    /// Whether the stub stores loans, and the run looks at the stores. One that does not takes whatever it is sent.
    has_stores: bool,
    /// How many loans somebody else sends to the stub meanwhile, in a second.
    by_others: u64,
    /// For how long the generator is stopped in its middle.
    stopped: Duration,
}

impl Truth {
    fn of(name: String, verdict: Verdict, word: &'static str) -> Self {
        Self {
            name,
            verdict,
            word,
            delays: Delays::None,
            ahead: Ahead::default(),
            length: SHORT,
            malformed: 0.0,
            has_stores: true,
            by_others: 0,
            stopped: Duration::ZERO,
        }
    }

    fn arrivals(&self) -> u64 {
        self.length.as_secs() * RATE_PER_SECOND
    }
}

/// The names of what is measured, and what the runs must say of it.
fn truths() -> [Vec<Truth>; 3] {
    let frozen = [300u64, 1_000, 3_000].map(|ms| {
        let length = Duration::from_millis(ms);
        let name = format!("a service frozen for {} s of 15 s", length.as_secs_f64());
        let mut truth = Truth::of(name, Verdict::Fail, "response_ms.p99");
        truth.length = LONG;
        truth.delays = Delays::Stall {
            from: truth.arrivals() / 3,
            length,
        };
        truth
    });
    let stopped = [120u64, 500, 3_000].map(|ms| {
        let length = Duration::from_millis(ms);
        let name = format!(
            "the generator stopped for {} s of 15 s",
            length.as_secs_f64()
        );
        let mut truth = Truth::of(name, Verdict::Discarded, "stood still");
        truth.length = LONG;
        truth.stopped = length;
        truth
    });
    let refuses = {
        let name = "a service that refuses for half of the run".to_owned();
        let mut truth = Truth::of(name, Verdict::Fail, "no definite answer");
        let arrivals = truth.arrivals();
        truth.delays = Delays::Refuse {
            from: arrivals / 4,
            to: arrivals * 3 / 4,
        };
        truth
    };
    let clocks = [
        ("300 s ahead", 300_000, None, "ahead of the generator's"),
        ("300 s behind", -300_000, None, "behind the generator's"),
        // So little that the way of a snapshot could be the cause.
        ("20 ms behind", -20, None, "confirmed before it was due"),
        (
            "set ahead by a day in the middle",
            0,
            Some(86_400_000),
            "was set",
        ),
    ]
    .map(|(what, first_ms, step_ms, word)| {
        let name = format!("a service whose clock is {what}");
        let mut truth = Truth::of(name, Verdict::Pass, word);
        truth.ahead = Ahead {
            first_ms,
            step: step_ms.map(|ms| (truth.arrivals() / 2, ms)),
        };
        truth
    });
    let takes_everything = {
        let name = "a service that takes malformed loans, its stores not looked at".to_owned();
        let mut truth = Truth::of(name, Verdict::Fail, "malformed must be answered 400");
        truth.malformed = 0.1;
        truth.has_stores = false;
        truth
    };
    let others = {
        let name = "a service that somebody else sends 100 loans to".to_owned();
        let word = "Others used this service beside the run: 100 requests";
        let mut truth = Truth::of(name, Verdict::Pass, word);
        truth.by_others = 100;
        truth
    };
    let mut short = vec![refuses, takes_everything, others];
    short.extend(clocks);
    [frozen.into(), stopped.into(), short]
}

/// Makes all runs and adds to `rows` what they say.
pub(super) async fn compare(
    rows: &mut Vec<Row>,
    say: &mut impl FnMut(&str),
) -> Result<(), RunError> {
    let servers = Servers::discover()?;
    let (redis, mongodb) = tokio::try_join!(
        RedisServer::start(&servers, RedisOptions::default()),
        MongoServer::start(&servers, MongoOptions::default()),
    )?;
    let folder = tempfile::tempdir().map_err(|error| Unwritable {
        path: std::env::temp_dir(),
        error,
    })?;
    let doing = [
        "stubs that freeze for 0.3, 1 and 3 s",
        "generators that are stopped for 0.12, 0.5 and 3 s",
        "stubs that refuse, take everything, have other clients, and whose clocks differ",
    ];
    for (doing, truths) in doing.into_iter().zip(truths()) {
        say(doing);
        let runs = truths.iter().enumerate().map(|(index, truth)| {
            let place = Place {
                folder: folder.path().join(format!("{}{index}", rows.len())),
                database: format!("words{}{index}", rows.len()),
                redis_url: redis.url(),
                mongodb_uri: mongodb.uri(),
            };
            one(truth, place)
        });
        let made = try_join_all(runs).await?;
        rows.extend(made);
    }
    Ok(())
}

/// Where a run has its files and its records.
struct Place {
    folder: PathBuf,
    database: String,
    redis_url: String,
    mongodb_uri: String,
}

impl Place {
    /// The arguments that name its stores.
    fn stores(&self) -> Vec<&str> {
        vec![
            "--redis",
            &self.redis_url,
            "--mongodb",
            &self.mongodb_uri,
            "--mongodb-database",
            &self.database,
            // The stub is of no commit.
            "--allow",
            "other-commit",
        ]
    }
}

async fn one(truth: &Truth, place: Place) -> Result<Row, RunError> {
    let unwritable = |path: &Path| {
        let path = path.to_path_buf();
        move |error| Unwritable { path, error }
    };
    let scenario = place.folder.join("truth.toml");
    std::fs::create_dir_all(&place.folder).map_err(unwritable(&place.folder))?;
    let text = format!(
        "name = \"self-test-words\"\ndescription = \"A known truth\"\nsend_lag_max = \"50ms\"\n\
         [mix]\nmalformed = {:?}\n\
         [[phase]]\nname = \"all\"\nduration = \"{}s\"\nrate = {RATE_PER_SECOND}\n\
         [[check]]\nmetric = \"response_ms.p99\"\nmax = 50\n",
        truth.malformed,
        truth.length.as_secs()
    ) + if truth.has_stores {
        "[[check]]\nmetric = \"lost\"\nequals = 0\n"
    } else {
        ""
    };
    std::fs::write(&scenario, text).map_err(unwritable(&scenario))?;
    let storing = truth.has_stores.then(|| Storing {
        mongodb_uri: place.mongodb_uri.clone(),
        database: place.database.clone(),
        fault: None,
        ahead: truth.ahead,
    });
    let stub = start(truth.delays, storing)?;
    let program = std::env::current_exe().map_err(unwritable(Path::new("loadgen")))?;
    let mut child = tokio::process::Command::new(program)
        .arg("run")
        .arg(&scenario)
        .args(["--target", &stub.url()])
        .args(if truth.has_stores {
            place.stores()
        } else {
            vec!["--no-stores"]
        })
        .args(["--quiet", "--reports"])
        .arg(&place.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(unwritable(Path::new("loadgen")))?;
    while stub.requests() < truth.arrivals() / 2 && child.try_wait().is_ok_and(|end| end.is_none())
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if truth.by_others > 0 {
        let theirs = scenario_of("self-test-others", truth.by_others, 1, 64);
        load_only(&theirs, &stub.url()).await?;
    }
    if let (false, Some(process)) = (truth.stopped.is_zero(), child.id()) {
        let process = Pid::from_raw(process as i32);
        // One that has ended already will say so in its report.
        let _ = kill(process, Signal::SIGSTOP);
        tokio::time::sleep(truth.stopped).await;
        let _ = kill(process, Signal::SIGCONT);
    }
    let ended = tokio::time::timeout(ENDED_WITHIN, child.wait_with_output()).await;
    let said = match ended {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        _ => "it did not end".to_owned(),
    };
    let path = place.folder.join("latest/report.json");
    let report = std::fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str::<Report>(&text).ok());
    Ok(row(truth, report.as_ref(), &said))
}

/// `said` is what the run wrote to its standard error, in case there is no report.
fn row(truth: &Truth, report: Option<&Report>, said: &str) -> Row {
    let (observed, pass) = match report {
        None => (said.to_owned(), false),
        Some(report) => {
            let named = report.why.iter().find(|why| why.contains(truth.word));
            // A latency across clocks that differ is none.
            let is_apart = truth.ahead != Ahead::default();
            let end_to_end = report.load.end_to_end_us.count;
            let pass = report.verdict == truth.verdict
                && named.is_some()
                && (end_to_end > 0) == (truth.has_stores && !is_apart)
                && report.audit.complete == truth.has_stores;
            let why = named.or(report.why.first()).map_or("", String::as_str);
            (format!("{}: {why}", report.verdict.name()), pass)
        }
    };
    Row {
        name: truth.name.clone(),
        expected: format!("{}, and says so", truth.verdict.name()),
        observed,
        pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_noticed() {
        let truth = Truth::of("a truth".to_owned(), Verdict::Discarded, "stood still");
        let mut report = Report {
            verdict: Verdict::Discarded,
            why: vec!["The generator stood still for 0.50 s.".to_owned()],
            ..Report::default()
        };
        report.audit.complete = true;
        report.load.end_to_end_us.count = 5;
        assert!(row(&truth, Some(&report), "").pass);
        assert!(!row(&truth, None, "no such file").pass);
        let mut other = report.clone();
        other.verdict = Verdict::Fail;
        assert!(!row(&truth, Some(&other), "").pass);
        report.why = vec!["Give the scenario more users.".to_owned()];
        assert!(!row(&truth, Some(&report), "").pass);
    }
}

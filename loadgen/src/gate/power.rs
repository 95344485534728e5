//! What the gate can do, by experiment: stretches of recorded rounds of one build, and of the same build with a known
//! slowdown, are drawn into gates again and again. How often such a gate fails without a slowdown is its false alarms; how often it
//! fails with one is what it catches.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::build::Build;
use super::hotpath::HotPath;
use super::judge::{self, Answer, Block};
use super::round::{Round, Rounds};
use super::{Arm, BLOCKS_MAX, BLOCKS_MIN, BLOCKS_MORE, GateError, ORDER};
use crate::bootstrap::{Random, median};

/// Gates that are drawn for each figure, unless told otherwise.
pub const GATES: u32 = 4000;
/// The feature of the service that slows admission down, and the variable that says by how much.
const FEATURE: &str = "slowdown";
const VARIABLE: &str = "SLUICE_SLOWDOWN_NS";
/// Fewer recorded rounds of a kind say nothing.
pub const ROUNDS_MIN: usize = 20;
/// Rounds of a kind that it takes for shares that can be published.
pub const ROUNDS_WANTED: usize = 100;

/// A recorded round.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// How much longer each admission took, nanoseconds.
    pub slowdown_ns: u64,
    /// What was measured. The arm says nothing here.
    #[serde(flatten)]
    pub round: Round,
}

/// Records `pairs` times two rounds: of the build of `reference` as it is, and with admission slower by
/// `slowdown_ns`. Appends them to `path`. The order changes from pair to pair.
///
/// # Errors
/// When it does not build, a round fails, or the file cannot be written.
pub async fn record(
    reference: &str,
    slowdown_ns: u64,
    pairs: usize,
    path: &Path,
    mut say: impl FnMut(&str),
) -> Result<(), GateError> {
    let build = Build::of(reference, &[FEATURE])?;
    let cannot = |source: std::io::Error| GateError::Data {
        path: path.to_path_buf(),
        what: source.to_string(),
    };
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(cannot)?;
    let rounds = Rounds::start().await?;
    for pair in 0..pairs {
        let order = if pair % 2 == 0 {
            [0, slowdown_ns]
        } else {
            [slowdown_ns, 0]
        };
        for slowdown_ns in order {
            // The plain rounds run the same binary, so that only the slowdown differs.
            let environment = [(VARIABLE.to_owned(), slowdown_ns.to_string())];
            let round = rounds
                .measure(Arm::Base, &build.service, &environment)
                .await?;
            say(&format!(
                "pair {} of {pairs}, {slowdown_ns} ns: service CPU {:.2} us admitted, {:.2} us recorded, Redis {:.2} us, time {:.2} us",
                pair + 1,
                round.admit_cpu_us,
                round.record_cpu_us,
                round.admit_redis_us,
                round.admit_wall_us
            ));
            let line = serde_json::to_string(&Recorded { slowdown_ns, round }).unwrap_or_default();
            writeln!(file, "{line}").map_err(cannot)?;
        }
    }
    rounds.stop().await?;
    Ok(())
}

/// The rounds in the file at `path`.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Vec<Recorded>, GateError> {
    let cannot = |what: String| GateError::Data {
        path: PathBuf::from(path),
        what,
    };
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| cannot(error.to_string())))
        .collect()
}

/// How often gates of one kind gave each answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answers {
    /// Nothing grew.
    pub pass: u32,
    /// Something grew.
    pub fail: u32,
    /// Not clear, after the most blocks.
    pub inconclusive: u32,
    /// Blocks that were needed, all gates together.
    pub blocks: u64,
}

impl Answers {
    /// Gates.
    pub fn all(self) -> u32 {
        self.pass + self.fail + self.inconclusive
    }
}

/// What [`power`] found of the rounds that are kept with the project: `gate-power --json` writes it.
const KEPT: &str = include_str!("../../../benches/gate-data/power.json");

/// What the gate can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Power {
    /// Rounds without a slowdown.
    pub plain_rounds: usize,
    /// Rounds with one.
    pub slow_rounds: usize,
    /// How much more service CPU an admitted loan takes with the slowdown, by the client's, as a share: medians of all
    /// rounds.
    pub slowdown: f64,
    /// The same for the time of an admitted loan.
    pub slowdown_wall: f64,
    /// Gates of a build against itself.
    pub same: Answers,
    /// Gates of the slowed build against the plain one.
    pub slower: Answers,
}

/// Draws `gates` of each kind from recorded rounds. `None` when there are too few rounds for one.
pub fn power(recorded: &[Recorded], gates: u32) -> Option<Power> {
    let of = |slow: bool| -> Vec<Round> {
        recorded
            .iter()
            .filter(|one| (one.slowdown_ns > 0) == slow)
            .map(|one| one.round.clone())
            .collect()
    };
    let (plain, slow) = (of(false), of(true));
    if plain.len() < ROUNDS_MIN || slow.len() < ROUNDS_MIN {
        return None;
    }
    let growth = |figure: fn(&Round) -> f64| {
        let middle = |rounds: &[Round]| median(&rounds.iter().map(figure).collect::<Vec<_>>());
        Some(middle(&slow)? / middle(&plain)? - 1.0)
    };
    let mut random = Random::new(5);
    let mut same = Answers::default();
    let mut slower = Answers::default();
    for _ in 0..gates {
        count(&mut same, || stretch(&mut random, &plain, &plain));
        count(&mut slower, || stretch(&mut random, &plain, &slow));
    }
    Some(Power {
        plain_rounds: plain.len(),
        slow_rounds: slow.len(),
        slowdown: growth(|round| round.admit_cpu_ratio)?,
        slowdown_wall: growth(|round| round.admit_wall_us)?,
        same,
        slower,
    })
}

/// The rounds of one block: a stretch of consecutive rounds as they were recorded, in the order in which a gate takes its
/// arms. So what the machine does from round to round is in the block as it is in a gate's.
fn stretch(random: &mut Random, base: &[Round], head: &[Round]) -> Vec<Round> {
    let starts = base.len().min(head.len()) - ORDER.len() + 1;
    let start = random.below(starts);
    (start..)
        .zip(ORDER)
        .map(|(at, arm)| {
            let from = if arm == Arm::Head { head } else { base };
            Round {
                arm,
                ..from[at].clone()
            }
        })
        .collect()
}

/// One gate of drawn blocks, with more of them while it is not clear, as the real one.
fn count(answers: &mut Answers, mut draw: impl FnMut() -> Vec<Round>) {
    let mut blocks = Vec::new();
    let answer = loop {
        let wanted = if blocks.is_empty() {
            BLOCKS_MIN
        } else {
            blocks.len() + BLOCKS_MORE
        }
        .min(BLOCKS_MAX);
        while blocks.len() < wanted {
            blocks.push(Block::of(&draw()));
        }
        let (answer, _) = judge::conclude(
            &judge::judge(&blocks, Arm::Head),
            &judge::judge(&blocks, Arm::Control),
            &HotPath::default(),
            &[],
        );
        if answer != Answer::Inconclusive || blocks.len() >= BLOCKS_MAX {
            break answer;
        }
    };
    answers.blocks += blocks.len() as u64;
    match answer {
        Answer::Pass => answers.pass += 1,
        Answer::Fail => answers.fail += 1,
        Answer::Inconclusive => answers.inconclusive += 1,
    }
}

impl Power {
    /// What was found of the rounds that are kept with the project.
    pub fn kept() -> Self {
        serde_json::from_str(KEPT).expect("the file holds it: a test reads it")
    }

    /// In words.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} rounds of one build, {} with admission slowed: {:+.1} % service CPU for an admitted loan, {:+.1} % time\n",
            self.plain_rounds,
            self.slow_rounds,
            self.slowdown * 100.0,
            self.slowdown_wall * 100.0
        );
        for (name, answers) in [
            ("a build against itself", self.same),
            ("the slowed build", self.slower),
        ] {
            let share = |count: u32| f64::from(count) / f64::from(answers.all().max(1)) * 100.0;
            let _ = writeln!(
                text,
                "  {name}: of {} gates {:.2} % fail, {:.2} % pass, {:.2} % inconclusive; {:.1} blocks on average",
                answers.all(),
                share(answers.fail),
                share(answers.pass),
                share(answers.inconclusive),
                answers.blocks as f64 / f64::from(answers.all().max(1))
            );
        }
        if self.plain_rounds.min(self.slow_rounds) < ROUNDS_WANTED {
            let _ = writeln!(
                text,
                "  fewer than {ROUNDS_WANTED} rounds of a kind: these shares are a first look, not the gate's proof"
            );
        }
        text.push_str(
            "  Each block is a stretch of consecutive rounds as they were recorded; blocks are drawn with repetition.\n",
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds that vary by 2 %, and as many that are slower by `slowdown`.
    fn recorded(slowdown: f64) -> Vec<Recorded> {
        let mut random = Random::new(11);
        (0..200)
            .map(|index| {
                let slow = index % 2 == 1;
                let noise = (0..4).map(|_| random.below(2001) as f64 / 1000.0 - 1.0);
                let off = 1.0 + 0.02 * noise.sum::<f64>() / 1.15;
                let more = if slow { 1.0 + slowdown } else { 1.0 };
                Recorded {
                    slowdown_ns: u64::from(slow) * 1000,
                    round: Round {
                        arm: Arm::Base,
                        at: String::new(),
                        admit_cpu_us: 20.0 * off * more,
                        admit_cpu_ratio: 2.0 * off * more,
                        admit_slices_us: Vec::new(),
                        client_slices_us: Vec::new(),
                        admit_redis_us: 10.0,
                        admit_wall_us: 50.0,
                        admit_p50_us: 900.0,
                        record_cpu_us: 60.0,
                        record_wall_us: 100.0,
                        faults: Vec::new(),
                    },
                }
            })
            .collect()
    }

    #[test]
    fn steady_rounds_catch_a_slowdown_and_raise_no_alarm() {
        let power = power(&recorded(0.10), 200).expect("enough rounds");
        assert_eq!((power.plain_rounds, power.slow_rounds), (100, 100));
        assert!(power.same.fail * 100 <= power.same.all() * 2, "{power:?}");
        assert!(
            power.slower.fail * 100 >= power.slower.all() * 95,
            "{power:?}"
        );
        assert!((power.slowdown - 0.10).abs() < 0.02, "{power:?}");
    }

    #[test]
    fn no_slowdown_is_not_caught() {
        let power = power(&recorded(0.0), 200).expect("enough rounds");
        assert!(
            power.slower.fail * 100 <= power.slower.all() * 2,
            "{power:?}"
        );
    }

    #[test]
    fn what_is_kept_was_found_of_the_rounds_that_are_kept() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/gate-data/rounds.jsonl");
        let found = power(&read(&path).expect("it is read"), 1).expect("enough rounds");
        let kept = Power::kept();
        assert_eq!(
            Power {
                same: kept.same,
                slower: kept.slower,
                ..found
            },
            kept,
            "run: loadgen gate-power --json > benches/gate-data/power.json"
        );
        assert_eq!((kept.same.all(), kept.slower.all()), (GATES, GATES));
    }

    #[test]
    fn rounds_are_kept_as_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("rounds.jsonl");
        let rounds = recorded(0.1);
        let text: String = rounds
            .iter()
            .map(|one| serde_json::to_string(one).expect("plain data") + "\n")
            .collect();
        std::fs::write(&path, text).expect("it is written");
        let read_back = read(&path).expect("it is read");
        assert_eq!(read_back.len(), rounds.len());
        assert_eq!(read_back[3].round, rounds[3].round);
        std::fs::write(&path, "nonsense").expect("it is written");
        assert!(read(&path).is_err());
        assert!(power(&rounds[..2 * ROUNDS_MIN - 2], 1).is_none());
        let few = power(&rounds[..2 * ROUNDS_MIN], 1).expect("enough rounds");
        assert!(few.text().contains("a first look"));
    }
}

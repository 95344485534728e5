//! What the gate can do, by experiment: stretches of recorded rounds of one build, and of the same build with a known
//! slowdown, are drawn into gates again and again. How often such a gate fails without a slowdown is its false alarms; how often it
//! fails with one is what it catches.

use record::rank::median;
use record::result::gate::{Answer, Arm, BLOCK_LEN, Round, Row, order};
use record::result::hotpath::HotPath;
use record::result::power::{Answers, Power, Recorded};

use crate::bootstrap::Random;
use crate::gate::{self as judge, BLOCKS_MAX, BLOCKS_MIN, BLOCKS_MORE, Block};

/// Gates that are drawn for each figure, unless told otherwise.
pub const GATES: u32 = 4000;
/// Fewer recorded rounds of a kind say nothing.
pub const ROUNDS_MIN: usize = 20;

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
        count(&mut same, |block| {
            stretch(&mut random, block, &plain, &plain)
        });
        count(&mut slower, |block| {
            stretch(&mut random, block, &plain, &slow)
        });
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
fn stretch(random: &mut Random, block: usize, base: &[Round], head: &[Round]) -> Vec<Round> {
    let starts = base.len().min(head.len()) - BLOCK_LEN + 1;
    let start = random.below(starts);
    (start..)
        .zip(order(block))
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
fn count(answers: &mut Answers, mut draw: impl FnMut(usize) -> Vec<Round>) {
    let mut blocks = Vec::new();
    let answer = loop {
        let wanted = if blocks.is_empty() {
            BLOCKS_MIN
        } else {
            blocks.len() + BLOCKS_MORE
        }
        .min(BLOCKS_MAX);
        while blocks.len() < wanted {
            blocks.push(Block::of(&draw(blocks.len())));
        }
        // Rounds that were recorded before a figure was taken do not have it.
        let recorded = |arm| {
            let mut judgement = judge::judge(&blocks, arm);
            judgement.rows.retain(Row::is_measured);
            judgement
        };
        let (answer, _) = judge::conclude(
            &recorded(Arm::Head),
            &recorded(Arm::Control),
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
        Answer::Inconclusive | Answer::Aborted => answers.inconclusive += 1,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use record::rounds;

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
                        admit_p99_us: 3_000.0,
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
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/gate-data/rounds.jsonl");
        let found = power(&rounds::read(&path).expect("it is read"), 1).expect("enough rounds");
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
        let read_back = rounds::read(&path).expect("it is read");
        assert_eq!(read_back.len(), rounds.len());
        assert_eq!(read_back[3].round, rounds[3].round);
        std::fs::write(&path, "nonsense").expect("it is written");
        assert!(rounds::read(&path).is_err());
        assert!(power(&rounds[..2 * ROUNDS_MIN - 2], 1).is_none());
        let few = power(&rounds[..2 * ROUNDS_MIN], 1).expect("enough rounds");
        assert!(few.text().contains("a first look"));
    }
}

//! The answer from the measured rounds. Pure.
//!
//! Within a block each arm is measured twice, in mirrored order, so that a machine that grows slower evenly favours
//! none, and the arms change their places from block to block. A block gives one ratio of head to base for each metric.
//! Neighbouring blocks hang together, so runs of them are resampled for the range that chance allows. What the same build
//! differs from itself on this machine, the control, widens that range. A metric fails when that range lies wholly above the growth that is too much for sure, passes when it
//! lies wholly below the growth that must not be missed, and is open in between, which only more rounds can close.

use record::rank::median;
use record::result::gate::{Answer, Arm, Judgement, Round, Row, percent, range};
use record::result::hotpath::HotPath;

use crate::bootstrap::{Interval, RESAMPLES, Random};

/// Blocks that are measured before the first judgement. Each has two rounds of every arm.
pub const BLOCKS_MIN: usize = 10;
/// Blocks that are added while it is not clear.
pub const BLOCKS_MORE: usize = 5;
/// The most blocks; what is not clear then stays inconclusive.
pub const BLOCKS_MAX: usize = 40;

/// What is judged, the sharpest first.
///
/// The first one is divided by the client's own processor time for the same loans: the client does the same for every
/// build, so what slows the machine for a while slows both. On a shared machine that quarters the spread from round to
/// round. The others are plain, and their bounds are as wide as their spread asks.
pub const METRICS: [Metric; 6] = [
    Metric {
        name: "Service CPU for an admitted loan, by the client's",
        fails_above: 0.03,
        passes_below: 0.08,
        of: |round| round.admit_cpu_ratio,
    },
    Metric {
        name: "Service CPU for a recorded loan",
        fails_above: 0.05,
        passes_below: 0.20,
        of: |round| round.record_cpu_us,
    },
    Metric {
        name: "Redis CPU for an admitted loan",
        fails_above: 0.05,
        passes_below: 0.20,
        of: |round| round.admit_redis_us,
    },
    Metric {
        name: "Time for an admitted loan",
        fails_above: 0.10,
        passes_below: 0.40,
        of: |round| round.admit_wall_us,
    },
    Metric {
        name: "Time to an answer, p50",
        fails_above: 0.10,
        passes_below: 0.40,
        of: |round| round.admit_p50_us,
    },
    Metric {
        name: "Time to an answer, p99",
        fails_above: 0.30,
        passes_below: 1.50,
        of: |round| round.admit_p99_us,
    },
];

/// One metric of the gate.
#[derive(Clone, Copy)]
pub struct Metric {
    /// What it is, in words.
    pub name: &'static str,
    /// Growth that is surely above this share fails.
    pub fails_above: f64,
    /// Growth that is surely below this share passes.
    pub passes_below: f64,
    /// The figure of one round.
    pub of: fn(&Round) -> f64,
}

/// One block: for each metric the mean logarithm of each arm's rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Block([[f64; 3]; METRICS.len()]);

impl Block {
    /// The block of its rounds, in any order.
    pub fn of(rounds: &[Round]) -> Self {
        let mut means = [[0.0; 3]; METRICS.len()];
        for (metric, means) in METRICS.iter().zip(&mut means) {
            for arm in [Arm::Base, Arm::Head, Arm::Control] {
                let logs: Vec<f64> = rounds
                    .iter()
                    .filter(|round| round.arm == arm)
                    .map(|round| (metric.of)(round).ln())
                    .collect();
                means[arm as usize] = logs.iter().sum::<f64>() / logs.len() as f64;
            }
        }
        Self(means)
    }

    /// Whether the metric was measured in every round: the logarithm of nothing is no finite number.
    fn has(&self, metric: usize) -> bool {
        self.0[metric].iter().all(|mean| mean.is_finite())
    }

    fn log_ratio(&self, metric: usize, arm: Arm) -> f64 {
        self.0[metric][arm as usize] - self.0[metric][Arm::Base as usize]
    }
}

/// Compares `arm` with the base over `blocks`. What the control differs from the base widens the head's range on both sides. Of a
/// metric without a figure in every block nothing is known.
pub fn judge(blocks: &[Block], arm: Arm) -> Judgement {
    let mut random = Random::new(blocks.len() as u64);
    let rows = METRICS
        .iter()
        .enumerate()
        .map(|(index, metric)| {
            if !blocks.iter().all(|block| block.has(index)) {
                return Row {
                    name: metric.name.to_owned(),
                    growth: f64::NAN,
                    growth_low: f64::NAN,
                    growth_high: f64::NAN,
                    fails_above: metric.fails_above,
                    passes_below: metric.passes_below,
                    answer: Answer::Inconclusive,
                };
            }
            let ratios: Vec<f64> = blocks
                .iter()
                .map(|block| block.log_ratio(index, arm))
                .collect();
            let (mean, interval) = spread(&ratios, &mut random);
            let restless = if arm == Arm::Control || blocks.is_empty() {
                0.0
            } else {
                let control = blocks
                    .iter()
                    .map(|block| block.log_ratio(index, Arm::Control));
                (control.sum::<f64>() / blocks.len() as f64).abs()
            };
            let growth = |log: f64| log.exp() - 1.0;
            let (low, high) = (
                growth(interval.low - restless),
                growth(interval.high + restless),
            );
            Row {
                name: metric.name.to_owned(),
                growth: growth(mean),
                growth_low: low,
                growth_high: high,
                fails_above: metric.fails_above,
                passes_below: metric.passes_below,
                answer: if low > metric.fails_above {
                    Answer::Fail
                } else if high < metric.passes_below {
                    Answer::Pass
                } else {
                    Answer::Inconclusive
                },
            }
        })
        .collect();
    Judgement {
        blocks: blocks.len(),
        rows,
    }
}

/// The mean of the blocks and the range that chance allows it.
///
/// Runs of neighbouring blocks are resampled whole, from a circle, so that what hangs together stays together. Resampling a
/// handful of values makes them look steadier than they are, in two ways that are known: their spread is short by the
/// length of such a run, and a few values have heavier tails than many. Both are made up for.
fn spread(values: &[f64], random: &mut Random) -> (f64, Interval) {
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count.max(1) as f64;
    if count < 2 {
        let interval = Interval {
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        };
        return (mean, interval);
    }
    let run = run_len(count);
    let widen = (count as f64 / (count - run) as f64).sqrt() * student(count - 1) / NORMAL;
    let draws = (0..RESAMPLES)
        .map(|_| {
            let mut sum = 0.0;
            let mut taken = 0;
            while taken < count {
                let start = random.below(count);
                for step in 0..run.min(count - taken) {
                    sum += values[(start + step) % count];
                    taken += 1;
                }
            }
            mean + (sum / count as f64 - mean) * widen
        })
        .collect();
    let interval = Interval::of(draws).unwrap_or(Interval {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    });
    (mean, interval)
}

/// How many neighbouring blocks are resampled together: the cube root of their number, as is usual.
fn run_len(count: usize) -> usize {
    ((count as f64).cbrt().round() as usize).clamp(1, count - 1)
}

/// The 97.5th percentile of the normal distribution.
const NORMAL: f64 = 1.96;

/// The 97.5th percentile of Student's distribution with that many degrees of freedom.
fn student(freedom: usize) -> f64 {
    const FEW: [f64; 10] = [
        12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    match FEW.get(freedom.saturating_sub(1)) {
        Some(value) => *value,
        // Close enough for more: 2.20 at 11, 2.09 at 19.
        None => NORMAL + 2.6 / freedom as f64,
    }
}

/// The answer from everything that was measured, with its reasons.
///
/// Exact counts come first: a build that loses or refuses a loan is worse however fast it is. Then the counts of the
/// hot path, which have no chance in them. Then the rounds, whose ranges are as wide as the control asks.
pub fn conclude(
    head: &Judgement,
    control: &Judgement,
    hot_path: &HotPath,
    rounds: &[Round],
) -> (Answer, Vec<String>) {
    let mut failures: Vec<String> = rounds
        .iter()
        .filter(|round| round.arm == Arm::Head)
        .flat_map(|round| round.faults.iter().cloned())
        .collect();
    failures.extend(hot_path.failures());
    if !failures.is_empty() {
        return (Answer::Fail, failures);
    }
    let base_faults: Vec<String> = rounds
        .iter()
        .filter(|round| round.arm != Arm::Head)
        .flat_map(|round| round.faults.iter())
        .map(|fault| format!("The base itself is not exact: {fault}"))
        .collect();
    if !base_faults.is_empty() {
        return (Answer::Inconclusive, base_faults);
    }
    let failed: Vec<String> = head
        .rows
        .iter()
        .filter(|row| row.answer == Answer::Fail)
        .map(|row| {
            format!(
                "{} grew by {} ({}), surely more than {}.",
                row.name,
                percent(row.growth),
                range(row),
                percent(row.fails_above)
            )
        })
        .collect();
    if !failed.is_empty() {
        return (Answer::Fail, failed);
    }
    let unclear: Vec<String> = head
        .rows
        .iter()
        .filter(|row| row.answer == Answer::Inconclusive)
        .map(|row| {
            if !row.is_measured() {
                return format!("{} was not measured in every block.", row.name);
            }
            let same = control.rows.iter().find(|same| same.name == row.name);
            let control = same.map_or_else(String::new, |same| {
                format!(" (the same build again: {})", percent(same.growth))
            });
            format!(
                "{}: {} may be as much as {}{control}.",
                row.name,
                range(row),
                percent(row.passes_below)
            )
        })
        .collect();
    if !unclear.is_empty() {
        return (Answer::Inconclusive, unclear);
    }
    let Some(sharpest) = head.rows.first() else {
        return (
            Answer::Inconclusive,
            vec!["Nothing was measured.".to_owned()],
        );
    };
    let mut why = vec![format!(
        "Nothing grew as much as must not be missed. {} changed by {} ({}).",
        sharpest.name,
        percent(sharpest.growth),
        range(sharpest)
    )];
    why.extend(hot_path.note.clone());
    (Answer::Pass, why)
}

/// The medians of a block for the terminal.
pub fn block_text(rounds: &[Round]) -> String {
    let arms = [Arm::Base, Arm::Head, Arm::Control].map(|arm| {
        let cpu: Vec<f64> = rounds
            .iter()
            .filter(|round| round.arm == arm)
            .map(|round| round.admit_cpu_ratio)
            .collect();
        median(&cpu).map_or_else(String::new, |cpu| format!("{cpu:.3}"))
    });
    format!(
        "service CPU for an admitted loan, by the client's: base {}, head {}, control {}",
        arms[0], arms[1], arms[2]
    )
}

#[cfg(test)]
mod tests {
    use record::result::gate::{BLOCK_LEN, order};

    use super::*;

    fn round(arm: Arm, cpu_us: f64) -> Round {
        Round {
            arm,
            at: String::new(),
            admit_cpu_us: cpu_us,
            admit_cpu_ratio: cpu_us / 10.0,
            admit_slices_us: Vec::new(),
            client_slices_us: Vec::new(),
            admit_redis_us: 10.0,
            admit_wall_us: 50.0,
            admit_p50_us: 900.0,
            admit_p99_us: 3_000.0,
            record_cpu_us: 60.0,
            record_wall_us: 100.0,
            faults: Vec::new(),
        }
    }

    /// `count` blocks in which the head costs `growth` more, each figure off by up to `noise`, and the machine grows
    /// slower by a tenth from the first round to the last.
    fn rounds(count: usize, growth: f64, noise: f64, seed: u64) -> Vec<Round> {
        let mut random = Random::new(seed);
        let total = count * BLOCK_LEN;
        (0..total)
            .map(|index| {
                let arm = order(index / BLOCK_LEN)[index % BLOCK_LEN];
                let slower = 1.0 + 0.1 * index as f64 / total as f64;
                let off = 1.0 + noise * (random.below(2001) as f64 / 1000.0 - 1.0);
                let more = if arm == Arm::Head { 1.0 + growth } else { 1.0 };
                round(arm, 20.0 * slower * off * more)
            })
            .collect()
    }

    fn answer(rounds: &[Round]) -> (Answer, Vec<String>) {
        let blocks: Vec<Block> = rounds.chunks(BLOCK_LEN).map(Block::of).collect();
        conclude(
            &judge(&blocks, Arm::Head),
            &judge(&blocks, Arm::Control),
            &HotPath::default(),
            rounds,
        )
    }

    #[test]
    fn three_answers() {
        let same = answer(&rounds(5, 0.0, 0.005, 1));
        assert_eq!(same.0, Answer::Pass, "{:?}", same.1);
        let slower = answer(&rounds(5, 0.10, 0.005, 2));
        assert_eq!(slower.0, Answer::Fail, "{:?}", slower.1);
        assert!(slower.1[0].contains("Service CPU for an admitted loan, by the client's grew"));
        let noisy = answer(&rounds(5, 0.0, 0.3, 3));
        assert_eq!(noisy.0, Answer::Inconclusive, "{:?}", noisy.1);
        let close = answer(&rounds(5, 0.08, 0.06, 4));
        assert_eq!(close.0, Answer::Inconclusive, "{:?}", close.1);
    }

    #[test]
    fn a_wrong_count_fails_however_fast_it_is() {
        let mut faulty = rounds(5, -0.5, 0.005, 1);
        faulty[1].faults.push("11999 loans admitted".to_owned());
        assert_eq!(answer(&faulty).0, Answer::Fail);
        faulty[1].faults.clear();
        faulty[0].faults.push("11999 loans admitted".to_owned());
        assert_eq!(answer(&faulty).0, Answer::Inconclusive);
    }

    #[test]
    fn a_control_that_moves_makes_nothing_certain() {
        let mut moved = rounds(5, 0.10, 0.005, 2);
        for round in &mut moved {
            if round.arm == Arm::Control {
                round.admit_cpu_ratio *= 1.08;
            }
        }
        assert_eq!(answer(&moved).0, Answer::Inconclusive);
    }

    #[test]
    fn every_arm_is_early_and_late_and_in_the_middle() {
        for arm in [Arm::Base, Arm::Head, Arm::Control] {
            for place in 0..3 {
                let times = (0..6).filter(|block| order(*block)[place] == arm).count();
                assert_eq!(times, 2, "{arm:?} at {place}");
            }
        }
    }

    #[test]
    fn what_hangs_together_is_resampled_together() {
        // Nine values in three steps: as certain as three values, and not as nine.
        let steps = [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        let mixed = [-1.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0, 0.0, 1.0];
        let width = |values: &[f64]| {
            let (_, interval) = spread(values, &mut Random::new(1));
            interval.high - interval.low
        };
        assert!(
            width(&steps) > 1.3 * width(&mixed),
            "{} {}",
            width(&steps),
            width(&mixed)
        );
    }

    /// The range of a mean covers the truth about as often as it says, for as many values as a gate has.
    #[test]
    fn a_mean_is_covered_about_as_often_as_promised() {
        let mut random = Random::new(3);
        let mut covered = 0;
        for _ in 0..300 {
            // Sums of uniform numbers: close to normal, with mean zero.
            let values: Vec<f64> = (0..20)
                .map(|_| (0..6).map(|_| random.below(2001) as f64 - 1000.0).sum())
                .collect();
            let (_, interval) = spread(&values, &mut random);
            covered += usize::from(interval.holds(0.0));
        }
        assert!((260..=297).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn the_control_widens_the_range() {
        let measured = rounds(10, 0.06, 0.002, 7);
        assert_eq!(answer(&measured).0, Answer::Fail);
        let mut restless = measured;
        for round in &mut restless {
            if round.arm == Arm::Control {
                round.admit_cpu_ratio *= 1.04;
            }
        }
        assert_eq!(answer(&restless).0, Answer::Inconclusive);
    }

    #[test]
    fn without_a_figure_nothing_passes() {
        let mut unmeasured = rounds(10, 0.0, 0.002, 7);
        assert_eq!(answer(&unmeasured).0, Answer::Pass);
        unmeasured[17].admit_p99_us = 0.0;
        assert_eq!(
            answer(&unmeasured),
            (
                Answer::Inconclusive,
                vec!["Time to an answer, p99 was not measured in every block.".to_owned()]
            )
        );
        let nothing = Judgement::default();
        let (answer, why) = conclude(&nothing, &nothing, &HotPath::default(), &[]);
        assert_eq!(answer, Answer::Inconclusive, "{why:?}");
    }

    #[test]
    fn one_block_says_nothing() {
        assert_eq!(answer(&rounds(1, 0.5, 0.0, 1)).0, Answer::Inconclusive);
    }

    #[test]
    fn students_distribution_nears_the_normal_one() {
        for (freedom, value) in [(4, 2.776), (11, 2.201), (19, 2.093), (40, 2.021)] {
            assert!((student(freedom) - value).abs() < 0.01, "{freedom}");
        }
    }
}

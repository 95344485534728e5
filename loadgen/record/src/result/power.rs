//! What the gate can do, by experiment: plain data.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::result::gate::Round;

/// Rounds of a kind that it takes for shares that can be published.
pub const ROUNDS_WANTED: usize = 100;

/// What was found of the rounds that are kept with the project: `gate-power --json` writes it.
const KEPT: &str = include_str!("../../../../benches/gate-data/power.json");

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

//! The performance gate: is a change slower than its base?
//!
//! Both are built and measured in turn on one machine: base, head, and the base a second time as a control, then in
//! the other order. Two builds that run minutes apart on a shared machine differ by more than most changes; neighbours
//! in time do not. [`round`] measures one build once, [`judge`] draws the answer from the paired ratios, [`power`] says
//! how often that answer is wrong, by experiment, and [`files`] writes the report.

pub mod build;
pub mod client;
pub mod files;
pub mod hotpath;
pub mod judge;
pub mod power;
pub mod round;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::provenance;
use crate::report::Provenance;
use crate::run::{self, RunError};

use build::{Build, BuildError};
use hotpath::HotPath;
use judge::{Answer, Block, Judgement};
use round::{Round, RoundError, Rounds};

/// Blocks that are measured before the first judgement. Each has two rounds of every arm.
pub const BLOCKS_MIN: usize = 10;
/// Blocks that are added while it is not clear.
pub const BLOCKS_MORE: usize = 5;
/// The most blocks; what is not clear then stays inconclusive.
pub const BLOCKS_MAX: usize = 40;

/// Why a gate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A round could not be measured.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// The report could not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Recorded rounds could not be read.
    #[error("cannot read recorded rounds from {}: {what}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The build to compare with.
    Base,
    /// The build that is judged.
    Head,
    /// The base again, as if it were another build.
    Control,
}

/// The order of the rounds in a block: each arm is as early as it is late.
pub const ORDER: [Arm; 6] = [
    Arm::Base,
    Arm::Head,
    Arm::Control,
    Arm::Control,
    Arm::Head,
    Arm::Base,
];

/// How a gate is set.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// The commit, branch or tag to compare with.
    pub base: String,
    /// The one that is judged.
    pub head: String,
    /// Blocks before the first judgement.
    pub blocks_min: usize,
    /// The most blocks.
    pub blocks_max: usize,
    /// Where reports go.
    pub reports: PathBuf,
}

/// The result of a gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The answer.
    pub answer: Answer,
    /// The reasons, the most important first.
    pub why: Vec<String>,
    /// The base: what was asked for, and its commit.
    pub base: (String, String),
    /// The head.
    pub head: (String, String),
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// When it ended.
    pub finished_at: String,
    /// Head against base.
    pub judgement: Judgement,
    /// Control against base: what the machine makes of no change at all.
    pub control: Judgement,
    /// Instructions and allocations of the hot path, where they could be counted.
    pub hot_path: HotPath,
    /// Every round, in order.
    pub rounds: Vec<Round>,
    /// What was measured, on what.
    pub provenance: Provenance,
}

/// Builds both, measures, judges, and writes the report. Returns the result and its folder.
///
/// # Errors
/// When something could not be built or measured.
pub async fn gate(
    options: &GateOptions,
    mut say: impl FnMut(&str),
) -> Result<(Gate, PathBuf), GateError> {
    let started = OffsetDateTime::now_utc();
    say("building both");
    let base = Build::of(&options.base, &[])?;
    let head = Build::of(&options.head, &[])?;
    let mut provenance = provenance::gather();
    (provenance.service_commit, provenance.service_dirty) = (head.commit.clone(), false);

    say("counting instructions and allocations of the hot path");
    let hot_path = hotpath::compare(&base, &head);
    say(&hot_path.text());

    let rounds = Rounds::start().await?;
    let mut measured = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut judgement, mut control);
    loop {
        let wanted = if blocks.is_empty() {
            options.blocks_min
        } else {
            (blocks.len() + BLOCKS_MORE).min(options.blocks_max)
        };
        while blocks.len() < wanted {
            let mut block = Vec::with_capacity(ORDER.len());
            for arm in ORDER {
                let binary = if arm == Arm::Head { &head } else { &base };
                let round = rounds.measure(arm, &binary.service, &[]).await?;
                block.push(round);
            }
            say(&format!(
                "block {}: {}",
                blocks.len() + 1,
                judge::block_text(&block)
            ));
            blocks.push(Block::of(&block));
            measured.extend(block);
        }
        judgement = judge::judge(&blocks, Arm::Head);
        control = judge::judge(&blocks, Arm::Control);
        let (answer, _) = judge::conclude(&judgement, &control, &hot_path, &measured);
        if answer != Answer::Inconclusive || blocks.len() >= options.blocks_max {
            break;
        }
        say("not clear yet: more rounds");
    }
    (provenance.redis, provenance.mongodb, provenance.appendfsync) = rounds.facts().await;
    rounds.stop().await?;
    let (answer, why) = judge::conclude(&judgement, &control, &hot_path, &measured);
    let gate = Gate {
        answer,
        why,
        base: (options.base.clone(), base.commit),
        head: (options.head.clone(), head.commit),
        started_at: run::rfc3339(started),
        finished_at: run::rfc3339(OffsetDateTime::now_utc()),
        judgement,
        control,
        hot_path,
        rounds: measured,
        provenance,
    };
    let folder = run::make_folder(&options.reports, "gate", started)?;
    files::write(&gate, &folder)?;
    crate::report::write_index(&options.reports).map_err(RunError::from)?;
    Ok((gate, folder))
}

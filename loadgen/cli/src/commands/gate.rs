//! The performance gate: is a change slower than its base?
//!
//! Both are built and measured in turn on one machine: base, head, and the base a second time as a control, then in
//! the other order. Two builds that run minutes apart on a shared machine differ by more than most changes; neighbours
//! in time do not.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use drive::stop;
use judge::gate::{BLOCKS_MORE, Block, block_text, conclude, judge};
use observe::provenance;
use observe::rounds::build::{Build, BuildError};
use observe::rounds::hotpath;
use observe::rounds::round::{RoundError, Rounds};
use record::folder::rfc3339;
use record::number;
use record::result::gate::{Answer, Arm, BLOCK_LEN, Gate, Judgement, order};
use record::result::hotpath::{Baseline, HotPath};
use record::result::power::Recorded;
use record::rounds::RoundsError;
use report::Folder;
use time::OffsetDateTime;

use crate::COMMIT;
use crate::commands::begin;
use crate::commands::run::RunError;

/// The feature of the service that slows admission down, and the variable that says by how much.
const FEATURE: &str = "slowdown";
const VARIABLE: &str = "SLUICE_SLOWDOWN_NS";

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
    /// Recorded rounds could not be read or written.
    #[error(transparent)]
    Data(#[from] RoundsError),
    /// The hot path was not counted, or not all of it.
    #[error("there is no baseline of the hot path: {0}")]
    Uncounted(String),
}

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

/// Builds both, measures and judges. Returns the result and the folder for its report. A stop ends it at once, with what was
/// measured until then.
///
/// # Errors
/// When something could not be built or measured, or the folder cannot be written.
pub async fn gate(
    options: &GateOptions,
    mut say: impl FnMut(&str),
) -> Result<(Gate, Folder), GateError> {
    let started = OffsetDateTime::now_utc();
    let folder = begin(&options.reports, "gate", started).map_err(RunError::from)?;
    let mut gate = Gate {
        answer: Answer::Inconclusive,
        why: Vec::new(),
        base: (options.base.clone(), String::new()),
        head: (options.head.clone(), String::new()),
        started_at: rfc3339(started),
        finished_at: String::new(),
        judgement: Judgement::default(),
        control: Judgement::default(),
        hot_path: HotPath::default(),
        rounds: Vec::new(),
        provenance: provenance::gather(COMMIT),
    };
    match stop::unless_asked(measure(options, &mut gate, &mut say)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(error),
        None => {
            gate.answer = Answer::Aborted;
            gate.why = vec![format!(
                "The gate was stopped by {} when {} of six rounds had been measured.",
                stop::asked().unwrap_or("a signal"),
                number::counted((gate.rounds.len() / BLOCK_LEN) as u64, "block")
            )];
        }
    }
    gate.finished_at = rfc3339(OffsetDateTime::now_utc());
    Ok((gate, folder))
}

/// Fills in `gate` as it goes.
async fn measure(
    options: &GateOptions,
    gate: &mut Gate,
    say: &mut impl FnMut(&str),
) -> Result<(), GateError> {
    say("building both");
    let base = Build::of(&options.base, &[]).await?;
    let head = Build::of(&options.head, &[]).await?;
    gate.base.1.clone_from(&base.commit);
    gate.head.1.clone_from(&head.commit);
    let provenance = &mut gate.provenance;
    (provenance.service_commit, provenance.service_dirty) = (head.commit.clone(), false);

    say("counting instructions and allocations of the hot path");
    gate.hot_path = hotpath::compare(&base, &head);
    say(&gate.hot_path.text());

    let rounds = Rounds::start().await?;
    let mut blocks: Vec<Block> = Vec::new();
    loop {
        let wanted = if blocks.is_empty() {
            options.blocks_min
        } else {
            (blocks.len() + BLOCKS_MORE).min(options.blocks_max)
        };
        while blocks.len() < wanted {
            let mut block = Vec::with_capacity(BLOCK_LEN);
            for arm in order(blocks.len()) {
                let binary = if arm == Arm::Head { &head } else { &base };
                let round = rounds.measure(arm, &binary.service, &[]).await?;
                block.push(round);
            }
            say(&format!(
                "block {}: {}",
                blocks.len() + 1,
                block_text(&block)
            ));
            blocks.push(Block::of(&block));
            gate.rounds.extend(block);
            gate.judgement = judge(&blocks, Arm::Head);
            gate.control = judge(&blocks, Arm::Control);
        }
        (gate.answer, gate.why) =
            conclude(&gate.judgement, &gate.control, &gate.hot_path, &gate.rounds);
        if gate.answer != Answer::Inconclusive || blocks.len() >= options.blocks_max {
            break;
        }
        say("not clear yet: more rounds");
    }
    let provenance = &mut gate.provenance;
    (provenance.redis, provenance.mongodb, provenance.appendfsync) = rounds.facts().await;
    rounds.stop().await?;
    Ok(())
}

/// What the hot path of the build of `reference` costs, as the baseline of commits to come.
///
/// # Errors
/// When it does not build, or not every step could be counted.
pub async fn hot_path(reference: &str) -> Result<Baseline, GateError> {
    let build = Build::of(reference, &[]).await?;
    hotpath::baseline(&build).map_err(GateError::Uncounted)
}

/// Appends a whole line or nothing of it.
fn append(file: &mut std::fs::File, line: &str) -> std::io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(line.as_bytes()).inspect_err(|_| {
        let _ = file.set_len(before);
    })
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
    let build = Build::of(reference, &[FEATURE]).await?;
    let cannot = |source: std::io::Error| RoundsError {
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
            let line = serde_json::to_string(&Recorded { slowdown_ns, round })
                .expect("plain data serialises");
            append(&mut file, &(line + "\n")).map_err(cannot)?;
        }
    }
    rounds.stop().await?;
    Ok(())
}

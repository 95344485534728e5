//! The page of the performance gate: the answer, the metrics beside their control, the hot path, the rounds. No script.

mod files;

use std::fmt::Write as _;

use crate::html::page;
use crate::html::parts::{self, Cell, no_data, section, table};
use crate::markup::Markup;
use crate::words::instant;
use record::number::{count, counted, plain};
use record::result::gate::{Answer, Gate, Row, percent, range};
use record::result::power::{Answers, Power};

pub use files::{junit, markdown, write};

/// The page; `headline` is its first sentence.
pub fn html(gate: &Gate, headline: &str) -> String {
    page(headline, |markup| {
        banner(markup, gate, headline);
        markup.element("main", &[], |markup| {
            metrics(markup, gate);
            hot_path(markup, gate);
            how_sure(markup);
            rounds(markup, gate);
        });
    })
}

fn banner(markup: &mut Markup, gate: &Gate, headline: &str) {
    let (class, sign) = match gate.answer {
        Answer::Pass => ("banner pass", "✓"),
        Answer::Fail => ("banner fail", "✗"),
        Answer::Inconclusive => ("banner discarded", "?"),
        Answer::Aborted => ("banner aborted", "■"),
    };
    markup.element("header", &[("class", &class)], |markup| {
        let eyebrow = format!("{} against {}", named(&gate.head), named(&gate.base));
        markup.leaf("p", &[("class", &"eyebrow")], &eyebrow);
        parts::headline(markup, sign, headline);
        parts::why(markup, &gate.why);
        let provenance = &gate.provenance;
        let mut facts = format!(
            "{} to {} · {}, {} cores, {}",
            instant(&gate.started_at),
            instant(&gate.finished_at),
            provenance.cpu,
            provenance.cores,
            provenance.kernel,
        );
        // One that was stopped while it built has not asked the stores.
        if !provenance.redis.is_empty() {
            let _ = write!(
                facts,
                " · Redis {} (appendfsync {}), MongoDB {}",
                provenance.redis, provenance.appendfsync, provenance.mongodb
            );
        }
        markup.leaf("p", &[("class", &"facts")], &facts);
    });
}

/// A build by the name that was asked for, and by its commit where that is known already.
fn named((asked, commit): &(String, String)) -> String {
    if commit.is_empty() {
        asked.clone()
    } else {
        format!("{asked} ({})", commit.get(..12).unwrap_or(commit))
    }
}

fn metrics(markup: &mut Markup, gate: &Gate) {
    let lead = format!(
        "{} of six rounds: base, head and the base again as a control, in an order that changes from block to block, then in the other \
         order. The ranges hold 95 % of what resampling runs of blocks gives, and are wider by what the control differs: that is \
         what the machine makes of no change at all.",
        counted(gate.judgement.blocks as u64, "block")
    );
    section(markup, "metrics", "Head against base", &lead, |markup| {
        if gate.judgement.rows.is_empty() {
            no_data(markup, "No data: no block was measured.");
            return;
        }
        let columns = [
            "Metric",
            "Answer",
            "Growth",
            "Range",
            "Fails surely above",
            "Passes surely below",
            "The same build again",
        ];
        let rows = gate.judgement.rows.iter().map(|judged| {
            let control = gate.control.rows.iter().find(|row| row.name == judged.name);
            vec![
                (&judged.name).into(),
                answer(judged),
                percent(judged.growth).into(),
                range(judged).into(),
                percent(judged.fails_above).into(),
                percent(judged.passes_below).into(),
                control.map(range).unwrap_or_default().into(),
            ]
        });
        table(markup, "Metrics", &columns, 2, rows);
    });
}

fn answer(row: &Row) -> Cell {
    match row.answer {
        Answer::Pass => Cell::of("✓ pass", "good"),
        Answer::Fail => Cell::of("✗ fail", "bad"),
        Answer::Inconclusive | Answer::Aborted => Cell::of("? open", "hold"),
    }
}

fn hot_path(markup: &mut Markup, gate: &Gate) {
    let lead = gate.hot_path.note.as_deref().unwrap_or(
        "Counted by gungraun under valgrind, for one loan: hardly any chance is in these figures.",
    );
    section(markup, "hot-path", "Hot path", lead, |markup| {
        if gate.hot_path.rows.is_empty() {
            no_data(markup, "No data: the hot path was not counted.");
            return;
        }
        let columns = [
            "Step",
            "Instructions, base",
            "Head",
            "Committed baseline",
            "Allocations, base",
            "Head",
            "Committed baseline",
        ];
        let rows = gate.hot_path.rows.iter().map(|row| {
            let instructions = |value: f64| Cell::from(count(value.round() as u64));
            let allocations = |value: f64| Cell::from(format!("{value:.2}"));
            let none = || Cell::from("none");
            vec![
                (&row.step).into(),
                instructions(row.base.instructions),
                instructions(row.head.instructions),
                row.baseline
                    .map_or_else(none, |cost| instructions(cost.instructions)),
                allocations(row.base.allocations),
                allocations(row.head.allocations),
                row.baseline
                    .map_or_else(none, |cost| allocations(cost.allocations)),
            ]
        });
        table(markup, "Hot path", &columns, 1, rows);
    });
}

/// What such gates have answered when the right answer was known.
fn how_sure(markup: &mut Markup) {
    let power = Power::kept();
    let lead = format!(
        "{} rounds of one build and {} of the same build with admission slowed down ({} service CPU for an admitted \
         loan) were recorded in turn. Gates were drawn from them.",
        count(power.plain_rounds as u64),
        count(power.slow_rounds as u64),
        percent(power.slowdown)
    );
    section(markup, "sure", "How sure the answer is", &lead, |markup| {
        let row = |name: &str, answers: Answers| {
            let share = |gates: u32| {
                let share = f64::from(gates) / f64::from(answers.all().max(1));
                Cell::from(format!("{:.2} %", share * 100.0))
            };
            vec![
                Cell::from(name),
                count(answers.all().into()).into(),
                share(answers.fail),
                share(answers.pass),
                share(answers.inconclusive),
            ]
        };
        let rows = [
            row(
                "A build against itself: a fail is a false alarm",
                power.same,
            ),
            row("The slowed build: a fail is right", power.slower),
        ];
        let columns = ["Gates of", "Drawn", "Fail", "Pass", "Inconclusive"];
        table(markup, "How sure the answer is", &columns, 1, rows);
    });
}

fn rounds(markup: &mut Markup, gate: &Gate) {
    let lead = "In the order in which they were made. Microseconds for a loan.";
    section(markup, "rounds", "Rounds", lead, |markup| {
        if gate.rounds.is_empty() {
            no_data(markup, "No data: no round was measured.");
            return;
        }
        let columns = [
            "Arm",
            "Service CPU, admitted",
            "Service CPU, recorded",
            "Redis CPU, admitted",
            "Time, admitted",
            "Time, recorded",
        ];
        let rows = gate.rounds.iter().map(|round| {
            vec![
                format!("{:?}", round.arm).to_lowercase().into(),
                plain(round.admit_cpu_us).into(),
                plain(round.record_cpu_us).into(),
                plain(round.admit_redis_us).into(),
                plain(round.admit_wall_us).into(),
                plain(round.record_wall_us).into(),
            ]
        });
        table(markup, "Rounds", &columns, 1, rows);
    });
}

//! What became of every scheduled arrival, step by step, so that each step adds up to the one before it.
//!
//! Pure. The figure and the table of the page are both drawn from this.

use record::result::run::{Load, Report};

/// The whole way, from the schedule to the stored records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    /// The steps, in order.
    pub(crate) steps: Vec<Step>,
    /// How many go from which part of a step to which part of the next one.
    pub(crate) links: Vec<Link>,
    /// Each part that is split, beside what it is split into.
    pub(crate) sums: Vec<Sum>,
}

/// One step and the parts that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// What happens in it, in a word.
    pub(crate) title: &'static str,
    /// Its parts.
    pub(crate) parts: Vec<Part>,
}

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: &'static str,
    /// How many.
    pub(crate) count: u64,
    /// The class of its colour.
    pub(crate) class: &'static str,
}

/// What goes from one part to one of the next step. Parts are named by step and place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where it comes from.
    pub(crate) from: (usize, usize),
    /// Where it goes to.
    pub(crate) to: (usize, usize),
    /// How many.
    pub(crate) count: u64,
}

/// A whole and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    /// What is split, and how many.
    pub(crate) whole: (&'static str, u64),
    /// By what, where a whole is split in several ways.
    pub(crate) by: &'static str,
    /// What it is split into.
    pub(crate) parts: Vec<(String, u64)>,
}

impl Sum {
    fn new(
        whole: (&'static str, u64),
        by: &'static str,
        parts: impl IntoIterator<Item = Part>,
    ) -> Self {
        Self {
            whole,
            by,
            parts: parts
                .into_iter()
                .map(|part| (part.name.to_owned(), part.count))
                .collect(),
        }
    }

    /// How many the parts have more or fewer than the whole.
    pub(crate) fn difference(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|(_, count)| count).sum();
        parts.abs_diff(self.whole.1)
    }
}

const fn part(name: &'static str, count: u64, class: &'static str) -> Part {
    Part { name, count, class }
}

impl Flow {
    /// The flow of a run. Without a whole audit it ends with the answers.
    pub(crate) fn of(report: &Report) -> Self {
        let load = &report.load;
        // Nobody's fault where the load ended before its time.
        let never_sent = if report.reached_seconds.is_some() {
            "planned"
        } else {
            "bad"
        };
        let sent = [
            part("sent", load.sent, "sent"),
            part("never sent", load.unsent, never_sent),
        ];
        let mut flow = Self {
            steps: Vec::new(),
            links: Vec::new(),
            sums: Vec::new(),
        };
        flow.step("Schedule", [part("scheduled", load.scheduled, "planned")]);
        flow.step("Sending", sent);
        flow.link((0, 0), (1, 0), load.sent);
        flow.link((0, 0), (1, 1), load.unsent);
        flow.sums
            .push(Sum::new(("scheduled", load.scheduled), "", sent));
        let answers = answers(load);
        flow.sums.push(Sum::new(
            ("arrivals sent", load.sent),
            "by last answer",
            answers,
        ));
        flow.rows(report);
        if report.audit.complete {
            flow.loans(report);
        } else {
            flow.step("Answer", answers);
            for (index, answer) in answers.iter().enumerate() {
                flow.link((1, 0), (2, index), answer.count);
            }
        }
        flow
    }

    /// What was sent, by phase and by kind: the rows of the page's tables.
    fn rows(&mut self, report: &Report) {
        let whole = ("arrivals sent", report.load.sent);
        let phases = report
            .phases
            .iter()
            .map(|phase| (phase.name.clone(), phase.sent));
        let kinds = report
            .by_kind
            .iter()
            .map(|kind| (kind.kind.clone(), kind.sent));
        for (by, parts) in [
            ("by phase", phases.collect::<Vec<_>>()),
            ("by kind", kinds.collect()),
        ] {
            if !parts.is_empty() {
                self.sums.push(Sum { whole, by, parts });
            }
        }
    }

    /// The steps that count distinct loans.
    fn loans(&mut self, report: &Report) {
        let audit = &report.audit;
        let sent = report.load.sent;
        let ids = [
            part("distinct loans", audit.ids, "sent"),
            part("repeats", sent.saturating_sub(audit.ids), "service"),
        ];
        self.step("Loans", ids);
        self.link((1, 0), (2, 0), ids[0].count);
        self.link((1, 0), (2, 1), ids[1].count);
        self.sums
            .push(Sum::new(("arrivals sent", sent), "by loan", ids));

        let promises = [
            part("promised (202)", audit.acknowledged, "sent"),
            part("only refused (4xx)", audit.rejected, "queue"),
            part("no definite answer", audit.unknown, "planned"),
        ];
        self.step("Answer", promises);
        for (index, promise) in promises.iter().enumerate() {
            self.link((2, 0), (3, index), promise.count);
        }
        self.sums.push(Sum::new(
            ("distinct loans", audit.ids),
            "by answer",
            promises,
        ));

        // Promised loans are stored, lost or stuck. Whatever is left was promised and should not have been.
        let stored = audit.recorded + audit.failed;
        let stored_of_promised = audit
            .acknowledged
            .min(stored.saturating_sub(audit.unknown_stored));
        let mut open = audit.acknowledged - stored_of_promised;
        let mut take = |count: u64| {
            let taken = count.min(open);
            open -= taken;
            taken
        };
        let (lost, stuck) = (take(audit.lost), take(audit.stuck));
        // Stored though refused: a fault, which the audit names.
        let stored_of_refused = stored
            .saturating_sub(audit.unknown_stored + stored_of_promised)
            .min(audit.rejected);
        let not_stored_of_refused = audit.rejected - stored_of_refused;
        let not_stored_of_unknown = audit.unknown.saturating_sub(audit.unknown_stored);
        let found = [
            part("in MongoDB", stored, "recorded"),
            part(
                "rightly not stored",
                not_stored_of_refused + not_stored_of_unknown,
                "queue",
            ),
            part("lost", lost, "bad"),
            part("stuck in Redis", stuck, "bad"),
            part("wrongly promised", open, "bad"),
        ];
        self.step("Audit", found);
        for (from, to, count) in [
            (0, 0, stored_of_promised),
            (0, 2, lost),
            (0, 3, stuck),
            (0, 4, open),
            (1, 0, stored_of_refused),
            (1, 1, not_stored_of_refused),
            (2, 0, audit.unknown_stored),
            (2, 1, not_stored_of_unknown),
        ] {
            self.link((3, from), (4, to), count);
        }
        self.sums.push(Sum::new(
            ("distinct loans", audit.ids),
            "by what was found",
            found,
        ));

        let records = [
            part("as loans", audit.recorded, "recorded"),
            part("as failures", audit.failed, "queue"),
        ];
        self.step("Record", records);
        self.link((4, 0), (5, 0), audit.recorded);
        self.link((4, 0), (5, 1), audit.failed);
        self.sums
            .push(Sum::new(("in MongoDB", stored), "", records));
    }

    fn step(&mut self, title: &'static str, parts: impl IntoIterator<Item = Part>) {
        self.steps.push(Step {
            title,
            parts: parts.into_iter().collect(),
        });
    }

    fn link(&mut self, from: (usize, usize), to: (usize, usize), count: u64) {
        if count > 0 {
            self.links.push(Link { from, to, count });
        }
    }

    /// The part at `at`.
    pub(crate) fn part(&self, (step, place): (usize, usize)) -> Part {
        self.steps[step].parts[place]
    }
}

/// What does not add up in a report, in words. Empty for every whole run: anything else is a fault of the load generator.
pub fn unbalanced(report: &Report) -> Vec<String> {
    Flow::of(report)
        .sums
        .iter()
        .filter(|sum| sum.difference() > 0)
        .map(|sum| format!("{} {} is not {:?}", sum.whole.1, sum.whole.0, sum.parts))
        .collect()
}

/// The last answers to the arrivals that were sent.
fn answers(load: &Load) -> [Part; 4] {
    let answers = &load.answers;
    [
        part("a new loan (202)", answers.queued, "sent"),
        part("known already (202)", answers.replayed, "service"),
        part("refused (4xx)", answers.rejected, "queue"),
        part("no definite answer", answers.unknown, "planned"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::result::run::{Answers, Audit};

    /// What goes into a part and what goes out of it must be what it holds.
    fn assert_adds_up(flow: &Flow) {
        for (step, parts) in flow.steps.iter().map(|step| &step.parts).enumerate() {
            for (place, part) in parts.iter().enumerate() {
                let sum = |side: fn(&Link) -> (usize, usize)| -> u64 {
                    flow.links
                        .iter()
                        .filter(|link| side(link) == (step, place))
                        .map(|link| link.count)
                        .sum()
                };
                if step > 0 {
                    assert_eq!(sum(|link| link.to), part.count, "into {part:?}");
                }
                let out = sum(|link| link.from);
                assert!(out == 0 || out == part.count, "{out} out of {part:?}");
            }
        }
        for sum in &flow.sums {
            assert_eq!(sum.difference(), 0, "{sum:?}");
        }
    }

    fn report(audit: Audit) -> Report {
        let sent = audit.ids + 7;
        Report {
            load: Load {
                scheduled: sent + 2,
                sent,
                unsent: 2,
                answers: Answers {
                    queued: sent - 5,
                    replayed: 2,
                    rejected: 1,
                    unknown: 2,
                },
                ..Load::default()
            },
            audit,
            ..Report::default()
        }
    }

    #[test]
    fn every_step_adds_up_whatever_the_audit_found() {
        let clean = Audit {
            complete: true,
            ids: 100,
            acknowledged: 90,
            rejected: 6,
            unknown: 4,
            recorded: 80,
            failed: 11,
            unknown_stored: 1,
            ..Audit::default()
        };
        let lost_and_stuck = Audit {
            recorded: 70,
            lost: 7,
            stuck: 3,
            ..clean.clone()
        };
        let wrongly_promised = Audit {
            recorded: 77,
            mismatched: 3,
            ..clean.clone()
        };
        let stored_though_refused = Audit {
            recorded: 82,
            unexpected: 2,
            ..clean.clone()
        };
        let stuck_beside_its_record = Audit {
            stuck: 4,
            ..clean.clone()
        };
        for audit in [
            clean,
            lost_and_stuck,
            wrongly_promised,
            stored_though_refused,
            stuck_beside_its_record,
            Audit::default(),
        ] {
            assert_adds_up(&Flow::of(&report(audit)));
        }
    }

    #[test]
    fn a_sum_that_does_not_hold_is_seen() {
        let mut wrong = report(Audit::default());
        wrong.load.unsent = 5;
        assert_eq!(Flow::of(&wrong).sums[0].difference(), 3);
    }
}

//! Whether every arrival got the answer that it must get. Pure: it looks at the answers alone, so it is judged in every mode,
//! whether or not somebody looks at the stores.
//!
//! What must come depends on what else was sent under the same id. A loan has two possible contents, the original and the one
//! that conflicts send: whichever arrives first is the loan, and the other must be answered 422. Of those that send the same
//! content the first to arrive is new, and all others are replays.

use std::collections::BTreeMap;

use plan::kind::Kind;
use plan::payload::Payloads;
use record::ledger::Heard;
use record::number::{count, counted};

use crate::audit::Repeats;

/// Which arrivals were answered otherwise than they must be, a sentence for each kind.
pub fn wrong_answers(payloads: &Payloads, heard: &[Heard]) -> Vec<String> {
    let mut wrong = Wrong::default();
    let mut repeats = Repeats::of(payloads, heard.len() as u32);
    for (number, answered) in (0u32..).zip(heard) {
        let kind = payloads.kind_and_owner(number).0;
        if kind == Kind::Malformed {
            if answered.is_acknowledged() || (answered.is_refused() && !answered.is_malformed()) {
                wrong.add(kind, *answered);
            }
            continue;
        }
        if !kind.owns_its_id() {
            continue;
        }
        let mut original = Content(vec![(kind, *answered)]);
        let mut changed = Content::default();
        for (repeat, kind) in repeats.of_owner(number) {
            let content = match kind {
                Kind::Conflict => &mut changed,
                _ => &mut original,
            };
            content.0.push((kind, heard[repeat as usize]));
        }
        original.look(&changed, true, &mut wrong);
        changed.look(&original, !original.is_acknowledged(), &mut wrong);
    }
    wrong.sentences()
}

/// What was heard of one content of a loan, by each arrival that sends it, in order.
#[derive(Default)]
struct Content(Vec<(Kind, Heard)>);

impl Content {
    fn is_acknowledged(&self) -> bool {
        self.0.iter().any(|(_, heard)| heard.is_acknowledged())
    }

    /// Whether it may have arrived though nobody heard so: a request without a definite answer, or one that a lost generator sent.
    fn may_have_arrived(&self) -> bool {
        self.0
            .iter()
            .any(|(_, heard)| !heard.is_sent() || heard.has_unknown())
    }

    /// Adds what is wrong to `wrong`. `other` is the other content of the loan; this one may be taken only if `is_free`.
    fn look(&self, other: &Self, is_free: bool, wrong: &mut Wrong) {
        let may_conflict = other.is_acknowledged() || other.may_have_arrived();
        let mut is_new = is_free && !self.may_have_arrived();
        let mut is_taken = false;
        for (kind, heard) in &self.0 {
            let is_right = if heard.is_replayed() {
                is_free
            } else if heard.is_acknowledged() {
                is_new = false;
                is_free && !std::mem::replace(&mut is_taken, true)
            } else if heard.is_conflict() {
                may_conflict
            } else {
                !heard.is_refused()
            };
            if !is_right {
                wrong.add(*kind, *heard);
            }
        }
        // Nobody was the first: the one that brought the id must have been.
        if is_new && let Some((kind, heard)) = self.0.iter().find(|(_, heard)| heard.is_replayed())
        {
            wrong.add(*kind, *heard);
        }
    }
}

/// Wrong answers by kind, and how many of each.
#[derive(Default)]
struct Wrong(BTreeMap<Kind, BTreeMap<&'static str, u64>>);

impl Wrong {
    fn add(&mut self, kind: Kind, heard: Heard) {
        let came = self.0.entry(kind).or_default();
        *came.entry(heard.words()).or_default() += 1;
    }

    fn sentences(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(kind, came)| {
                let told: Vec<String> = came
                    .iter()
                    .map(|(what, times)| format!("{} × {what}", count(*times)))
                    .collect();
                format!(
                    "{} of kind {kind} must be answered {}, and came otherwise: {}.",
                    counted(came.values().sum(), "arrival"),
                    kind.answer(),
                    told.join(", ")
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use plan::mix::Mix;
    use record::sample::{Answer, Unknown};

    use super::*;

    const QUEUED: Heard = Heard::new(Answer::Queued, false);
    const REPLAYED: Heard = Heard::new(Answer::Replayed, false);
    const RESENT: Heard = Heard::new(Answer::Replayed, true);
    const CONFLICT: Heard = Heard::new(Answer::Refused(422), false);
    const MALFORMED: Heard = Heard::new(Answer::Refused(400), false);
    const TOO_LONG: Heard = Heard::new(Answer::Refused(413), false);
    const TIMEOUT: Heard = Heard::new(Answer::Unknown(Unknown::Timeout), false);

    /// What is wrong of a loan, its repeats and its conflicts.
    fn wrong(original: &[Heard], changed: &[Heard]) -> Vec<String> {
        let of = |heard: &[Heard], first, next| {
            let kinds = std::iter::once(first).chain(std::iter::repeat(next));
            Content(kinds.zip(heard.iter().copied()).collect())
        };
        let original = of(original, Kind::Valid, Kind::Duplicate);
        let changed = of(changed, Kind::Conflict, Kind::Conflict);
        let mut wrong = Wrong::default();
        original.look(&changed, true, &mut wrong);
        changed.look(&original, !original.is_acknowledged(), &mut wrong);
        wrong.sentences()
    }

    #[test]
    fn what_may_come_is_not_wrong() {
        for (original, changed) in [
            (&[QUEUED][..], &[][..]),
            (&[QUEUED, REPLAYED, REPLAYED], &[]),
            // A repeat may overtake what it repeats, and a conflict too.
            (&[REPLAYED, QUEUED], &[CONFLICT]),
            (&[CONFLICT, CONFLICT], &[QUEUED, REPLAYED]),
            (&[CONFLICT], &[TIMEOUT]),
            (&[TIMEOUT, REPLAYED], &[CONFLICT]),
            (&[RESENT], &[]),
            (&[Heard::UNSENT, REPLAYED], &[CONFLICT]),
            (&[Heard::UNSENT], &[QUEUED]),
            (&[TIMEOUT, QUEUED], &[]),
        ] {
            assert_eq!(
                wrong(original, changed),
                [""; 0],
                "{original:?} {changed:?}"
            );
        }
    }

    #[test]
    fn a_wrong_answer_is_told_with_its_kind_and_what_came() {
        let valid = "1 arrival of kind valid must be answered 202, and came otherwise: 1 × ";
        let duplicate =
            "1 arrival of kind duplicate must be answered 202 replayed, and came otherwise: 1 × ";
        let conflict = "1 arrival of kind conflict must be answered 422 loan_id_conflict, and came otherwise: 1 × ";
        for (original, changed, told) in [
            (&[MALFORMED][..], &[][..], [valid, "answered 400."]),
            (&[TOO_LONG], &[], [valid, "refused."]),
            (&[CONFLICT], &[], [valid, "answered 422."]),
            (&[REPLAYED], &[], [valid, "answered 202 replayed."]),
            (
                &[REPLAYED, REPLAYED],
                &[],
                [valid, "answered 202 replayed."],
            ),
            (&[QUEUED, QUEUED], &[], [duplicate, "answered 202."]),
            (&[QUEUED, MALFORMED], &[], [duplicate, "answered 400."]),
            (
                &[QUEUED, CONFLICT],
                &[CONFLICT],
                [duplicate, "answered 422."],
            ),
            (&[QUEUED], &[QUEUED], [conflict, "answered 202."]),
            (&[QUEUED], &[REPLAYED], [conflict, "answered 202 replayed."]),
            (&[QUEUED], &[MALFORMED], [conflict, "answered 400."]),
        ] {
            assert_eq!(wrong(original, changed), [told.concat()]);
        }
    }

    #[test]
    fn every_arrival_of_a_run_is_looked_at() {
        let mix = Mix {
            malformed: 0.2,
            duplicate: 0.2,
            conflict: 0.2,
            ..Mix::default()
        };
        let payloads = Payloads::new(1, "t", &mix);
        let heard = |of: fn(Kind) -> Heard| -> Vec<Heard> {
            (0..1_000)
                .map(|number| of(payloads.kind_and_owner(number).0))
                .collect()
        };
        let good = heard(|kind| match kind {
            Kind::Malformed => MALFORMED,
            Kind::Duplicate => REPLAYED,
            Kind::Conflict => CONFLICT,
            _ => QUEUED,
        });
        assert_eq!(wrong_answers(&payloads, &good), [""; 0]);
        let of = |kind: Kind| {
            let kinds = (0..1_000).map(|number| payloads.kind_and_owner(number).0);
            kinds.filter(|other| *other == kind).count()
        };
        assert_eq!(
            wrong_answers(&payloads, &heard(|_| QUEUED)),
            [
                (Kind::Malformed, "400"),
                (Kind::Duplicate, "202 replayed"),
                (Kind::Conflict, "422 loan_id_conflict"),
            ]
            .map(|(kind, must)| format!(
                "{of} arrivals of kind {kind} must be answered {must}, and came otherwise: {of} × answered 202.",
                of = of(kind)
            ))
        );
    }
}

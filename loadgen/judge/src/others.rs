//! Whether others sent to the service beside the run. Pure.
//!
//! The live counters hold what everybody sent, and the audit only the run's own loans. So they must be equal only where nobody else
//! can have sent. That is told by the requests for loans that the service counts, new or not, and by the records in its stores.

use record::number::counted;
use record::result::run::CounterRow;
use snapshot::{Counters, Snapshot};

/// What is known of those who may have sent beside the run.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The service runs for this run alone.
    pub is_private: bool,
    /// Its snapshots before the load and after the drain.
    pub snapshots: Option<(&'a Snapshot, &'a Snapshot)>,
    /// Requests of this run, whether or not they reached it.
    pub requests: u64,
    /// Of these, the ones that it surely has answered.
    pub requests_answered: u64,
    /// Records in its stores that are not this run's.
    pub records: u64,
    /// Loans of this run that somebody finished by hand: the audit knows them.
    pub discarded: u64,
    /// Instances that the run sent to.
    pub instances: usize,
    /// A crowd came with the load, whose nonsense the service counts too.
    pub has_crowd: bool,
    /// What this run itself sent is not known whole.
    pub is_in_part: bool,
}

/// Who else sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    Nobody,
    /// Somebody; what there is of theirs, in words.
    Somebody(String),
    /// Nobody knows; why not, in words.
    Unknown(&'static str),
}

impl Others {
    /// What `beside` says of them.
    pub fn of(beside: &Beside<'_>) -> Self {
        if beside.is_private {
            return Self::Nobody;
        }
        let mut theirs = Vec::new();
        let received = received(beside);
        if let Ok(received) = received
            && let more @ 1.. = received.saturating_sub(beside.requests)
        {
            let requests = counted(more, "request");
            theirs.push(format!("{requests} for loans that this run did not send"));
        }
        if beside.records > 0 {
            let records = counted(beside.records, "record");
            theirs.push(format!(
                "{records} in its stores of loans that this run did not send"
            ));
        }
        let more = |of: fn(&Counters) -> u64, own: u64| {
            let (before, after) = beside.snapshots?;
            let more = of(&after.counters).saturating_sub(of(&before.counters) + own);
            (more > 0).then_some(more)
        };
        if let Some(retried) = more(|counters| counters.retried, 0) {
            theirs.push(format!(
                "{} retried by hand",
                counted(retried, "failed loan")
            ));
        }
        if let Some(discarded) = more(|counters| counters.discarded, beside.discarded) {
            theirs.push(format!(
                "{} discarded by hand",
                counted(discarded, "failed loan")
            ));
        }
        match received {
            _ if !theirs.is_empty() => Self::Somebody(theirs.join(", ")),
            Ok(_) => Self::Nobody,
            Err(why) => Self::Unknown(why),
        }
    }

    /// The live counters beside the audit: where others sent too, or may have, theirs are in them, so they say at least what the
    /// audit does.
    pub fn within(&self, rows: &[CounterRow]) -> Vec<CounterRow> {
        rows.iter()
            .map(|row| match row.live {
                Some(live) if *self != Self::Nobody && live >= row.audit => CounterRow {
                    audit_max: row.audit_max.max(live),
                    agree: true,
                    ..row.clone()
                },
                _ => row.clone(),
            })
            .collect()
    }

    /// A sentence, if somebody else sent. `rows` are the live counters beside the audit alone.
    pub fn in_words(&self, rows: &[CounterRow]) -> Option<String> {
        match self {
            Self::Nobody => None,
            Self::Somebody(theirs) => Some(format!(
                "Others used this service beside the run: {theirs}. Its live counters hold that too, so they are only compared as at least."
            )),
            Self::Unknown(why) => {
                let is_more = |row: &CounterRow| row.live.is_some_and(|live| live > row.audit_max);
                rows.iter().any(is_more).then(|| {
                    format!(
                        "Whether others used this service beside the run cannot be told: {why}. So its live counters are only compared as at least."
                    )
                })
            }
        }
    }
}

/// The requests for loans that the service counts, or why they are not all.
fn received(beside: &Beside<'_>) -> Result<u64, &'static str> {
    let (before, after) = beside.snapshots.ok_or("it did not tell its counters")?;
    if !are_of_one_process(before, after) {
        return Err("it was started anew, or another instance answers now");
    }
    // The requests are each instance's own count; all others are everybody's.
    if beside.instances > 1 || before.gauges.instances.max(after.gauges.instances) > 1 {
        return Err("it has several instances, each with a door of its own");
    }
    if beside.has_crowd {
        return Err("the crowd sent to it as well");
    }
    if beside.is_in_part {
        return Err("what a generator sent is not known");
    }
    let received = after
        .counters
        .received
        .saturating_sub(before.counters.received);
    if received < beside.requests_answered {
        return Err("it counts fewer requests than it has answered");
    }
    Ok(received)
}

/// Whether one process answered before and after the run: figures that began at zero with another one have no difference.
pub(crate) fn are_of_one_process(before: &Snapshot, after: &Snapshot) -> bool {
    before.instance == after.instance && before.uptime_seconds <= after.uptime_seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(received: u64, retried: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.counters.received = received;
        snapshot.counters.retried = retried;
        snapshot
    }

    /// Of 100 requests of the run all were answered but two.
    fn beside<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Beside<'a> {
        Beside {
            is_private: false,
            snapshots: Some((before, after)),
            requests: 100,
            requests_answered: 98,
            records: 0,
            discarded: 0,
            instances: 1,
            has_crowd: false,
            is_in_part: false,
        }
    }

    fn rows(live: u64) -> Vec<CounterRow> {
        vec![CounterRow {
            name: "replayed".to_owned(),
            live: Some(live),
            audit: 10,
            audit_max: 12,
            agree: (10..=12).contains(&live),
        }]
    }

    fn agrees(others: &Others, live: u64) -> bool {
        others.within(&rows(live)).iter().all(|row| row.agree)
    }

    #[test]
    fn counters_that_lie_are_found_where_nobody_else_sent() {
        let before = snapshot(1_000, 0);
        for received in [98, 100] {
            let after = snapshot(1_000 + received, 0);
            let others = Others::of(&beside(&before, &after));
            assert_eq!(others, Others::Nobody);
            assert!(agrees(&others, 10) && agrees(&others, 12));
            assert!(!agrees(&others, 18) && !agrees(&others, 9));
            assert_eq!(others.in_words(&rows(18)), None);
        }
        // One that runs for this run alone has no others.
        let after = snapshot(2_000, 3);
        let private = Beside {
            is_private: true,
            ..beside(&before, &after)
        };
        assert_eq!(Others::of(&private), Others::Nobody);
    }

    #[test]
    fn all_forms_of_others_are_named_and_excuse_only_what_is_more() {
        let before = snapshot(1_000, 0);
        let (alone, more, retried) = (snapshot(1_100, 0), snapshot(1_108, 0), snapshot(1_100, 2));
        let mut finished = snapshot(1_100, 0);
        finished.counters.discarded = 4;
        for (beside, told) in [
            (
                beside(&before, &more),
                "8 requests for loans that this run did not send. Its",
            ),
            (
                Beside {
                    records: 3,
                    ..beside(&before, &alone)
                },
                "3 records in its stores of loans",
            ),
            (
                Beside {
                    records: 1,
                    ..beside(&before, &more)
                },
                "8 requests for loans that this run did not send, 1 record in its",
            ),
            (beside(&before, &retried), "2 failed loans retried by hand"),
            (
                Beside {
                    discarded: 1,
                    ..beside(&before, &finished)
                },
                "3 failed loans discarded by hand",
            ),
        ] {
            let others = Others::of(&beside);
            let words = others.in_words(&rows(18)).unwrap_or_default();
            assert!(words.contains(told), "{words}");
            assert!(agrees(&others, 18), "{told}");
            // Nobody else takes away what the run's own loans have added.
            assert!(!agrees(&others, 9), "{told}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_no_failure_and_is_said_where_it_matters() {
        let before = snapshot(1_000, 0);
        let after = snapshot(1_100, 0);
        let anew = Snapshot {
            instance: "another".to_owned(),
            ..snapshot(5, 0)
        };
        let mut two = snapshot(1_100, 0);
        two.gauges.instances = 2;
        let few = snapshot(1_050, 0);
        for beside in [
            beside(&before, &anew),
            beside(&before, &two),
            beside(&before, &few),
            Beside {
                snapshots: None,
                ..beside(&before, &after)
            },
            Beside {
                instances: 2,
                ..beside(&before, &after)
            },
            Beside {
                has_crowd: true,
                ..beside(&before, &after)
            },
            Beside {
                is_in_part: true,
                ..beside(&before, &after)
            },
        ] {
            let others = Others::of(&beside);
            assert!(matches!(others, Others::Unknown(_)), "{others:?}");
            assert!(agrees(&others, 18) && !agrees(&others, 9));
            assert!(others.in_words(&rows(18)).is_some());
            assert_eq!(others.in_words(&rows(12)), None);
        }
    }
}

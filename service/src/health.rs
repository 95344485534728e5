//! What is amiss, and since when: for `/readyz`, and for the log, which says it when it begins and when it ends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{Degraded, rfc3339_ms};
use crate::config::Role;
use crate::snapshot::Snapshot;
use crate::task;

/// What can be amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Redis does not answer, or no shard of it.
    Redis,
    /// A shard of Redis does not answer.
    Shard,
    /// Redis answers, and may lose what it confirms.
    Durability,
    /// MongoDB does not answer.
    Mongodb,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Redis, Self::Shard, Self::Durability, Self::Mongodb];

    fn is_in(self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Redis => !snapshot.redis.up,
            Self::Shard => snapshot.redis.up && snapshot.redis.trouble.is_some(),
            Self::Durability => snapshot.redis.up && !snapshot.redis.durable,
            Self::Mongodb => !snapshot.mongodb.up,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Shard => "shard",
            Self::Durability => "durability",
            Self::Mongodb => "mongodb",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Redis => "Redis does not answer: no loan is taken",
            Self::Shard => "part of Redis does not answer: the loans of its partitions are refused",
            Self::Durability => "Redis may lose loans that were answered 202",
            Self::Mongodb => "MongoDB does not answer: loans are taken and wait in Redis",
        }
    }

    /// Whether a process cannot do with it what others send to it, or, where nobody sends it anything, its work.
    fn stops(self, roles: &[Role]) -> bool {
        let has = |role| roles.contains(&role);
        match self {
            Self::Redis => true,
            Self::Shard | Self::Durability => false,
            Self::Mongodb => has(Role::Persister) && !has(Role::Api) && !has(Role::Dashboard),
        }
    }
}

/// The faults that there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Mutex<Option<Vec<Standing>>>>);

#[derive(Clone, Debug)]
struct Standing {
    fault: Fault,
    since: Instant,
    since_ms: u64,
}

impl Health {
    /// Follows the snapshots as long as they come.
    pub(crate) fn follow(mut snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        let health = Self::default();
        let told = health.clone();
        task::spawn("health", async move {
            while snapshots.changed().await.is_ok() {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                told.note(&snapshot);
            }
        });
        health
    }

    fn note(&self, snapshot: &Snapshot) {
        let now = Instant::now();
        let mut faults = self.lock();
        let standing = faults.get_or_insert_default();
        for fault in Fault::ALL {
            let at = standing.iter().position(|other| other.fault == fault);
            match (at, fault.is_in(snapshot)) {
                (None, true) => {
                    tracing::warn!(fault = fault.name(), "{}", fault.words());
                    standing.push(Standing {
                        fault,
                        since: now,
                        since_ms: snapshot.at_ms,
                    });
                }
                (Some(at), false) => {
                    let seconds = (now - standing.remove(at).since).as_secs_f64();
                    let seconds = (seconds * 10.0).round() / 10.0;
                    tracing::info!(fault = fault.name(), seconds, "that is over");
                }
                _ => {}
            }
        }
    }

    /// What is amiss, each thing since when. `None` before the first look.
    pub(crate) fn degraded(&self) -> Option<Vec<Degraded>> {
        let faults = self.lock();
        let standing = faults.as_ref()?.iter();
        Some(
            standing
                .map(|standing| Degraded {
                    what: standing.fault.name().to_owned(),
                    since: rfc3339_ms(standing.since_ms),
                    detail: standing.fault.words().to_owned(),
                })
                .collect(),
        )
    }

    /// Whether a process with these roles can do what others send to it.
    pub(crate) fn is_ready(&self, roles: &[Role]) -> bool {
        let faults = self.lock();
        let standing = faults.as_ref();
        standing.is_some_and(|faults| !faults.iter().any(|other| other.fault.stops(roles)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Standing>>> {
        // Each critical section leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(redis: bool, durable: bool, mongodb: bool) -> Snapshot {
        let mut snapshot = Snapshot {
            at_ms: 1_000,
            ..Snapshot::default()
        };
        snapshot.redis.up = redis;
        snapshot.redis.durable = durable;
        snapshot.mongodb.up = mongodb;
        snapshot
    }

    #[test]
    fn readiness_is_by_role() {
        let health = Health::default();
        let api = [Role::Api];
        assert!(!health.is_ready(&api), "nobody has looked yet");
        let persister = [Role::Worker, Role::Persister];
        let all = [Role::Api, Role::Worker, Role::Persister, Role::Dashboard];
        for (state, expected) in [
            ((true, true, true), [true, true, true]),
            ((true, false, true), [true, true, true]),
            ((true, true, false), [true, false, true]),
            ((false, false, true), [false, false, false]),
            ((true, true, true), [true, true, true]),
        ] {
            health.note(&snapshot(state.0, state.1, state.2));
            let ready = [&api[..], &persister, &all].map(|roles| health.is_ready(roles));
            assert_eq!(ready, expected, "{state:?}");
        }
    }

    #[test]
    fn what_is_amiss_stands_with_its_beginning() {
        let health = Health::default();
        assert_eq!(health.degraded(), None);
        health.note(&snapshot(true, true, false));
        let mut later = snapshot(true, false, false);
        later.at_ms = 5_000;
        health.note(&later);
        let degraded = health.degraded().unwrap();
        let told: Vec<_> = degraded
            .iter()
            .map(|degraded| (&*degraded.what, &*degraded.since))
            .collect();
        assert_eq!(
            told,
            [
                ("mongodb", "1970-01-01T00:00:01.000Z"),
                ("durability", "1970-01-01T00:00:05.000Z")
            ]
        );
        health.note(&snapshot(true, true, true));
        assert_eq!(health.degraded(), Some(Vec::new()));
    }
}

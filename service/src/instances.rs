//! What an instance tells the others of itself with each beat, and the list that is made of it. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::{InstanceView, WorkerView, rfc3339_ms};
use crate::queue::control::Alive;

/// Workers that an instance tells of.
const WORKERS_TOLD_MAX: usize = 64;

/// What an instance says of itself. Another version may say less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Facts {
    pub(crate) instance: String,
    pub(crate) version: String,
    pub(crate) git_commit: String,
    pub(crate) roles: Vec<String>,
    pub(crate) host: String,
    pub(crate) up_ms: u64,
    pub(crate) connections: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) doing: Vec<WorkerView>,
}

impl Facts {
    /// As the others read it.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("plain data serialises")
    }

    /// With what its workers do.
    pub(crate) fn with(&self, doing: Vec<WorkerView>) -> Self {
        let mut facts = self.clone();
        facts.doing = doing;
        facts.doing.truncate(WORKERS_TOLD_MAX);
        facts
    }
}

/// The instances that are alive, by their ids, as of `now_ms`.
pub(crate) fn list(alive: &[Alive], now_ms: u64) -> Vec<InstanceView> {
    let mut list: Vec<_> = alive.iter().map(|alive| view(alive, now_ms)).collect();
    list.sort_by(|a, b| (&a.host, &a.instance).cmp(&(&b.host, &b.instance)));
    list
}

fn view(alive: &Alive, now_ms: u64) -> InstanceView {
    let facts: Facts = serde_json::from_str(&alive.facts).unwrap_or_default();
    let ago = |ago: Duration| rfc3339_ms(now_ms.saturating_sub(ago.as_millis() as u64));
    InstanceView {
        seen_at: ago(alive.silent),
        started_at: ago(alive.silent + Duration::from_millis(facts.up_ms)),
        instance: facts.instance,
        roles: facts.roles,
        version: facts.version,
        git_commit: facts.git_commit,
        host: facts.host,
        workers: alive.workers,
        workers_max: alive.workers_max,
        claimed: facts.doing.iter().map(|worker| worker.loans).sum(),
        connections: facts.connections,
        rss_bytes: facts.rss_bytes,
        doing: facts.doing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(facts: &str, silent_ms: u64) -> Alive {
        Alive {
            id: vec![1],
            silent: Duration::from_millis(silent_ms),
            workers: 2,
            workers_max: 5,
            facts: facts.to_owned(),
        }
    }

    #[test]
    fn facts_become_a_list() {
        let worker = |worker, loans| WorkerView {
            worker,
            state: "processing".to_owned(),
            loans,
            for_ms: 3,
            partition: Some(0),
        };
        let facts = Facts {
            instance: "b".to_owned(),
            up_ms: 10_000,
            ..Facts::default()
        };
        let facts = facts.with(vec![worker(1, 50), worker(2, 6)]);
        let list = list(
            &[
                alive(&facts.text(), 500),
                alive("{}", 0),
                alive("no JSON", 1),
            ],
            20_000,
        );
        assert_eq!(list.len(), 3);
        let mine = &list[2];
        assert_eq!((&*mine.instance, mine.claimed, mine.workers), ("b", 56, 2));
        assert_eq!(mine.seen_at, "1970-01-01T00:00:19.500Z");
        assert_eq!(mine.started_at, "1970-01-01T00:00:09.500Z");
    }

    #[test]
    fn what_is_told_is_bounded() {
        let many = vec![WorkerView::default(); 1_000];
        assert_eq!(Facts::default().with(many).doing.len(), WORKERS_TOLD_MAX);
    }
}

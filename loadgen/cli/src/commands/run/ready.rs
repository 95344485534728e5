//! The service and its stores before the load: what is there, and what would mislead.

use call::address_of;
use observe::follow;
use observe::markers;
use observe::proof::belong_together;
use observe::provenance;
use observe::stack::{Target, private_stack};
use observe::stores::{RedisFacts, StoreError, Stores};
use plan::scenario::{Scenario, StackShape};
use record::clock::steady_us;
use record::result::run::Provenance;
use snapshot::Snapshot;
use testbed::{Deployment, RedisLayout};
use url::Url;

use super::{Allowed, Options, RunError, Show, planned, unless_stopped};

/// A service with its stores, and what was known of them before the load.
pub(super) struct Ready {
    pub(super) target: Target,
    /// Its administrator's, where it is known.
    pub(super) token: Option<String>,
    /// The token that reading it takes, where it takes one.
    pub(super) reading: Option<String>,
    pub(super) stack: Option<Deployment>,
    /// Where they are to be looked at.
    pub(super) stores: Option<Stores>,
    pub(super) snapshot_before: Snapshot,
    /// When it came, by this machine's clock.
    pub(super) snapshot_before_ms: u64,
    /// What each instance was built from.
    pub(super) builds: Vec<Build>,
    pub(super) redis_memory_start_bytes: Option<u64>,
    /// Records in the stores, about.
    pub(super) records_before: Option<u64>,
    pub(super) provenance: Provenance,
}

/// What one instance of the service was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Build {
    /// Its address, as it may be told.
    url: String,
    /// The commit; empty where it does not say.
    commit: String,
}

impl Build {
    fn of(instance: &Target, snapshot: &Snapshot) -> Self {
        Self {
            url: instance.shown_url(),
            commit: provenance::commit_of(&snapshot.git_commit).0,
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    (steady_us() / 1000) as u64
}

pub(super) async fn connect(target: &Target) -> Result<Stores, StoreError> {
    Stores::connect(
        &target.redis_url,
        &target.mongodb_uri,
        &target.mongodb_database,
    )
    .await
}

/// Starts a private stack or takes the target, and refuses what would mislead.
pub(super) async fn make_ready(options: &Options, progress: &mut Show) -> Result<Ready, RunError> {
    let scenario = &options.scenario;
    let mut provenance = planned(options);
    let (target, stack, token) = if let Some(target) = &options.target {
        (target.clone(), None, markers::token_of_environment())
    } else {
        progress.doing("starting Redis, mongod and the service");
        let (target, stack, token) =
            private_stack(scenario, options.service_binary.clone()).await?;
        (target, Some(stack), token)
    };
    if options.no_stores {
        let mut first = None;
        for instance in target.each() {
            let found = match Url::parse(&instance.url) {
                Ok(host) => address_of(&host).await,
                Err(_) => None,
            };
            if found.is_none() {
                return Err(RunError::Nowhere(instance.shown_url()));
            }
            // Whether it is there will show; what it says of itself is told as far as it does.
            let snapshot = follow::snapshot(&instance.url, None).await;
            let snapshot = snapshot.unwrap_or_default();
            if snapshot.gauges.paused {
                return Err(RunError::Paused(instance.shown_url()));
            }
            first.get_or_insert(snapshot);
        }
        let snapshot_before = first.unwrap_or_default();
        provenance
            .service_version
            .clone_from(&snapshot_before.version);
        (provenance.service_commit, provenance.service_dirty) =
            provenance::commit_of(&snapshot_before.git_commit);
        progress.say(&format!(
            "scenario {}; to {}",
            scenario.name.get_ref(),
            target.shown_url()
        ));
        progress.end();
        return Ok(Ready {
            target,
            token: None,
            reading: None,
            stack,
            stores: None,
            snapshot_before,
            snapshot_before_ms: now_ms(),
            builds: Vec::new(),
            redis_memory_start_bytes: None,
            records_before: None,
            provenance,
        });
    }
    provenance
        .mongodb_database
        .clone_from(&target.mongodb_database);
    let stores = connect(&target).await?;
    let reading = follow::token_to_read(&target, token.as_deref()).await;
    let (mut first, mut builds) = (None, Vec::new());
    for instance in target.each() {
        let url = instance.shown_url();
        let snapshot = match follow::snapshot(&instance.url, reading.as_deref()).await {
            Ok(snapshot) => snapshot,
            Err(source) => return Err(RunError::Service { url, source }),
        };
        let came_ms = now_ms();
        if snapshot.gauges.paused {
            return Err(RunError::Paused(url));
        }
        if !instance.private {
            if let Some(what) = not_ready(&snapshot, scenario) {
                return Err(RunError::NotReady { url, what });
            }
            belong_together(&instance, reading.as_deref(), &snapshot, &stores).await?;
        }
        builds.push(Build::of(&instance, &snapshot));
        first.get_or_insert((snapshot, came_ms));
    }
    let (snapshot_before, snapshot_before_ms) = first.unwrap_or_default();
    let RedisFacts {
        version,
        appendfsync,
    } = stores.redis_facts().await?;
    provenance.redis = version;
    provenance.appendfsync = appendfsync;
    provenance.mongodb = stores.mongodb_version().await?;
    provenance
        .service_version
        .clone_from(&snapshot_before.version);
    (provenance.service_commit, provenance.service_dirty) =
        provenance::commit_of(&snapshot_before.git_commit);
    provenance.overrides = preconditions(&provenance, &builds, stores.backlog().await?)
        .into_iter()
        .map(|(what, advice, allowed)| {
            if options.allow.contains(&allowed) {
                Ok(format!("{what}."))
            } else {
                Err(RunError::Refused {
                    what,
                    advice,
                    allowed,
                })
            }
        })
        .collect::<Result<_, _>>()?;
    let redis_memory_start_bytes = stores.redis_memory_bytes().await?;
    let records_before = stores.records_estimated().await.ok();
    // A token that the user brought is the user's secret.
    let shown_token = token.as_deref().filter(|_| options.target.is_none());
    progress.say(&format!(
        "scenario {}; watch it at {}",
        scenario.name.get_ref(),
        markers::dashboard_link(&target.shown_url(), shown_token)
    ));
    // Goose tells on standard output that its users are there.
    progress.end();
    Ok(Ready {
        target,
        token,
        reading,
        stack,
        stores: Some(stores),
        snapshot_before,
        snapshot_before_ms,
        builds,
        redis_memory_start_bytes,
        records_before,
        provenance,
    })
}

/// Why the service cannot take this scenario's load now, if it cannot. Pure.
fn not_ready(snapshot: &Snapshot, scenario: &Scenario) -> Option<String> {
    // A stand-in does not say how its stores are.
    if snapshot.instance.is_empty() {
        return None;
    }
    if !snapshot.redis.up {
        let trouble = snapshot.redis.trouble.as_deref();
        return Some(trouble.map_or_else(
            || "Redis is out of its reach".to_owned(),
            |trouble| format!("Redis takes no loans: {trouble}"),
        ));
    }
    if !snapshot.mongodb.up {
        return Some("MongoDB is out of its reach".to_owned());
    }
    if let Some(what) = other_stack(snapshot, &scenario.stack) {
        return Some(what);
    }
    let workers_max = snapshot.gauges.workers_max;
    match scenario.target.workers_max {
        Some(wanted) if u64::from(wanted) != workers_max => Some(format!(
            "the scenario wants at most {wanted} workers, and it runs up to {workers_max}: start it with --workers-max {wanted}"
        )),
        _ => None,
    }
}

/// How the service stands on another stack than the scenario names, as far as it says that. One that names none takes any. Pure.
fn other_stack(snapshot: &Snapshot, wanted: &StackShape) -> Option<String> {
    let plain = StackShape::default();
    let masters = match wanted.redis.parse() {
        Ok(RedisLayout::Cluster { masters, .. }) => masters,
        _ => 1,
    };
    let partitions: usize = snapshot
        .redis
        .shards
        .iter()
        .map(|shard| shard.partitions.len())
        .sum();
    let differs = [
        (
            wanted.redis != plain.redis && masters != snapshot.redis.shards.len(),
            "masters of Redis",
            masters,
            snapshot.redis.shards.len(),
        ),
        (
            wanted.instances > snapshot.gauges.instances as usize,
            "instances",
            wanted.instances,
            snapshot.gauges.instances as usize,
        ),
        (
            wanted.partitions != plain.partitions && wanted.partitions as usize != partitions,
            "partitions",
            wanted.partitions as usize,
            partitions,
        ),
    ];
    let (_, what, wanted, found) = differs.into_iter().find(|(differs, ..)| *differs)?;
    Some(format!(
        "the [stack] of the scenario has {wanted} {what}, and it runs with {found}: take [stack] out to send to it all the same"
    ))
}

/// What would make the figures mislead: what it is, what to do, and what allows it. Of several instances of another commit the first
/// one is named. Pure.
fn preconditions(
    provenance: &Provenance,
    builds: &[Build],
    backlog: u64,
) -> Vec<(String, &'static str, Allowed)> {
    let mut faults = Vec::new();
    // A generator that does not know its own commit cannot compare.
    let ours = &provenance.git_commit;
    let other = builds.iter().find(|build| build.commit != *ours);
    if let Some(Build { url, commit }) = other
        && !ours.is_empty()
    {
        let theirs = if commit.is_empty() {
            format!("the service at {url} does not say which commit it was built from")
        } else {
            format!("the service at {url} was built from commit {commit}")
        };
        faults.push((
            format!("{theirs}, and the load generator from {ours}"),
            "build both from one checkout (make build)",
            Allowed::OtherCommit,
        ));
    }
    if backlog > 0 {
        faults.push((
            format!("the queue is not empty: {backlog} loans wait or are not recorded"),
            "let the service finish them first",
            Allowed::BusyQueue,
        ));
    }
    if provenance.appendfsync != "always" {
        faults.push((
            format!(
                "Redis may lose what it has confirmed: appendfsync is {}",
                provenance.appendfsync
            ),
            "set appendonly yes and appendfsync always",
            Allowed::WeakDurability,
        ));
    }
    faults
}

/// What is known of the service and its stores, with what they say of themselves when the load has ended: the first instance by its
/// snapshot, all others are asked. What does not answer is what it was.
pub(super) async fn asked_again(
    (before, builds): (&Provenance, &[Build]),
    stores: &Stores,
    (target, reading): (&Target, Option<&str>),
    snapshot_after: Option<&Snapshot>,
) -> (Provenance, Vec<Build>) {
    let (mut after, mut builds_after) = (before.clone(), builds.to_vec());
    if let Some(Ok(facts)) = unless_stopped(stores.redis_facts()).await {
        after.appendfsync = facts.appendfsync;
    }
    let mut of_each = builds_after.iter_mut();
    if let (Some(build), Some(snapshot)) = (of_each.next(), snapshot_after) {
        *build = Build::of(target, snapshot);
    }
    for (instance, build) in target.each_other().zip(of_each) {
        let asked = follow::snapshot(&instance.url, reading);
        if let Some(Ok(snapshot)) = unless_stopped(asked).await {
            *build = Build::of(&instance, &snapshot);
        }
    }
    (after, builds_after)
}

/// What the service and its stores have become since the load began that no run may begin with: a sentence each, and what allows it.
/// `weak_at_seconds` is when the service first said that Redis may lose what it has confirmed. Pure.
pub(super) fn weakened(
    before: (&Provenance, &[Build]),
    after: (&Provenance, &[Build]),
    weak_at_seconds: Option<f64>,
) -> Vec<(String, Allowed)> {
    let of_before = preconditions(before.0, before.1, 0);
    let is_new = |allowed: Allowed| of_before.iter().all(|(.., of)| *of != allowed);
    let mut found: Vec<(String, Allowed)> = preconditions(after.0, after.1, 0)
        .into_iter()
        .map(|(what, _, allowed)| (format!("Other than before the load, {what}."), allowed))
        .collect();
    // It may have been set back since.
    if let Some(at) = weak_at_seconds
        && found
            .iter()
            .all(|(_, allowed)| *allowed != Allowed::WeakDurability)
    {
        let what = format!(
            "While the load was sent Redis could lose what it had confirmed: the service said so at {at:.2} s."
        );
        found.push((what, Allowed::WeakDurability));
    }
    found.retain(|(_, allowed)| is_new(*allowed));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instances at `http://a`, `http://b` and so on, each of the commit of that place.
    fn builds(commits: &[&str]) -> Vec<Build> {
        ('a'..)
            .zip(commits)
            .map(|(host, commit)| Build {
                url: format!("http://{host}"),
                commit: (*commit).to_owned(),
            })
            .collect()
    }

    #[test]
    fn what_would_mislead_is_refused_by_name() {
        let good = Provenance {
            git_commit: "ab".to_owned(),
            appendfsync: "always".to_owned(),
            ..Provenance::default()
        };
        let refused = |provenance: &Provenance, commits: &[&str], backlog| {
            preconditions(provenance, &builds(commits), backlog)
                .into_iter()
                .map(|(.., allowed)| allowed)
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(&good, &["ab"], 0), []);
        assert_eq!(refused(&good, &["ab", "ab"], 0), []);
        assert_eq!(refused(&good, &["ab"], 3), [Allowed::BusyQueue]);
        for theirs in ["cd", ""] {
            assert_eq!(refused(&good, &[theirs], 0), [Allowed::OtherCommit]);
        }
        // Of several each must be of it, and one that is not is named.
        for (theirs, told) in [
            ("cd", "the service at http://b was built from commit cd"),
            ("", "the service at http://b does not say which commit"),
        ] {
            let (what, _, allowed) = preconditions(&good, &builds(&["ab", theirs]), 0).remove(0);
            assert!(what.contains(told), "{what}");
            assert_eq!(allowed, Allowed::OtherCommit);
        }
        for sync in ["everysec", "no", "off", ""] {
            let weak = Provenance {
                appendfsync: sync.to_owned(),
                ..good.clone()
            };
            assert_eq!(refused(&weak, &["ab"], 0), [Allowed::WeakDurability]);
        }
        // A generator of no known commit cannot tell.
        let unknown = Provenance {
            git_commit: String::new(),
            ..good
        };
        assert_eq!(refused(&unknown, &["ab", "cd"], 0), []);
    }

    #[test]
    fn what_is_no_longer_as_it_was_before_the_load_is_named() {
        let good = Provenance {
            git_commit: "ab".to_owned(),
            appendfsync: "always".to_owned(),
            ..Provenance::default()
        };
        let made_weak = Provenance {
            appendfsync: "always, no".to_owned(),
            ..good.clone()
        };
        let (same, other) = (builds(&["ab", "ab"]), builds(&["ab", "cd"]));
        let before = (&good, &same[..]);
        let weak = (&made_weak, &same[..]);
        assert_eq!(weakened(before, before, None), []);
        assert_eq!(
            weakened(before, weak, Some(3.0)),
            [(
                "Other than before the load, Redis may lose what it has confirmed: appendfsync is always, no.".to_owned(),
                Allowed::WeakDurability
            )]
        );
        // Set, and set back.
        let (told, allowed) = weakened(before, before, Some(3.0)).remove(0);
        assert!(told.contains("said so at 3.00 s"), "{told}");
        assert_eq!(allowed, Allowed::WeakDurability);
        // The second instance was replaced under the load.
        let (told, allowed) = weakened(before, (&good, &other[..]), None).remove(0);
        assert!(told.contains("http://b was built from commit cd"), "{told}");
        assert_eq!(allowed, Allowed::OtherCommit);
        // What was so before was allowed, or the run would not have begun.
        assert_eq!(weakened(weak, weak, Some(3.0)), []);
    }

    #[test]
    fn a_stack_that_the_scenario_does_not_name_is_refused() {
        let of = |masters: usize, partitions: u64, instances: u64| {
            let mut snapshot = Snapshot::default();
            snapshot.gauges.instances = instances;
            snapshot.redis.shards = (0..masters).map(|_| snapshot::Shard::default()).collect();
            if let Some(first) = snapshot.redis.shards.first_mut() {
                first.partitions = (0..partitions).collect();
            }
            snapshot
        };
        let wanted = StackShape {
            redis: "cluster:3+3".to_owned(),
            mongodb: "replica-set:3".to_owned(),
            instances: 2,
            partitions: 16,
        };
        assert_eq!(other_stack(&of(3, 16, 2), &wanted), None);
        for (snapshot, part) in [
            (of(1, 16, 2), "3 masters of Redis, and it runs with 1"),
            (of(3, 16, 1), "2 instances, and it runs with 1"),
            (of(3, 4, 2), "16 partitions, and it runs with 4"),
        ] {
            let told = other_stack(&snapshot, &wanted).unwrap_or_default();
            assert!(told.contains(part), "{told}");
        }
        // Whoever names none takes any.
        assert_eq!(other_stack(&of(3, 16, 2), &StackShape::default()), None);
        assert_eq!(other_stack(&of(1, 1, 1), &StackShape::default()), None);
    }
}

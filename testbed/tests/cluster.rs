//! A private Redis Cluster on the real servers: what each fault and each planned change does, on Redis and on Valkey.
//!
//! Nothing here measures time: each step waits for the state that it brings about.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::ops::RangeInclusive;
use std::time::Duration;

use redis::{RedisResult, cmd};
use testbed::{ClusterOptions, NodeRole, RedisCluster, Servers, Signal, TestbedError, slot};

const MASTERS: [usize; 3] = [0, 1, 2];

/// Makes each test one on Redis and one on Valkey.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_redis {
            $(#[tokio::test]
            async fn $name() { super::$name(testbed::Servers::discover().unwrap()).await; })*
        }
        mod on_valkey {
            $(#[tokio::test]
            async fn $name() { super::$name(testbed::Servers::discover_valkey().unwrap()).await; })*
        }
    };
}

on_both!(
    a_new_cluster_is_even_and_durable,
    a_killed_master_is_missed_alone_and_comes_back_with_all,
    a_paused_master_is_missed_alone_and_goes_on,
    a_parted_master_stops_and_heals,
    a_planned_failover_keeps_all,
    a_rolling_restart_keeps_all,
    a_slot_moves_with_its_keys,
    a_node_is_added_emptied_and_removed,
    a_killed_replica_is_not_missed,
    an_automatic_failover_loses_what_was_not_replicated,
);

async fn start(servers: &Servers) -> RedisCluster {
    RedisCluster::start(servers, ClusterOptions::default())
        .await
        .unwrap()
}

/// A key that a node serves, as it says itself.
async fn key_at(cluster: &RedisCluster, node: usize) -> String {
    let view = cluster.view(node).await.unwrap();
    let myself = view.myself().unwrap();
    (0..1_000_000)
        .map(|number| format!("loan-{number}"))
        .find(|key| myself.serves(slot(key.as_bytes())))
        .unwrap()
}

async fn set(cluster: &RedisCluster, node: usize, key: &str, value: &str) -> RedisResult<String> {
    let mut command = cmd("SET");
    command.arg(key).arg(value);
    cluster.node(node).unwrap().query(&command).await
}

async fn get(cluster: &RedisCluster, node: usize, key: &str) -> RedisResult<Option<String>> {
    let mut command = cmd("GET");
    command.arg(key);
    cluster.node(node).unwrap().query(&command).await
}

fn code<T: std::fmt::Debug>(answer: RedisResult<T>) -> String {
    let error = answer.unwrap_err();
    error.code().unwrap_or_default().to_owned()
}

async fn setting(cluster: &RedisCluster, node: usize, name: &str) -> String {
    let mut command = cmd("CONFIG");
    command.arg("GET").arg(name);
    let pair: Vec<String> = cluster.query(node, &command).await.unwrap();
    pair[1].clone()
}

async fn a_new_cluster_is_even_and_durable(servers: Servers) {
    let cluster = start(&servers).await;
    let view = cluster.view(5).await.unwrap();
    let mut shares: Vec<RangeInclusive<u16>> = view
        .nodes
        .iter()
        .flat_map(|node| node.slots.clone())
        .collect();
    shares.sort_by_key(|range| *range.start());
    assert_eq!(shares, [0..=5460, 5461..=10921, 10922..=16383]);
    for master in MASTERS {
        assert_eq!(cluster.role(master).await.unwrap(), NodeRole::Master);
        let replica = master + 3;
        let role = cluster.role(replica).await.unwrap();
        assert_eq!(role, NodeRole::Replica { of: master });
        assert_eq!(cluster.replicas_of(master).await.unwrap(), [replica]);
    }
    for node in cluster.numbers() {
        for (name, value) in [
            ("appendfsync", "always"),
            ("cluster-require-full-coverage", "no"),
            ("cluster-replica-no-failover", "yes"),
        ] {
            assert_eq!(setting(&cluster, node, name).await, value, "{name}");
        }
        let address = cluster.address(node).unwrap();
        assert_eq!(address.ip().to_string(), format!("127.0.0.{}", node + 2));
        // Its connections come from its address: a master sees its replica there.
        if let NodeRole::Replica { of } = cluster.role(node).await.unwrap() {
            let mut command = cmd("INFO");
            command.arg("replication");
            let info: String = cluster.query(of, &command).await.unwrap();
            assert!(info.contains(&format!("ip={},", address.ip())), "{info}");
        }
    }
    let folder = cluster.node(0).unwrap().folder().to_owned();
    assert!(folder.is_dir());
    cluster.stop().await.unwrap();
    assert!(!folder.exists());
}

async fn a_killed_master_is_missed_alone_and_comes_back_with_all(servers: Servers) {
    let mut cluster = start(&servers).await;
    let (lost, other) = (key_at(&cluster, 0).await, key_at(&cluster, 1).await);
    set(&cluster, 0, &lost, "queued").await.unwrap();
    cluster.node_mut(0).unwrap().kill();
    cluster.wait_failed(1, 0, true).await.unwrap();
    set(&cluster, 1, &other, "queued").await.unwrap();
    // The others still name it as the owner: a client learns of its end from the connection alone.
    assert_eq!(code(get(&cluster, 1, &lost).await), "MOVED");
    // Its replica is told not to take over.
    let role = cluster.role(3).await.unwrap();
    assert_eq!(role, NodeRole::Replica { of: 0 });
    cluster.node_mut(0).unwrap().restart().await.unwrap();
    cluster.wait_whole().await.unwrap();
    assert_eq!(cluster.role(0).await.unwrap(), NodeRole::Master);
    assert_eq!(get(&cluster, 0, &lost).await.unwrap().unwrap(), "queued");
}

async fn a_paused_master_is_missed_alone_and_goes_on(servers: Servers) {
    let cluster = start(&servers).await;
    let (lost, other) = (key_at(&cluster, 0).await, key_at(&cluster, 1).await);
    set(&cluster, 0, &lost, "queued").await.unwrap();
    cluster.node(0).unwrap().signal(Signal::SIGSTOP).unwrap();
    cluster.wait_failed(1, 0, true).await.unwrap();
    set(&cluster, 1, &other, "queued").await.unwrap();
    cluster.node(0).unwrap().signal(Signal::SIGCONT).unwrap();
    cluster.wait_whole().await.unwrap();
    assert_eq!(cluster.role(0).await.unwrap(), NodeRole::Master);
    assert_eq!(get(&cluster, 0, &lost).await.unwrap().unwrap(), "queued");
}

async fn partable(servers: &Servers, fails_over: bool) -> RedisCluster {
    let options = ClusterOptions {
        can_part: true,
        fails_over,
        ..ClusterOptions::default()
    };
    RedisCluster::start(servers, options).await.unwrap()
}

async fn a_parted_master_stops_and_heals(servers: Servers) {
    let cluster = partable(&servers, false).await;
    let key = key_at(&cluster, 0).await;
    set(&cluster, 0, &key, "queued").await.unwrap();
    cluster.part(&[0], &[1, 2, 4, 5]).unwrap();
    cluster.wait_failed(1, 0, true).await.unwrap();
    // It sees no majority, and refuses.
    cluster.wait_state(0, false).await.unwrap();
    assert_eq!(code(set(&cluster, 0, &key, "late").await), "CLUSTERDOWN");
    // The others go on, and its replica still hears it.
    cluster.wait_state(1, true).await.unwrap();
    cluster.wait_failed(3, 1, false).await.unwrap();
    assert!(cluster.held(0) > 0, "the partition took effect");
    cluster.heal();
    cluster.wait_whole().await.unwrap();
    set(&cluster, 0, &key, "processed").await.unwrap();
}

async fn a_planned_failover_keeps_all(servers: Servers) {
    let cluster = start(&servers).await;
    let key = key_at(&cluster, 0).await;
    set(&cluster, 0, &key, "queued").await.unwrap();
    cluster.fail_over(3).await.unwrap();
    cluster.wait_whole().await.unwrap();
    assert_eq!(get(&cluster, 3, &key).await.unwrap().unwrap(), "queued");
    assert_eq!(cluster.owner(slot(key.as_bytes())).await.unwrap(), 3);
    assert_eq!(code(set(&cluster, 0, &key, "late").await), "MOVED");
    let error = cluster.fail_over(3).await.unwrap_err();
    assert!(matches!(error, TestbedError::Layout(_)), "{error}");
}

async fn a_rolling_restart_keeps_all(servers: Servers) {
    let mut cluster = start(&servers).await;
    let mut keys = Vec::new();
    for master in MASTERS {
        let key = key_at(&cluster, master).await;
        set(&cluster, master, &key, "queued").await.unwrap();
        keys.push(key);
    }
    let pids = |cluster: &RedisCluster| {
        let pid = |number| cluster.node(number).unwrap().pid();
        cluster.numbers().into_iter().map(pid).collect::<Vec<_>>()
    };
    let before = pids(&cluster);
    cluster.restart_in_turn().await.unwrap();
    let after = pids(&cluster);
    assert!(before.iter().zip(&after).all(|(one, other)| one != other));
    for key in keys {
        let owner = cluster.owner(slot(key.as_bytes())).await.unwrap();
        assert_eq!(get(&cluster, owner, &key).await.unwrap().unwrap(), "queued");
    }
}

async fn a_slot_moves_with_its_keys(servers: Servers) {
    let cluster = start(&servers).await;
    let tag = key_at(&cluster, 0).await;
    let slot = slot(tag.as_bytes());
    let keys: Vec<String> = (0..25)
        .map(|number| format!("{{{tag}}}:{number}"))
        .collect();
    for key in &keys {
        set(&cluster, 0, key, "queued").await.unwrap();
    }
    let on_its_way = cluster.begin_move(slot, 1).await.unwrap();
    assert_eq!((on_its_way.from, on_its_way.to), (0, 1));
    assert_eq!(on_its_way.step(10).await.unwrap(), 10);
    // Some are here and some are there.
    let mut gone = 0;
    for key in &keys {
        match get(&cluster, 0, key).await {
            Ok(value) => assert_eq!(value.unwrap(), "queued"),
            answer => {
                assert_eq!(code(answer), "ASK");
                gone += 1;
            }
        }
    }
    assert_eq!(gone, 10);
    let mut both = cmd("MGET");
    both.arg(&keys);
    let answer: RedisResult<Vec<Option<String>>> = cluster.node(0).unwrap().query(&both).await;
    assert_eq!(code(answer), "TRYAGAIN");
    on_its_way.finish().await.unwrap();
    assert_eq!(cluster.owner(slot).await.unwrap(), 1);
    for key in &keys {
        assert_eq!(get(&cluster, 1, key).await.unwrap().unwrap(), "queued");
    }
    assert_eq!(code(get(&cluster, 0, &keys[0]).await), "MOVED");
    cluster.wait_whole().await.unwrap();
}

async fn a_node_is_added_emptied_and_removed(servers: Servers) {
    let mut cluster = start(&servers).await;
    let key = key_at(&cluster, 0).await;
    set(&cluster, 0, &key, "queued").await.unwrap();
    let added = cluster.add_master().await.unwrap();
    assert_eq!(added, 6);
    let replica = cluster.add_replica(added).await.unwrap();
    let slot = slot(key.as_bytes());
    let some = (0..64)
        .chain([slot])
        .collect::<std::collections::BTreeSet<u16>>();
    cluster
        .move_slots(some.iter().copied(), added)
        .await
        .unwrap();
    cluster.wait_whole().await.unwrap();
    assert_eq!(get(&cluster, added, &key).await.unwrap().unwrap(), "queued");
    let view = cluster.view(replica).await.unwrap();
    let moved: usize = view.owner(slot).unwrap().slot_count();
    assert_eq!(moved, some.len());
    let error = cluster.remove_node(added).await.unwrap_err();
    assert!(error.to_string().contains("serves"), "{error}");
    cluster.empty(added).await.unwrap();
    cluster.remove_node(replica).await.unwrap();
    let pid = cluster.node(added).unwrap().pid();
    cluster.remove_node(added).await.unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(cluster.numbers(), [0, 1, 2, 3, 4, 5]);
    let owner = cluster.owner(slot).await.unwrap();
    assert_eq!(get(&cluster, owner, &key).await.unwrap().unwrap(), "queued");
}

async fn a_killed_replica_is_not_missed(servers: Servers) {
    let mut cluster = start(&servers).await;
    cluster.node_mut(3).unwrap().kill();
    cluster.wait_failed(0, 3, true).await.unwrap();
    let key = key_at(&cluster, 0).await;
    set(&cluster, 0, &key, "queued").await.unwrap();
    assert!(cluster.replicas_of(0).await.unwrap().is_empty());
    cluster.node_mut(3).unwrap().restart().await.unwrap();
    cluster.wait_whole().await.unwrap();
    cluster.fail_over(3).await.unwrap();
    assert_eq!(get(&cluster, 3, &key).await.unwrap().unwrap(), "queued");
}

/// The loss that is named in the promise, made on purpose: whoever judges a cluster must be able to find it.
async fn an_automatic_failover_loses_what_was_not_replicated(servers: Servers) {
    let cluster = partable(&servers, true).await;
    let key = key_at(&cluster, 0).await;
    let before = format!("{{{key}}}:before");
    // WAIT counts for the writes of its own connection.
    let mut replicated = redis::pipe();
    replicated.cmd("SET").arg(&before).arg("queued").ignore();
    replicated.cmd("WAIT").arg(1).arg(0);
    let replicas = cluster.node(0).unwrap().query_all(&replicated).await;
    assert_eq!(replicas.unwrap(), [redis::Value::Int(1)]);
    // Only its replica is out of its reach: it still sees a majority, and confirms.
    cluster.part(&[0], &[3]).unwrap();
    set(&cluster, 0, &key, "queued").await.unwrap();
    cluster.part(&[0], &[1, 2, 4, 5]).unwrap();
    cluster.wait_role(3, NodeRole::Master).await.unwrap();
    assert_eq!(get(&cluster, 3, &key).await.unwrap(), None);
    cluster.heal();
    cluster
        .wait_role(0, NodeRole::Replica { of: 3 })
        .await
        .unwrap();
    cluster.wait_whole().await.unwrap();
    let mut readonly = redis::pipe();
    readonly.cmd("READONLY").ignore();
    readonly.cmd("GET").arg(&key).cmd("GET").arg(&before);
    let old = cluster.node(0).unwrap().query_all(&readonly).await.unwrap();
    assert_eq!(old[0], redis::Value::Nil, "what was confirmed is lost");
    assert_eq!(old[1], redis::Value::BulkString(b"queued".to_vec()));
}

#[tokio::test]
async fn what_cannot_be_built_is_refused() {
    let servers = Servers::discover().unwrap();
    let none = ClusterOptions {
        masters: 0,
        ..ClusterOptions::default()
    };
    let error = RedisCluster::start(&servers, none).await.err().unwrap();
    assert!(matches!(error, TestbedError::Layout(_)), "{error}");
    let one = ClusterOptions {
        masters: 1,
        replicas: 0,
        node_timeout: Duration::from_secs(1),
        ..ClusterOptions::default()
    };
    let cluster = RedisCluster::start(&servers, one).await.unwrap();
    assert!(matches!(
        cluster.part(&[0], &[0]).unwrap_err(),
        TestbedError::Layout(_)
    ));
    assert!(matches!(
        cluster.node(1).err().unwrap(),
        TestbedError::NoSuchNode(1)
    ));
    assert!(matches!(
        cluster.empty(0).await.unwrap_err(),
        TestbedError::Layout(_)
    ));
}

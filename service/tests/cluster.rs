//! The service on a Redis Cluster: what fails there stops its own partitions alone, and no loan is lost or doubled.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use redis::cmd;
use serde_json::Value;
use service::loan::LoanId;
use service::queue::Queue;
use service::queue::tls::TlsFiles;
use support::{
    Load, admin, audit_at, body, loan, loan_id, metrics, post, quick, service_options, wait_until,
};
use testbed::{
    ClusterOptions, MongoOptions, MongoServer, NodeRole, RedisCluster, Servers, ServiceOptions,
    ServiceProcess, Signal, http,
};

const PARTITIONS: u32 = 6;
/// Loans of these numbers are posted by the tests themselves, beside those of the load.
const APART: u64 = 500_000;

/// A cluster, a mongod and one or more instances.
struct Stack {
    services: Vec<ServiceProcess>,
    mongodb: MongoServer,
    cluster: RedisCluster,
}

impl Stack {
    async fn start(servers: &Servers, options: ClusterOptions, instances: usize) -> Self {
        let cluster = RedisCluster::start(servers, options);
        let mongodb = MongoServer::start(servers, MongoOptions::default());
        let (cluster, mongodb) = tokio::try_join!(cluster, mongodb).unwrap();
        let mut stack = Self {
            services: Vec::new(),
            mongodb,
            cluster,
        };
        for _ in 0..instances {
            let service = ServiceProcess::start(stack.service_options())
                .await
                .unwrap();
            stack.services.push(service);
        }
        stack
    }

    fn service_options(&self) -> ServiceOptions {
        let mut arguments = quick();
        arguments.extend([
            "--redis-cluster".to_owned(),
            format!("--partitions={PARTITIONS}"),
        ]);
        ServiceOptions {
            redis_url: urls(&self.cluster),
            mongodb_uri: self.mongodb.uri(),
            ..service_options(arguments)
        }
    }

    fn queue(&self) -> Queue {
        Queue::in_cluster(&urls(&self.cluster), PARTITIONS, &TlsFiles::default()).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.services[0].address()
    }

    /// The number of a loan, from `from` on, whose partition a node serves, or does not.
    async fn loan_at(&self, node: usize, is_there: bool, from: u64) -> u64 {
        let queue = self.queue();
        for number in from.. {
            let partition = queue.partition_of(&LoanId::new(&loan_id(number)).unwrap());
            let slot = queue.slot(partition) as u16;
            if (self.cluster.owner(slot).await.unwrap() == node) == is_there {
                return number;
            }
        }
        unreachable!("there are loans of every partition")
    }

    /// Posts loans that a node does not serve; each is admitted at once.
    async fn others_go_on(&self, apart_from: usize, from: u64, count: usize) -> u64 {
        let queue = self.queue();
        let mut served = BTreeSet::new();
        for partition in 0..queue.partitions() {
            let slot = queue.slot(partition) as u16;
            // A node that is down serves what the others say that it does.
            let other = (apart_from + 1) % 3;
            let view = self.cluster.view(other).await.unwrap();
            let owner = view.owner(slot).unwrap().id.clone();
            let down = self.cluster.id(apart_from).unwrap();
            if owner != down {
                served.insert(partition);
            }
        }
        let mut number = from;
        for _ in 0..count {
            while !served.contains(&queue.partition_of(&LoanId::new(&loan_id(number)).unwrap())) {
                number += 1;
            }
            let answer = post(self.address(), &loan(number)).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            number += 1;
        }
        number
    }
}

fn urls(cluster: &RedisCluster) -> String {
    let addresses = cluster.addresses().into_iter();
    let urls: Vec<_> = addresses.map(|at| format!("redis://{at}")).collect();
    urls.join(",")
}

async fn start(instances: usize) -> Stack {
    let servers = Servers::discover().unwrap();
    Stack::start(&servers, ClusterOptions::default(), instances).await
}

async fn is_ready(address: SocketAddr) -> bool {
    http::get(address, "/readyz").await.unwrap().status == 200
}

async fn degraded(address: SocketAddr) -> Vec<String> {
    let answer = http::get(address, "/readyz").await.unwrap();
    let body = body(&answer);
    let degraded = body["degraded"].as_array().cloned().unwrap_or_default();
    degraded
        .iter()
        .filter_map(|fault| fault["what"].as_str().map(str::to_owned))
        .collect()
}

/// 1. Two instances on three shards; clients of both.
/// 2. Every loan is recorded once, and the page tells of each shard, its partitions and its replica.
async fn loans_flow_through_all_shards(servers: Servers) {
    let stack = Stack::start(&servers, ClusterOptions::default(), 2).await;
    let addresses = [stack.services[0].address(), stack.services[1].address()];
    let load = Load::start(&addresses, 8);
    load.goes_on(200).await;
    let count = load.finish().await;
    audit_at(addresses[1], &stack.mongodb.uri(), count).await;
    wait_until("every node has said how it is set", async || {
        metrics(addresses[1]).await.redis.replicas.len() == 3
    })
    .await;
    let snapshot = metrics(addresses[1]).await;
    let redis = snapshot.redis;
    assert!(redis.up && redis.durable && redis.is_cluster, "{redis:?}");
    assert_eq!(redis.weaknesses, Vec::<String>::new());
    let nodes: Vec<_> = stack
        .cluster
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let shards: Vec<_> = redis
        .shards
        .iter()
        .map(|shard| (&*shard.address, &shard.partitions[..], shard.up))
        .collect();
    assert_eq!(
        shards,
        [
            (&*nodes[0], &[0, 1][..], true),
            (&nodes[1], &[2, 3], true),
            (&nodes[2], &[4, 5], true),
        ]
    );
    let replicas: Vec<_> = redis
        .replicas
        .iter()
        .map(|node| node.address.clone())
        .collect();
    assert_eq!(replicas, nodes[3..]);
    assert_eq!(snapshot.gauges.instances, 2);
}

#[tokio::test]
async fn loans_flow_through_all_shards_of_redis() {
    loans_flow_through_all_shards(Servers::discover().unwrap()).await;
}

#[tokio::test]
async fn loans_flow_through_all_shards_of_valkey() {
    loans_flow_through_all_shards(Servers::discover_valkey().unwrap()).await;
}

/// What a master's absence means, however it came: its own loans are refused and told so, all others go their whole way,
/// and the service stays ready. Pausing reaches it when it is back.
async fn others_are_untouched(stack: &Stack, down: usize) {
    let address = stack.address();
    let before = metrics(address).await.counters;
    stack.others_go_on(down, APART, 20).await;
    wait_until("what the others took is recorded", async || {
        let counters = metrics(address).await.counters;
        counters.recorded_loans + counters.recorded_failures
            >= before.recorded_loans + before.recorded_failures + 20
    })
    .await;
    wait_until("the shard is told to be down", async || {
        let redis = metrics(address).await.redis;
        let down: Vec<_> = redis.shards.iter().filter(|shard| !shard.up).collect();
        redis.up && down.len() == 1 && down[0].partitions.len() == 2
    })
    .await;
    assert!(is_ready(address).await, "one shard is not all");
    assert_eq!(degraded(address).await, ["shard"]);
}

/// 1. Load; `kill -9` of a master.
/// 2. A loan of its partitions is refused, definitely; the others go their way as if nothing had happened.
/// 3. It comes back on its data: its partitions take loans again; every loan is recorded once.
#[tokio::test]
async fn a_killed_master_stops_its_partitions_alone() {
    let mut stack = start(1).await;
    let address = stack.address();
    let refused = stack.loan_at(0, true, 900_000).await;
    let load = Load::start(&[address], 4);
    load.goes_on(50).await;
    let count = load.finish().await;
    audit_at(address, &stack.mongodb.uri(), count).await;

    stack.cluster.node_mut(0).unwrap().kill();
    wait_until("the loans of the dead shard are refused", async || {
        let answer = post(address, &loan(refused)).await;
        answer.status == 503 && body(&answer)["errorType"] == "queue_unavailable"
    })
    .await;
    others_are_untouched(&stack, 0).await;
    let paused = admin(address, "POST", "/api/control/pause", &Value::Null).await;
    assert_eq!(paused.status, 200, "{paused:?}");

    stack.cluster.node_mut(0).unwrap().restart().await.unwrap();
    wait_until("the partitions that were away are paused too", async || {
        let answer = post(address, &loan(refused)).await;
        body(&answer)["errorType"] == "paused"
    })
    .await;
    let resumed = admin(address, "POST", "/api/control/resume", &Value::Null).await;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    wait_until("its partitions take loans again", async || {
        post(address, &loan(refused)).await.status == 202
    })
    .await;
    wait_until("nothing is amiss", async || {
        degraded(address).await.is_empty()
    })
    .await;
}

/// As for a killed one, with a master that stands still: nobody waits for it.
#[tokio::test]
async fn a_paused_master_stops_its_partitions_alone() {
    let stack = start(1).await;
    let address = stack.address();
    let stuck = stack.loan_at(1, true, 900_000).await;
    assert_eq!(post(address, &loan(stuck)).await.status, 202);
    stack
        .cluster
        .node(1)
        .unwrap()
        .signal(Signal::SIGSTOP)
        .unwrap();
    wait_until("the loans of the shard are refused", async || {
        post(address, &loan(stuck)).await.status == 503
    })
    .await;
    others_are_untouched(&stack, 1).await;
    stack
        .cluster
        .node(1)
        .unwrap()
        .signal(Signal::SIGCONT)
        .unwrap();
    wait_until("its partitions answer again", async || {
        let answer = post(address, &loan(stuck)).await;
        answer.status == 202 && body(&answer)["replayed"] == true
    })
    .await;
}

/// 1. Load; each shard's master hands over to its replica.
/// 2. Then all nodes are restarted in turn.
/// 3. Loans go on after each, and every one is recorded once.
#[tokio::test]
async fn planned_failovers_and_restarts_lose_nothing() {
    let mut stack = start(1).await;
    let address = stack.address();
    let load = Load::start(&[address], 4);
    load.goes_on(50).await;
    for replica in 3..6 {
        stack.cluster.fail_over(replica).await.unwrap();
        load.goes_on(50).await;
    }
    let shards: BTreeSet<_> = (3..6)
        .map(|node| stack.cluster.address(node).unwrap().to_string())
        .collect();
    wait_until("the service is at the new masters", async || {
        let redis = metrics(address).await.redis;
        let at: BTreeSet<_> = redis
            .shards
            .into_iter()
            .map(|shard| shard.address)
            .collect();
        at == shards
    })
    .await;
    stack.cluster.restart_in_turn().await.unwrap();
    load.goes_on(50).await;
    let count = load.finish().await;
    audit_at(address, &stack.mongodb.uri(), count).await;
}

/// 1. Load; a node joins, without the service's functions, and takes half of another's slots.
/// 2. Then it is emptied and leaves.
/// 3. Loans go on after each, and every one is recorded once.
#[tokio::test]
async fn slots_move_to_a_new_node_and_back() {
    let mut stack = start(1).await;
    let address = stack.address();
    let load = Load::start(&[address], 4);
    load.goes_on(50).await;
    let added = stack.cluster.add_master().await.unwrap();
    // Partitions 0 and 1 of six lie here.
    stack.cluster.move_slots(0..2_800, added).await.unwrap();
    let moved = stack.loan_at(added, true, 900_000).await;
    wait_until("the new node takes loans", async || {
        post(address, &loan(moved)).await.status == 202
    })
    .await;
    load.goes_on(50).await;
    let mut list = cmd("FUNCTION");
    list.arg("LIST");
    let functions: redis::Value = stack.cluster.query(added, &list).await.unwrap();
    assert!(
        format!("{functions:?}").contains("sluice_"),
        "{functions:?}"
    );
    stack.cluster.empty(added).await.unwrap();
    stack.cluster.remove_node(added).await.unwrap();
    load.goes_on(50).await;
    let count = load.finish().await;
    wait_until("all is recorded", async || {
        let counters = metrics(address).await.counters;
        counters.recorded_loans + counters.recorded_failures == count + 1
    })
    .await;
    let documents = support::documents(&stack.mongodb, "loans").await;
    let ids: BTreeSet<_> = support::strings(&documents, "_id").into_iter().collect();
    assert_eq!(ids.len(), documents.len());
    wait_until("nothing is amiss", async || {
        degraded(address).await.is_empty()
    })
    .await;
}

/// 1. A cluster whose replicas take over by themselves: the service runs and says that it may lose loans.
/// 2. A master goes on alone, confirms loans that its replica does not get, and is replaced by it.
/// 3. The service says how many admissions are gone, and asks MongoDB for every id until its filter is complete.
#[tokio::test]
async fn an_automatic_failover_is_told() {
    let servers = Servers::discover().unwrap();
    let options = ClusterOptions {
        can_part: true,
        fails_over: true,
        ..ClusterOptions::default()
    };
    let stack = Stack::start(&servers, options, 1).await;
    let address = stack.address();
    wait_until("the weakness is told", async || {
        let redis = metrics(address).await.redis;
        let told = redis
            .weaknesses
            .iter()
            .filter(|weakness| weakness.contains("cluster-replica-no-failover"));
        !redis.durable && told.count() == 6
    })
    .await;
    assert_eq!(degraded(address).await, ["durability"]);

    let mut numbers = Vec::new();
    let mut from = APART;
    for _ in 0..6 {
        let number = stack.loan_at(0, true, from).await;
        numbers.push(number);
        from = number + 1;
    }
    // What its replica knows.
    for number in &numbers[..3] {
        assert_eq!(post(address, &loan(*number)).await.status, 202);
    }
    let mut wait = redis::pipe();
    wait.cmd("SET").arg("{l:0:0}:tests").arg(1).ignore();
    wait.cmd("WAIT").arg(1).arg(0);
    let _ = stack.cluster.node(0).unwrap().query_all(&wait).await;
    stack.cluster.part(&[0], &[3]).unwrap();
    for number in &numbers[3..] {
        assert_eq!(post(address, &loan(*number)).await.status, 202);
    }
    stack.cluster.part(&[0], &[1, 2, 4, 5]).unwrap();
    stack.cluster.part_from_clients(0).unwrap();
    stack.cluster.wait_role(3, NodeRole::Master).await.unwrap();
    wait_until("the loss is told", async || {
        metrics(address).await.counters.rolled_back >= 3
    })
    .await;
    stack.cluster.heal();
    // They are not known to be recorded, or they are: never taken for other loans, never recorded twice.
    for number in &numbers {
        wait_until("the loan is answered", async || {
            post(address, &loan(*number)).await.status == 202
        })
        .await;
    }
    wait_until("all are recorded", async || {
        support::documents(&stack.mongodb, "loans").await.len()
            + support::documents(&stack.mongodb, "failures").await.len()
            == numbers.len()
    })
    .await;
}

/// What is at the address is not what the settings say: one line says so.
#[tokio::test]
async fn the_wrong_kind_of_redis_is_refused() {
    let servers = Servers::discover().unwrap();
    let options = ClusterOptions {
        masters: 1,
        replicas: 0,
        ..ClusterOptions::default()
    };
    let cluster = RedisCluster::start(&servers, options.clone())
        .await
        .unwrap();
    let other = RedisCluster::start(&servers, options).await.unwrap();
    let single = testbed::RedisServer::start(&servers, testbed::RedisOptions::default())
        .await
        .unwrap();
    for (url, arguments, told) in [
        (
            single.url(),
            vec!["--redis-cluster"],
            "belongs to no cluster",
        ),
        (urls(&cluster), vec![], "start with --redis-cluster"),
        (
            format!("{}/3", urls(&cluster)),
            vec!["--redis-cluster"],
            "leave the number out",
        ),
        (
            format!("{},{}", urls(&cluster), urls(&other)),
            vec!["--redis-cluster"],
            "different clusters",
        ),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_service"));
        command.args(["--listen", "127.0.0.1:0", "--redis-url", &url]);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

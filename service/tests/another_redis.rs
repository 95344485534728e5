//! Redis is not the one that it was: emptied, of yesterday, of another shape, a replica, unwilling, careless with what it
//! confirms. No loan that was answered 202 is lost without a word, and none is answered wrongly.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::{
    admin, assert_problem, audit, body, documents, drained, loan, logged, metrics, post, quick,
    redis, redis_counters, service_options, start, start_with, wait_until,
};
use testbed::{
    MongoOptions, MongoServer, RedisOptions, RedisServer, Servers, ServiceOptions, ServiceProcess,
    Signal, Stack, StackOptions, http,
};
use tokio::net::{TcpListener, TcpStream};

/// The loan of a number, with other content.
fn other(number: u64) -> serde_json::Value {
    let mut loan = loan(number);
    loan["amount"] = json!(99_999.0);
    loan
}

/// Records the loans `numbers`, each sent until it is taken.
async fn record(stack: &Stack, numbers: std::ops::Range<u64>) {
    for number in numbers {
        wait_until("it is taken", async || {
            post(stack.service.address(), &loan(number)).await.status == 202
        })
        .await;
    }
    drained(&stack.redis).await;
}

/// Each of `numbers` is known: the same content is a replay, other content a conflict.
async fn knows(address: SocketAddr, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let refused = answered(address, &other(number)).await;
        assert_problem(&refused, 422, "loan_id_conflict");
        let answer = answered(address, &loan(number)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(body(&answer)["replayed"], true, "{number}: {answer:?}");
    }
}

/// The first answer that is not for want of a store.
async fn answered_not_unavailable(address: SocketAddr, loan: &serde_json::Value) -> http::Answer {
    let mut answer = post(address, loan).await;
    wait_until("the stores answer", async || {
        if answer.body.contains("_unavailable") {
            answer = post(address, loan).await;
        }
        !answer.body.contains("_unavailable")
    })
    .await;
    answer
}

/// The first definite answer: right after a restart of Redis there may be none for a moment.
async fn answered(address: SocketAddr, loan: &serde_json::Value) -> http::Answer {
    let mut answer = post(address, loan).await;
    wait_until("there is a definite answer", async || {
        if answer.status == 503 {
            answer = post(address, loan).await;
        }
        answer.status != 503
    })
    .await;
    answer
}

/// Failures too: what failed and was recorded is as well known as what was accepted.
#[tokio::test]
async fn an_emptied_redis_knows_what_mongodb_holds() {
    let stack = start().await;
    record(&stack, 0..20).await;
    let _: String = redis(&stack.redis, &["FLUSHALL"]).await;
    knows(stack.service.address(), 0..20).await;
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 18);
    assert_eq!(documents(&stack.mongodb, "failures").await.len(), 2);
    let address = stack.service.address();
    wait_until("the failures that wait are counted", async || {
        metrics(address).await.gauges.failed_waiting == 2
    })
    .await;
    // New loans are taken as ever.
    record(&stack, 20..40).await;
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 36);
}

/// The same while the service stands still: it finds an empty Redis at its start.
#[tokio::test]
async fn an_empty_redis_at_the_start_knows_what_mongodb_holds() {
    let mut stack = start().await;
    record(&stack, 0..20).await;
    stack.service.terminate().await.unwrap();
    let _: String = redis(&stack.redis, &["FLUSHALL"]).await;
    stack.service.restart().await.unwrap();
    let address = stack.service.address();
    knows(address, 0..20).await;
    wait_until("the loss is told", async || {
        let answer = http::get(address, "/readyz").await.unwrap();
        metrics(address).await.counters.rolled_back > 0 && answer.body.contains("rollback")
    })
    .await;
    // Once the filter is rebuilt from MongoDB, it is believed again.
    wait_until("the filter is complete", async || {
        redis_counters(&stack.redis)
            .await
            .contains_key("filter_complete")
    })
    .await;
    knows(stack.service.address(), 0..20).await;
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 18);
}

/// Who looks at Redis may come before who makes the filter whole again: the loss is told all the same.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn an_empty_redis_is_told_before_its_filter_is_made() {
    let mut stack = start().await;
    record(&stack, 0..20).await;
    stack.service.terminate().await.unwrap();
    let _: String = redis(&stack.redis, &["FLUSHALL"]).await;
    let mut environment = service_options(quick()).environment;
    environment.push(("FAILPOINTS".into(), "rebuild-before=sleep(3000)".into()));
    stack.service.restart_with(environment).await.unwrap();
    let address = stack.service.address();
    wait_until("the loss is told", async || {
        let answer = http::get(address, "/readyz").await.unwrap();
        metrics(address).await.counters.rolled_back == 20 && answer.body.contains("rollback")
    })
    .await;
    knows(address, 0..20).await;
}

/// 1. Record loans; keep Redis's files; record more.
/// 2. Put the kept files back, beside the full MongoDB.
/// 3. What was recorded since is known all the same, and the step back is told.
#[tokio::test]
async fn a_redis_of_yesterday_is_noticed() {
    let mut stack = start().await;
    record(&stack, 0..20).await;
    stack.redis.kill();
    let folder = stack.redis.folder().to_owned();
    let kept = tempfile::tempdir().unwrap();
    copy(&folder, kept.path());
    stack.redis.restart().await.unwrap();
    record(&stack, 20..40).await;

    stack.redis.kill();
    std::fs::remove_dir_all(folder.join("appendonlydir")).unwrap();
    copy(kept.path(), &folder);
    stack.redis.restart().await.unwrap();
    let address = stack.service.address();
    // Also by the first call, before anybody has looked.
    knows(address, 20..40).await;
    wait_until("the step back is told", async || {
        metrics(address).await.counters.rolled_back > 0
    })
    .await;
    knows(address, 0..40).await;
    assert_eq!(documents(&stack.mongodb, "loans").await.len(), 36);
    assert_eq!(documents(&stack.mongodb, "failures").await.len(), 4);
}

fn copy(from: &Path, to: &Path) {
    let source = from.join("appendonlydir");
    let target = to.join("appendonlydir");
    std::fs::create_dir_all(&target).unwrap();
    for file in std::fs::read_dir(source).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), target.join(file.file_name())).unwrap();
    }
}

/// Starts the service, which is to end by itself.
fn run(redis: &str, mongodb: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLUICE_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--listen", "127.0.0.1:0", "--redis-url", redis])
        .args(["--mongodb-uri", mongodb])
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn refuses(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{word} is not in {last}");
    }
}

/// The `_id`s of the loans in a database.
async fn recorded_in(stack: &Stack, database: &str) -> Vec<String> {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri());
    let database = client.await.unwrap().database(database);
    let loans = database.collection::<bson::Document>("loans");
    let found = loans.distinct("_id", bson::doc! {}).await.unwrap();
    found
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

/// A service on the stores of a stack, with another database in MongoDB.
fn elsewhere(stack: &Stack, more: &[&str]) -> ServiceOptions {
    let mut arguments = quick();
    arguments.extend(more.iter().map(|&more| more.to_owned()));
    ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        mongodb_database: "elsewhere".to_owned(),
        ..service_options(arguments)
    }
}

/// 1. One queue has one record: a second one is refused while somebody works with the queue, or while loans are in it.
/// 2. It is refused as well where MongoDB comes late, by whoever would record.
/// 3. Whoever has lost the former record for good says so, and the loans go into the new one.
#[tokio::test]
async fn a_queue_has_one_record() {
    let mut stack = start_with(service_options(vec!["--role".into(), "api".into()])).await;
    let address = stack.service.address();
    for number in 0..3 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    let (redis_url, uri) = (stack.redis.url(), stack.mongodb.uri());
    let other = ["--mongodb-database", "elsewhere"];
    let words = ["another record", "elsewhere", "3 loans", "--repartition"];
    refuses(&run(&redis_url, &uri, &other), &words);

    stack.mongodb.signal(Signal::SIGSTOP).unwrap();
    let late = ServiceProcess::start(elsewhere(&stack, &[])).await.unwrap();
    stack.mongodb.signal(Signal::SIGCONT).unwrap();
    logged(&late, &["recording waits", "another record"]).await;
    wait_until("it is told", async || {
        degraded(late.address(), "recording").await
    })
    .await;
    drop(late);
    assert_eq!(recorded_in(&stack, "elsewhere").await, Vec::<String>::new());

    stack.service.terminate().await.unwrap();
    wait_until("nobody counts as alive", async || {
        let output = run(&redis_url, &uri, &other);
        String::from_utf8_lossy(&output.stderr).contains("0 other instances")
    })
    .await;
    let options = elsewhere(&stack, &["--repartition"]);
    let moved = ServiceProcess::start(options).await.unwrap();
    logged(&moved, &["another record"]).await;
    wait_until("the loans are recorded", async || {
        recorded_in(&stack, "elsewhere").await.len() == 3
    })
    .await;
    knows(moved.address(), 0..3).await;
}

/// 1. A queue at rest, with which nobody works, goes on with another record without a word of an operator.
/// 2. A record that is emptied stays the queue's.
#[tokio::test]
async fn a_queue_at_rest_may_have_another_record() {
    let mut stack = start().await;
    record(&stack, 0..3).await;
    stack.service.terminate().await.unwrap();
    let options = elsewhere(&stack, &[]);
    let mut moved = ServiceProcess::start(options).await.unwrap();
    // What the former record holds is unknown here.
    assert_eq!(answered(moved.address(), &other(0)).await.status, 202);
    wait_until("it is recorded", async || {
        recorded_in(&stack, "elsewhere").await.len() == 1
    })
    .await;
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri());
    let database = client.await.unwrap().database("elsewhere");
    database.drop().await.unwrap();
    assert_eq!(answered(moved.address(), &loan(1)).await.status, 202);
    wait_until("it is recorded", async || {
        recorded_in(&stack, "elsewhere").await.len() == 1
    })
    .await;
    moved.terminate().await.unwrap();
    let moved = ServiceProcess::start(elsewhere(&stack, &[])).await.unwrap();
    assert_eq!(answered(moved.address(), &loan(2)).await.status, 202);
    wait_until("it is recorded", async || {
        recorded_in(&stack, "elsewhere").await.len() == 2
    })
    .await;
}

/// 1. Loans wait in a queue of one partition, and failed ones for a retry.
/// 2. Another number is refused: by what MongoDB knows, by what Redis knows, and by both. It says what to do.
/// 3. With the right number all go their way.
/// 4. Drained, the number can be changed, and what was recorded and what failed is still known.
#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let mut stack = start().await;
    record(&stack, 0..20).await;
    stack.service.terminate().await.unwrap();
    let mut api = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(vec!["--role".into(), "api".into()])
    })
    .await
    .unwrap();
    for number in 20..30 {
        assert_eq!(post(api.address(), &loan(number)).await.status, 202);
    }
    api.terminate().await.unwrap();

    let servers = Servers::discover().unwrap();
    let other_redis = RedisServer::start(&servers, RedisOptions::default())
        .await
        .unwrap();
    let other_mongodb = MongoServer::start(&servers, MongoOptions::default())
        .await
        .unwrap();
    let four = ["--partitions", "4"];
    let words = ["--partitions 1", "--repartition"];
    refuses(
        &run(&stack.redis.url(), &stack.mongodb.uri(), &four),
        &words,
    );
    refuses(
        &run(&stack.redis.url(), &other_mongodb.uri(), &four),
        &words,
    );
    refuses(
        &run(&other_redis.url(), &stack.mongodb.uri(), &four),
        &words,
    );
    let change = ["--partitions", "4", "--repartition"];
    refuses(
        &run(&stack.redis.url(), &stack.mongodb.uri(), &change),
        &["10 loans are not recorded"],
    );

    stack.service.restart().await.unwrap();
    audit(&stack, 30).await;
    stack.service.terminate().await.unwrap();
    let mut arguments = quick();
    arguments.extend(change.map(str::to_owned));
    let four = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(arguments)
    })
    .await
    .unwrap();
    knows(four.address(), 0..30).await;
    let answer = support::admin(
        four.address(),
        "PATCH",
        "/api/loans/retry",
        &json!({ "loanIds": ["GC-000009"] }),
    )
    .await;
    assert_eq!(body(&answer)["requeued"], 1, "{answer:?}");
    drop(four);
    refuses(
        &run(&stack.redis.url(), &stack.mongodb.uri(), &[]),
        &["--partitions 4"],
    );
}

/// The keys of the first form of the queue, with loans in them that nobody would ever see again.
#[tokio::test]
async fn a_queue_of_the_first_form_is_refused() {
    let servers = Servers::discover().unwrap();
    let server = RedisServer::start(&servers, RedisOptions::default())
        .await
        .unwrap();
    let mongodb = MongoServer::start(&servers, MongoOptions::default())
        .await
        .unwrap();
    let _: String = redis(&server, &["XADD", "{l:0}:q", "*", "i", "GC-1", "l", "{}"]).await;
    refuses(
        &run(&server.url(), &mongodb.uri(), &[]),
        &["former version", "drain"],
    );
}

/// An address that may come to stand for another server, as one with a failover behind it does. Connections that are open
/// stay.
struct MovingAddress {
    address: SocketAddr,
    target: Arc<Mutex<u16>>,
}

impl MovingAddress {
    async fn of(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(port));
        let now = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = *now.lock().unwrap();
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, target }
    }

    fn move_to(&self, port: u16) {
        *self.target.lock().unwrap() = port;
    }
}

/// 1. The master behind the address becomes a replica of another server, and the address stands for that one.
/// 2. The service finds it, without a restart, and goes on; each loan is recorded once.
#[tokio::test]
async fn the_master_behind_the_address_is_found() {
    let servers = Servers::discover().unwrap();
    let start = || RedisServer::start(&servers, RedisOptions::default());
    let (first, second) = (start().await.unwrap(), start().await.unwrap());
    let mongodb = MongoServer::start(&servers, MongoOptions::default())
        .await
        .unwrap();
    let address = MovingAddress::of(first.port()).await;
    let service = ServiceProcess::start(ServiceOptions {
        redis_url: format!("redis://{}/", address.address),
        mongodb_uri: mongodb.uri(),
        ..service_options(quick())
    })
    .await
    .unwrap();
    for number in 0..10 {
        assert_eq!(post(service.address(), &loan(number)).await.status, 202);
    }
    drained(&first).await;
    // The second has all that the first has, and then they change places.
    let port = first.port().to_string();
    let _: String = redis(&second, &["REPLICAOF", "127.0.0.1", &port]).await;
    wait_until("the replica has everything", async || {
        let role: redis::Value = redis(&second, &["ROLE"]).await;
        format!("{role:?}").contains("connected")
            && redis_counters(&second).await == redis_counters(&first).await
    })
    .await;
    let _: String = redis(&second, &["REPLICAOF", "NO", "ONE"]).await;
    let port = second.port().to_string();
    let _: String = redis(&first, &["REPLICAOF", "127.0.0.1", &port]).await;
    let refused = post(service.address(), &loan(10)).await;
    assert_problem(&refused, 503, "queue_unavailable");
    assert!(refused.body.contains("not queued"), "{refused:?}");
    wait_until("it is not ready", async || {
        http::get(service.address(), "/readyz")
            .await
            .unwrap()
            .status
            == 503
    })
    .await;
    address.move_to(second.port());
    wait_until("loans are taken again", async || {
        post(service.address(), &loan(10)).await.status == 202
    })
    .await;
    wait_until("it is ready", async || {
        http::get(service.address(), "/readyz")
            .await
            .unwrap()
            .status
            == 200
    })
    .await;
    audit(
        &Stack {
            service,
            mongodb,
            redis: second,
        },
        11,
    )
    .await;
}

/// 1. Redis lacks replicas and therefore takes no write. The service says why, and that it is not ready for loans.
/// 2. The setting is taken back: all goes on.
#[tokio::test]
async fn a_redis_that_lacks_replicas_is_told() {
    let stack = start().await;
    let address = stack.service.address();
    record(&stack, 0..5).await;
    let set = async |value: &str| {
        let _: String = redis(
            &stack.redis,
            &["CONFIG", "SET", "min-replicas-to-write", value],
        )
        .await;
    };
    set("1").await;
    let refused = post(address, &loan(5)).await;
    assert_problem(&refused, 503, "queue_unavailable");
    assert!(refused.body.contains("not queued"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    wait_until("it is not ready, and says why", async || {
        let answer = http::get(address, "/readyz").await.unwrap();
        answer.status == 503
            && answer.body.contains("NOREPLICAS")
            && metrics(address)
                .await
                .redis
                .trouble
                .is_some_and(|trouble| trouble.contains("NOREPLICAS"))
    })
    .await;
    set("0").await;
    wait_until("loans are taken again", async || {
        post(address, &loan(5)).await.status == 202
    })
    .await;
    wait_until("it is ready", async || {
        http::get(address, "/readyz").await.unwrap().status == 200
    })
    .await;
    assert_eq!(metrics(address).await.redis.trouble, None);
    audit(&stack, 6).await;
}

/// A key of the queue, without the partition's part.
async fn key(stack: &Stack, name: &str) -> String {
    let keys: Vec<String> = redis(&stack.redis, &["KEYS", "{l:0:*}:about"]).await;
    keys[0].replace("about", name)
}

async fn degraded(address: SocketAddr, what: &str) -> bool {
    let degraded = metrics(address).await.degraded;
    degraded.iter().any(|degraded| degraded.what == what)
}

/// 1. A hand, or a Redis that evicts, takes the counters away, while loans are on their way.
/// 2. They are made anew, and count what is there; loans are taken and recorded.
#[tokio::test]
async fn counters_that_are_gone_are_made_anew() {
    let mut stack = start().await;
    record(&stack, 0..5).await;
    stack.service.terminate().await.unwrap();
    let options = |role: &str| {
        let mut arguments = quick();
        arguments.extend(["--role".to_owned(), role.to_owned()]);
        ServiceOptions {
            redis_url: stack.redis.url(),
            mongodb_uri: stack.mongodb.uri(),
            ..service_options(arguments)
        }
    };
    let door = ServiceProcess::start(options("api,persister"))
        .await
        .unwrap();
    let address = door.address();
    for number in 5..10 {
        wait_until("loans are taken", async || {
            post(address, &loan(number)).await.status == 202
        })
        .await;
    }
    let counters = key(&stack, "counters").await;
    let _: i64 = redis(&stack.redis, &["DEL", &counters]).await;
    wait_until("loans are taken", async || {
        post(address, &loan(10)).await.status == 202
    })
    .await;
    let queued: Option<u64> = redis(&stack.redis, &["HGET", &counters, "queued"]).await;
    assert_eq!(queued, Some(6));
    stack.service = ServiceProcess::start(options("worker,persister,api"))
        .await
        .unwrap();
    drained(&stack.redis).await;
    // The sums were taken away; the record is whole.
    let loans = documents(&stack.mongodb, "loans").await;
    let failures = documents(&stack.mongodb, "failures").await;
    assert_eq!(loans.len() + failures.len(), 11);
    let counted = redis_counters(&stack.redis).await;
    for state in ["queued", "claimed", "decided"] {
        assert_eq!(counted.get(state), Some(&0), "{counted:?}");
    }
}

/// 1. Redis answers, and refuses each admission: a key is of another type. That is told with its reason, and the process is
///    not ready for loans.
/// 2. The key is as it was: loans are taken, and all is well.
#[tokio::test]
async fn a_redis_that_refuses_admissions_is_told() {
    let stack = start().await;
    let address = stack.service.address();
    record(&stack, 0..5).await;
    let waiting = key(&stack, "waiting").await;
    let _: String = redis(&stack.redis, &["SET", &waiting, "by hand"]).await;
    wait_until("it is told", async || {
        assert_eq!(post(address, &loan(5)).await.status, 503);
        degraded(address, "admission").await
            && http::get(address, "/readyz").await.unwrap().status == 503
    })
    .await;
    logged(&stack.service, &["Redis takes no loans", "WRONGTYPE"]).await;
    let _: i64 = redis(&stack.redis, &["DEL", &waiting]).await;
    wait_until("loans are taken again", async || {
        post(address, &loan(5)).await.status == 202
    })
    .await;
    wait_until("all is well", async || {
        http::get(address, "/readyz").await.unwrap().status == 200
            && metrics(address).await.degraded.is_empty()
    })
    .await;
    audit(&stack, 6).await;
}

/// 1. Workers are refused by Redis: that is told with its reason, while loans are taken.
/// 2. They are not any more: all is recorded.
#[tokio::test]
async fn a_redis_that_refuses_workers_is_told() {
    let stack = start().await;
    let address = stack.service.address();
    record(&stack, 0..5).await;
    let mut count = 5;
    // No claim is taken; or each is, and no decision.
    for name in ["claimed", "results"] {
        let refused = key(&stack, name).await;
        let _: String = redis(&stack.redis, &["SET", &refused, "by hand"]).await;
        for number in count..count + 5 {
            assert_eq!(post(address, &loan(number)).await.status, 202);
        }
        count += 5;
        wait_until("it is told", async || degraded(address, "processing").await).await;
        assert_eq!(http::get(address, "/readyz").await.unwrap().status, 200);
        logged(&stack.service, &["processing waits", "WRONGTYPE"]).await;
        let _: i64 = redis(&stack.redis, &["DEL", &refused]).await;
        audit(&stack, count).await;
        wait_until("all is well", async || {
            metrics(address).await.degraded.is_empty()
        })
        .await;
    }
}

/// 1. Redis stands still. Whoever posts is answered while it does; after the first failure nobody waits, and the answer
///    is definite.
/// 2. Redis goes on, and so does the service.
async fn nobody_waits_for_a_redis_that_stands_still(partitions: u32) {
    let mut arguments = quick();
    arguments.push(format!("--partitions={partitions}"));
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    record(&stack, 0..5).await;
    stack.redis.signal(Signal::SIGSTOP).unwrap();
    let answers: Vec<_> = (5..55)
        .map(|number| tokio::spawn(async move { post(address, &loan(number)).await }))
        .collect();
    for answer in answers {
        assert_problem(&answer.await.unwrap(), 503, "queue_unavailable");
    }
    let refused = post(address, &loan(55)).await;
    assert_problem(&refused, 503, "queue_unavailable");
    assert!(refused.body.contains("not queued"), "{refused:?}");
    stack.redis.signal(Signal::SIGCONT).unwrap();
    for number in 5..56 {
        wait_until("loans are taken again", async || {
            post(address, &loan(number)).await.status == 202
        })
        .await;
    }
    audit(&stack, 56).await;
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_stands_still_in_one_partition() {
    nobody_waits_for_a_redis_that_stands_still(1).await;
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_stands_still_in_four_partitions() {
    nobody_waits_for_a_redis_that_stands_still(4).await;
}

/// Settings under which Redis may lose what it has confirmed. Each is named.
const CARELESS: [(&str, &str, &str); 3] = [
    ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ("no-appendfsync-on-rewrite", "yes", "no"),
    ("appendfsync", "everysec", "always"),
];

/// A Redis that refuses to say how full it is does not count as what it was, and how it is set is still watched.
#[tokio::test]
async fn a_redis_that_says_less_is_not_safe() {
    let stack = start().await;
    let address = stack.service.address();
    wait_until("it is durable", async || {
        metrics(address).await.redis.durable
    })
    .await;
    let _: String = redis(&stack.redis, &["ACL", "SETUSER", "default", "-info"]).await;
    wait_until("it is told", async || degraded(address, "durability").await).await;
    logged(&stack.service, &["INFO is refused"]).await;
    let _: String = redis(
        &stack.redis,
        &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
    )
    .await;
    logged(&stack.service, &["maxmemory-policy is allkeys-lru"]).await;
    record(&stack, 0..1).await;
}

/// Ingestion is paused, and Redis loses everything while the ways to it are open: it stays paused.
#[tokio::test]
async fn an_emptied_redis_stays_paused() {
    let stack = start().await;
    let address = stack.service.address();
    record(&stack, 0..3).await;
    // All ways are open, also that of look-ups.
    knows(address, 0..3).await;
    let paused = admin(address, "POST", "/api/control/pause", &json!(null)).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    let _: String = redis(&stack.redis, &["FLUSHALL"]).await;
    for number in 3..6 {
        let refused = answered_not_unavailable(address, &loan(number)).await;
        assert_problem(&refused, 503, "paused");
    }
    let control = http::get(address, "/api/control").await.unwrap();
    assert_eq!(body(&control)["paused"], true, "{control:?}");
    knows(address, 0..3).await;
}

/// 1. `--require-durable` refuses a Redis that evicts or does not flush, and names each setting.
/// 2. Without it the service runs, says so at once, and says it as soon as a setting changes, either way.
#[tokio::test]
async fn a_careless_redis_is_refused_or_told() {
    let stack = Stack::start(StackOptions {
        redis: RedisOptions {
            arguments: CARELESS
                .iter()
                .flat_map(|(name, value, _)| [format!("--{name}"), (*value).to_owned()])
                .collect(),
            append_fsync: "everysec".to_owned(),
            ..RedisOptions::default()
        },
        service: service_options(quick()),
        ..StackOptions::default()
    })
    .await
    .unwrap();
    let output = run(
        &stack.redis.url(),
        &stack.mongodb.uri(),
        &["--require-durable"],
    );
    refuses(&output, &CARELESS.map(|(name, ..)| name));
    let address = stack.service.address();
    for (name, careless, careful) in CARELESS {
        wait_until("the weakness is told", async || {
            let state = metrics(address).await.redis;
            !state.durable
                && state
                    .weaknesses
                    .iter()
                    .any(|weakness| weakness.contains(name))
        })
        .await;
        let _: String = redis(&stack.redis, &["CONFIG", "SET", name, careful]).await;
        wait_until("it is gone", async || {
            let state = metrics(address).await.redis;
            !state
                .weaknesses
                .iter()
                .any(|weakness| weakness.contains(name))
        })
        .await;
        assert_ne!(careless, careful);
    }
    wait_until("Redis is durable", async || {
        metrics(address).await.redis.durable
    })
    .await;
    let (name, careless, _) = CARELESS[0];
    let _: String = redis(&stack.redis, &["CONFIG", "SET", name, careless]).await;
    wait_until("it is watched as long as it runs", async || {
        !metrics(address).await.redis.durable
    })
    .await;
}

/// A form of Redis's protocol that the service does not speak is refused by name.
#[test]
fn another_protocol_is_refused() {
    let output = run(
        "redis://127.0.0.1:1/?protocol=resp3",
        "mongodb://127.0.0.1:1/",
        &[],
    );
    refuses(&output, &["--redis-url", "resp3"]);
}

/// Functions of another text under names of their own do not get in the way, nor does what a hand has loaded.
#[tokio::test]
async fn its_own_functions_run() {
    let stack = start_with(service_options(quick())).await;
    let planted = "#!lua name=sluice\nredis.register_function('sluice_admit', function() return redis.error_reply('planted') end)";
    let _: String = redis(&stack.redis, &["FUNCTION", "LOAD", planted]).await;
    let _: String = redis(&stack.redis, &["FUNCTION", "FLUSH"]).await;
    let _: String = redis(&stack.redis, &["FUNCTION", "LOAD", planted]).await;
    record(&stack, 0..20).await;
    audit(&stack, 20).await;
}

//! Redis, MongoDB and instances of the service go away under load, and no loan is lost or doubled.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{
    Load, PATIENCE, audit, body, documents, drained, is_invalid, lengths, loan, metrics, pending,
    post, quick, second_instance, service_options, start, start_with, wait_until,
};
use testbed::{
    MongoOptions, MongoServer, Proxy, RedisOptions, RedisServer, Servers, ServiceOptions,
    ServiceProcess, Signal, Stack, http,
};

/// 1. Post under load; `kill -9` Redis.
/// 2. A request is answered 503 with `Retry-After`, and the service runs on.
/// 3. Start Redis again on its data: the same process of the service takes loans again.
/// 4. Every acknowledged loan is recorded once.
#[tokio::test]
async fn redis_is_killed_under_load() {
    let mut stack = start().await;
    let address = stack.service.address();
    let pid = stack.service.pid();
    let load = Load::start(&[address], 4);
    load.goes_on(40).await;

    stack.redis.kill();
    let answer = post(address, &loan(999_990)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(body(&answer)["errorType"], "queue_unavailable");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    wait_until("the service says that it is not ready", async || {
        http::get(address, "/readyz").await.unwrap().status == 503
    })
    .await;
    assert_eq!(http::get(address, "/healthz").await.unwrap().status, 200);

    stack.redis.restart().await.unwrap();
    load.goes_on(40).await;
    let count = load.finish().await;
    assert!(stack.service.try_wait().unwrap().is_none());
    assert_eq!(stack.service.pid(), pid);
    audit(&stack, count).await;
}

/// 1. Post under load; `kill -9` mongod.
/// 2. Loans are acknowledged while it is gone, and wait in Redis.
/// 3. Start it again on its data: recording catches up, each loan once.
#[tokio::test]
async fn mongod_is_killed_under_load() {
    let mut stack = start().await;
    let address = stack.service.address();
    let pid = stack.service.pid();
    let load = Load::start(&[address], 4);
    load.goes_on(40).await;

    stack.mongodb.kill();
    wait_until("the service knows that MongoDB is gone", async || {
        !metrics(address).await.mongodb.up
    })
    .await;
    load.goes_on(40).await;
    wait_until("results wait in Redis", async || {
        lengths(&stack.redis).await[1] >= 40
    })
    .await;

    stack.mongodb.restart().await.unwrap();
    load.goes_on(40).await;
    let count = load.finish().await;
    assert!(stack.service.try_wait().unwrap().is_none());
    assert_eq!(stack.service.pid(), pid);
    audit(&stack, count).await;
}

/// 1. Post under load; SIGTERM to the service.
/// 2. It ends with code 0; nobody holds a loan any more, and what was decided is recorded.
/// 3. Start it again; the clients that were turned away come through; each loan once.
#[tokio::test]
async fn a_drain_leaves_nothing_half_done() {
    let mut stack = start().await;
    let load = Load::start(&[stack.service.address()], 8);
    load.goes_on(100).await;

    let status = stack.service.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", stack.service.log());
    assert_eq!(pending(&stack.redis).await, [0; 3]);
    let [_, done, failures] = lengths(&stack.redis).await;
    assert_eq!([done, failures], [0; 2], "{}", stack.service.log());

    stack.service.restart().await.unwrap();
    load.goes_on(40).await;
    let count = load.finish().await;
    audit(&stack, count).await;
}

/// 1. Two instances on the same servers, clients that post to both in turn.
/// 2. `kill -9` one; the clients go on with the other.
/// 3. The survivor takes over what the dead one held; each loan once.
#[tokio::test]
async fn one_of_two_instances_is_killed() {
    let stack = start().await;
    let mut second = second_instance(&stack).await;
    let load = Load::start(&[stack.service.address(), second.address()], 8);
    load.goes_on(100).await;
    second.kill();
    load.goes_on(100).await;
    let count = load.finish().await;
    audit(&stack, count).await;
    let failures = documents(&stack.mongodb, "failures").await;
    assert_eq!(
        failures.len(),
        (0..count).filter(|&number| is_invalid(number)).count()
    );
}

/// 1. The service dies after MongoDB has confirmed a batch; its successor records the batch again, is told that
///    MongoDB holds it, and is about to read it back.
/// 2. By then every connection to MongoDB is half open: open for the service, gone for MongoDB.
/// 3. The service gives the answer up by itself, connects anew and records everything once.
#[tokio::test]
async fn mongodb_is_unplugged_while_a_duplicate_is_read_back() {
    let servers = Servers::discover().unwrap();
    let redis = RedisServer::start(&servers, RedisOptions::default())
        .await
        .unwrap();
    let mongodb = MongoServer::start(&servers, MongoOptions::default())
        .await
        .unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], mongodb.port()).into())
        .await
        .unwrap();
    let failpoints = |points: &str| vec![("FAILPOINTS".to_owned(), points.to_owned())];
    let mut arguments = quick();
    arguments.push("--mongodb-timeout=1s".to_owned());
    let service = ServiceProcess::start(ServiceOptions {
        redis_url: redis.url(),
        mongodb_uri: format!("mongodb://{}/", proxy.address()),
        environment: failpoints("record-after=2*off->return"),
        ..service_options(arguments)
    })
    .await
    .unwrap();
    let mut stack = Stack {
        service,
        mongodb,
        redis,
    };
    let load = Load::start(&[stack.service.address()], 4);
    stack.service.wait(PATIENCE).await.unwrap();
    stack
        .service
        .restart_with(failpoints("read-back-before=1*sleep(1500)"))
        .await
        .unwrap();
    // Within these four seconds the batch is taken over, found to be there, and waits to be read back.
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        proxy.half_open();
    }
    assert!(proxy.counts().swallowed_bytes > 0);
    load.goes_on(40).await;
    let count = load.finish().await;
    let snapshot = audit(&stack, count).await;
    assert!(snapshot.counters.duplicate_keys > 0);
}

/// 1. Two instances record. The way of one of them to MongoDB stands still: open, and nothing comes through.
/// 2. It has taken results by then, under a lease of an hour. All loans are recorded nevertheless: by the other.
#[tokio::test]
async fn a_recorder_without_mongodb_keeps_nothing_from_others() {
    let patient = |more: &[&str]| {
        let every_20_ms = ["--record-interval=20ms", "--claim-timeout=1h"];
        let arguments = every_20_ms.iter().chain(more);
        service_options(arguments.map(|text| (*text).to_owned()).collect())
    };
    let stack = start_with(patient(&[])).await;
    let address = stack.service.address();
    let proxy = Proxy::start(([127, 0, 0, 1], stack.mongodb.port()).into())
        .await
        .unwrap();
    let cut_off = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: format!("mongodb://{}/", proxy.address()),
        ..patient(&["--role=persister", "--mongodb-timeout=1s"])
    })
    .await
    .unwrap();
    let mut number = 0;
    // Until it has recorded something, so that it is known to take part.
    wait_until("both record", async || {
        for _ in 0..8 {
            assert_eq!(post(address, &loan(number)).await.status, 202);
            number += 1;
        }
        metrics(cut_off.address()).await.latency_us.record.count > 0
    })
    .await;
    proxy.black_hole();
    // Until it has taken something that it cannot write.
    wait_until("one of them waits", async || {
        for _ in 0..8 {
            assert_eq!(post(address, &loan(number)).await.status, 202);
            number += 1;
        }
        cut_off.log().contains("recording waits")
    })
    .await;
    audit(&stack, number).await;
}

/// 1. A loan is recorded; then mongod stands still, so that looking the loan up takes long.
/// 2. Many clients send the recorded loan again.
/// 3. New loans are taken all the same: their answers do not wait for those look-ups.
#[tokio::test]
async fn new_loans_do_not_wait_for_look_ups() {
    // No look-up is given up while new loans are taken, however slow the machine.
    let mut arguments = quick();
    arguments.extend(["--admission-timeout", "60s", "--mongodb-timeout", "60s"].map(String::from));
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    assert_eq!(post(address, &loan(0)).await.status, 202);
    drained(&stack.redis).await;
    stack.mongodb.signal(Signal::SIGSTOP).unwrap();
    let repeats: Vec<_> = (0..16)
        .map(|_| tokio::spawn(async move { post(address, &loan(0)).await.status }))
        .collect();
    let mut number = 1;
    // They are all under way once the service has taken their bodies: a new loan behind each of them shows it.
    while number <= 40 {
        let answer = post(address, &loan(number)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        number += 1;
    }
    assert!(
        repeats.iter().any(|repeat| !repeat.is_finished()),
        "new loans were taken after the look-ups, not beside them"
    );
    stack.mongodb.signal(Signal::SIGCONT).unwrap();
    for repeat in repeats {
        assert_eq!(repeat.await.unwrap(), 202);
    }
    audit(&stack, number).await;
}

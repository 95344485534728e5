//! Redis, MongoDB and instances of the service go away under load, and no loan is lost or doubled.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{
    Load, audit, body, documents, is_invalid, lengths, loan, metrics, pending, post,
    second_instance, start, wait_until,
};
use testbed::http;

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

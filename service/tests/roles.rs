//! Each role in processes of its own, on one Redis and one MongoDB.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{
    Load, assert_problem, audit, lengths, loan, metrics, pending, post, quick, service_options,
    start_with, wait_until,
};
use testbed::{ServiceOptions, ServiceProcess, Stack, http};

fn of(role: &str) -> ServiceOptions {
    let mut arguments = quick();
    arguments.extend(["--role".to_owned(), role.to_owned()]);
    service_options(arguments)
}

async fn join(stack: &Stack, role: &str) -> ServiceProcess {
    ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..of(role)
    })
    .await
    .unwrap()
}

/// 1. An `api` alone queues; a `worker` alone processes; a `persister` alone records.
/// 2. A `dashboard` shows the figures of all of them, and takes no loans.
#[tokio::test]
async fn each_role_does_its_part() {
    let stack = start_with(of("api")).await;
    let address = stack.service.address();
    for number in 0..10 {
        assert_eq!(post(address, &loan(number)).await.status, 202);
    }
    assert_eq!(lengths(&stack.redis).await, [10, 0, 0]);
    let worker = join(&stack, "worker").await;
    wait_until("all are decided", async || {
        lengths(&stack.redis).await == [0, 9, 1]
    })
    .await;
    assert_eq!(support::documents(&stack.mongodb, "loans").await.len(), 0);
    let persister = join(&stack, "persister").await;
    let dashboard = join(&stack, "dashboard").await;
    audit(&stack, 10).await;
    wait_until("the dashboard sees all", async || {
        let snapshot = metrics(dashboard.address()).await;
        snapshot.gauges.instances == 4
            && snapshot.gauges.workers == 1
            && snapshot.gauges.workers_here == 0
            && snapshot.gauges.workers_max == 5
            && snapshot.counters.recorded_loans == 9
    })
    .await;
    for instance in [&worker, &persister, &dashboard] {
        let answer = post(instance.address(), &loan(11)).await;
        assert_problem(&answer, 404, "not_found");
        assert_eq!(
            http::get(instance.address(), "/healthz")
                .await
                .unwrap()
                .status,
            200
        );
    }
}

/// Two instances of each role under load; each is drained and started again in turn, twice. The
/// clients see 202 and 503 and closed connections; every loan is processed and recorded once.
#[tokio::test]
async fn a_rolling_restart_loses_and_doubles_nothing() {
    let stack = start_with(of("api")).await;
    let mut others = Vec::new();
    for role in [
        "api",
        "worker",
        "worker",
        "persister",
        "persister",
        "dashboard",
        "dashboard",
    ] {
        others.push(join(&stack, role).await);
    }
    let mut stack = stack;
    let load = Load::start(&[stack.service.address(), others[0].address()], 8);
    load.goes_on(100).await;
    for _ in 0..2 {
        for other in &mut others {
            let status = other.terminate().await.unwrap();
            assert_eq!(status.code(), Some(0), "{}", other.log());
            load.goes_on(20).await;
            other.restart().await.unwrap();
            load.goes_on(20).await;
        }
        let status = stack.service.terminate().await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", stack.service.log());
        load.goes_on(20).await;
        stack.service.restart().await.unwrap();
    }
    let count = load.finish().await;
    assert!(count >= 600, "{count}");
    let snapshot = audit(&stack, count).await;
    assert_eq!(pending(&stack.redis).await, [0; 3]);
    assert_eq!(
        snapshot.counters.duplicate_keys, 0,
        "a drained recorder leaves nothing half done"
    );
}

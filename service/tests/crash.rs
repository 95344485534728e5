//! The service dies between any two steps of a loan, and no loan is lost or doubled.
//!
//! Needs the feature `failpoints`; without it there is nothing to crash at.
#![cfg(feature = "failpoints")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use service::loan::{Fingerprint, LoanId};
use service::queue::Queue;
use service::queue::admission::{Arrival, Entry, Known};
use service::queue::bundle::{IdHash, Instance};
use service::snapshot::Snapshot;
use support::{
    Load, PATIENCE, audit, loan, loan_id, quick, service_options, start_with, wait_until,
};
use testbed::ServiceOptions;

/// 1. Start the service with one crash point armed, to strike after it was passed `passes` times.
/// 2. Four clients post loans, each repeating its loan until it is acknowledged, until the process
///    has ended by SIGABRT: the fault has hit its phase, or the test fails here.
/// 3. Start the service again, unarmed; the clients go on until 60 more loans are acknowledged.
/// 4. Drain; each loan stands in MongoDB once, the counters say the same, Redis holds none.
async fn crash_at(point: &str, passes: u32) -> Snapshot {
    use std::os::unix::process::ExitStatusExt as _;

    let armed = ("FAILPOINTS".into(), format!("{point}={passes}*off->return"));
    let mut stack = start_with(ServiceOptions {
        environment: vec![armed],
        ..service_options(quick())
    })
    .await;
    let load = Load::start(&[stack.service.address()], 4);
    let status = stack
        .service
        .wait(PATIENCE)
        .await
        .expect("the crash point is reached");
    assert_eq!(status.signal(), Some(testbed::Signal::SIGABRT as i32));
    stack
        .service
        .restart_with(Vec::new())
        .await
        .expect("it starts again");
    load.goes_on(60).await;
    let count = load.finish().await;
    audit(&stack, count).await
}

#[tokio::test]
async fn before_admission() {
    crash_at("admit-before", 5).await;
}

/// The loans were admitted and their clients never heard of it.
#[tokio::test]
async fn after_admission() {
    let counters = crash_at("admit-after", 5).await.counters;
    assert!(counters.replayed > 0, "{counters:?}");
}

#[tokio::test]
async fn after_the_claim() {
    let counters = crash_at("claim-after", 2).await.counters;
    assert!(counters.redelivered > 0, "{counters:?}");
}

#[tokio::test]
async fn before_the_commit() {
    let counters = crash_at("commit-before", 2).await.counters;
    assert!(counters.redelivered > 0, "{counters:?}");
}

#[tokio::test]
async fn after_the_commit() {
    crash_at("commit-after", 2).await;
}

#[tokio::test]
async fn before_recording() {
    let counters = crash_at("record-before", 2).await.counters;
    assert!(counters.redelivered > 0, "{counters:?}");
}

/// MongoDB holds the batch and Redis does not know.
#[tokio::test]
async fn after_recording() {
    let counters = crash_at("record-after", 2).await.counters;
    assert!(counters.redelivered > 0, "{counters:?}");
    assert!(counters.duplicate_keys > 0, "{counters:?}");
}

#[tokio::test]
async fn after_the_record_is_acknowledged() {
    crash_at("acknowledge-after", 2).await;
}

/// 1. Slow workers find a backlog that fills each of their claims.
/// 2. Another holder claims a bundle of it and is never heard of again.
/// 3. The bundle is taken over while the backlog is still there.
#[tokio::test]
async fn an_abandoned_loan_does_not_wait_for_the_end_of_a_backlog() {
    const LOANS: u64 = 20_000;
    let mut arguments = quick();
    arguments.extend(["--role".to_owned(), "worker".to_owned()]);
    let stack = start_with(ServiceOptions {
        environment: vec![("FAILPOINTS".into(), "commit-before=sleep(100)".into())],
        ..service_options(arguments)
    })
    .await;
    let queue = Queue::new(&stack.redis.url(), 1).expect("the address is one");
    let mut partition = queue.partition(0);
    let arrivals: Vec<_> = (0..LOANS)
        .map(|number| {
            let arrival = Arrival {
                loan_id: LoanId::new(&loan_id(number)).expect("the id is valid"),
                hash: IdHash::of(&loan_id(number)),
                fingerprint: Fingerprint::from_bytes(&[1; 16]).expect("16 bytes"),
                received_us: 1_700_000_000_000_000 + number,
                attempt: 1,
                trace: None,
                body: Bytes::from(loan(number).to_string()),
            };
            (arrival, Known::Nothing)
        })
        .collect();
    let partition_state = async || {
        let mut partition = queue.reader(0);
        partition.state().await.expect("Redis answers")
    };
    wait_until("the filter is complete", async || {
        partition_state().await.is_filter_complete
    })
    .await;
    for arrivals in arrivals.chunks(500) {
        partition
            .admit(Entry::New, arrivals, LOANS, PATIENCE)
            .await
            .expect("they are admitted");
    }
    let lost = Instance::new("lost").holder(0);
    let claimed = partition
        .claim(lost, Duration::from_millis(1), 1)
        .await
        .expect("the claim is answered");
    assert_eq!(claimed.len(), 1, "the backlog is still there");
    wait_until("the bundle is taken over", async || {
        partition_state().await.counters.contains_key("redelivered")
    })
    .await;
    assert!(
        partition_state().await.queued > 0,
        "the workers first emptied the queue"
    );
}

//! Several partitions on one Redis: whatever their number, each loan goes its way once.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{Load, audit_at, metrics, quick, service_options, start_with, wait_until};

/// Calls for indexes of one process: of the record, of failures, tasks, exports, history and activity. Were they made by each
/// recorder, there would be two for each partition besides.
const INDEX_CALLS_MAX: i64 = 16;

/// 1. One worker at most, and 1, 4 or 16 partitions.
/// 2. Clients post; every loan is recorded once, those of each partition among them.
/// 3. What MongoDB has to have was made once for all partitions.
async fn each_loan_goes_its_way_once(partitions: u64) {
    let mut arguments = quick();
    arguments.extend([
        format!("--partitions={partitions}"),
        "--workers-max=1".to_owned(),
    ]);
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    let load = Load::start(&[address], 8);
    load.goes_on(200).await;
    let count = load.finish().await;
    let snapshot = audit_at(address, &stack.mongodb.uri(), count).await;
    let calls = index_calls(&stack.mongodb.uri()).await;
    assert!(calls <= INDEX_CALLS_MAX, "{calls} calls for indexes");
    let [shard] = &snapshot.redis.shards[..] else {
        panic!("{:?}", snapshot.redis);
    };
    assert!(shard.up && !snapshot.redis.is_cluster);
    let all: Vec<_> = (0..partitions).collect();
    assert_eq!(shard.partitions, all);
    wait_until("nothing is left", async || {
        let gauges = metrics(address).await.gauges;
        gauges.queue_depth + gauges.in_flight + gauges.unrecorded == 0
    })
    .await;
}

/// How often MongoDB was asked for indexes.
async fn index_calls(uri: &str) -> i64 {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let command = bson::doc! { "serverStatus": 1 };
    let status = client.database("admin").run_command(command).await.unwrap();
    let commands = status.get_document("metrics").unwrap();
    let commands = commands.get_document("commands").unwrap();
    let calls = commands.get_document("createIndexes").unwrap();
    calls.get_i64("total").unwrap()
}

#[tokio::test]
async fn in_one_partition() {
    each_loan_goes_its_way_once(1).await;
}

#[tokio::test]
async fn in_four_partitions() {
    each_loan_goes_its_way_once(4).await;
}

#[tokio::test]
async fn in_sixteen_partitions() {
    each_loan_goes_its_way_once(16).await;
}

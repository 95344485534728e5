//! Disks that fail, on the real servers: each fault is seen to take effect, and nothing is acknowledged falsely.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use testbed::{Disk, MongoOptions, MongoServer, RedisOptions, RedisServer, Servers, TestbedError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

async fn redis_on(disk: &Disk) -> RedisServer {
    RedisServer::start(
        &Servers::discover().unwrap(),
        RedisOptions {
            environment: disk.environment(),
            ..RedisOptions::default()
        },
    )
    .await
    .unwrap()
}

/// What Redis answers until it closes the connection.
async fn call(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream
        .write_all(format!("{command}\r\nQUIT\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A server that dies resets the connection; what it said before that counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_slow_disk_delays_what_redis_confirms() {
    let disk = Disk::new().unwrap();
    let redis = redis_on(&disk).await;
    assert!(call(redis.port(), "SET a 1").await.starts_with("+OK"));
    let delay = Duration::from_millis(300);
    disk.slow(delay).unwrap();
    let begun = Instant::now();
    assert!(call(redis.port(), "SET b 1").await.starts_with("+OK"));
    assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    assert!(disk.counts().delayed >= 1);
    disk.heal().unwrap();
    let before = disk.counts();
    assert!(call(redis.port(), "SET c 1").await.starts_with("+OK"));
    let after = disk.counts();
    assert_eq!(after.delayed, before.delayed);
    assert!(after.syncs > before.syncs, "the library is there");
}

/// 1. Fill the disk, or break its flushes; write to Redis.
/// 2. Redis ends by itself and has confirmed nothing.
/// 3. Heal the disk and start Redis: what was confirmed before is there.
async fn redis_ends(spoil: fn(&Disk) -> Result<(), TestbedError>) {
    let disk = Disk::new().unwrap();
    let mut redis = redis_on(&disk).await;
    assert!(call(redis.port(), "SET before 1").await.starts_with("+OK"));
    spoil(&disk).unwrap();
    assert_eq!(call(redis.port(), "SET during 1").await, "");
    let status = redis.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", redis.log());
    assert!(disk.counts().failed >= 1);
    disk.heal().unwrap();
    redis.restart().await.unwrap();
    assert!(
        call(redis.port(), "GET before")
            .await
            .starts_with("$1\r\n1")
    );
}

#[tokio::test]
async fn redis_ends_when_its_disk_is_full() {
    redis_ends(Disk::fill).await;
}

#[tokio::test]
async fn redis_ends_when_a_flush_fails() {
    redis_ends(Disk::break_syncs).await;
}

#[tokio::test]
async fn a_slow_disk_delays_what_mongod_confirms() {
    let disk = Disk::new().unwrap();
    let mongod = MongoServer::start(
        &Servers::discover().unwrap(),
        MongoOptions {
            environment: disk.environment(),
            ..MongoOptions::default()
        },
    )
    .await
    .unwrap();
    let client = mongodb::Client::with_uri_str(mongod.uri()).await.unwrap();
    let loans = client.database("sluice").collection::<Document>("loans");
    let journaled = mongodb::options::WriteConcern::builder()
        .journal(true)
        .build();
    loans.insert_one(doc! { "_id": "a" }).await.unwrap();
    disk.slow(Duration::from_millis(300)).unwrap();
    let begun = Instant::now();
    loans
        .insert_one(doc! { "_id": "b" })
        .write_concern(journaled)
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(disk.counts().delayed >= 1);
    client.shutdown().await;
}

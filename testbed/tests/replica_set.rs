//! A private MongoDB replica set on the real servers: what each fault does.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use testbed::{ReplicaSet, ReplicaSetOptions, Servers};

async fn start(members: usize, can_part: bool) -> ReplicaSet {
    let options = ReplicaSetOptions {
        members,
        can_part,
        ..ReplicaSetOptions::default()
    };
    ReplicaSet::start(&Servers::discover().unwrap(), options)
        .await
        .unwrap()
}

async fn client(set: &ReplicaSet) -> Client {
    let uri = format!("{}&w=majority&journal=true", set.uri());
    Client::with_uri_str(uri).await.unwrap()
}

async fn insert(client: &Client, id: &str) {
    let loans = client.database("sluice").collection::<Document>("loans");
    loans.insert_one(doc! { "_id": id }).await.unwrap();
}

async fn has(client: &Client, id: &str) -> bool {
    let loans = client.database("sluice").collection::<Document>("loans");
    loans.find_one(doc! { "_id": id }).await.unwrap().is_some()
}

fn others(set: &ReplicaSet, one: usize) -> Vec<usize> {
    let mut numbers = set.numbers();
    numbers.retain(|number| *number != one);
    numbers
}

#[tokio::test]
async fn a_set_of_one_is_a_set() {
    let set = start(1, false).await;
    assert_eq!(set.wait_whole().await.unwrap(), 0);
    let client = client(&set).await;
    insert(&client, "a").await;
    assert!(has(&client, "a").await);
    client.shutdown().await;
    let folder = set.member(0).unwrap().folder().to_owned();
    set.stop().await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_step_down_and_a_killed_primary_lose_nothing() {
    let mut set = start(3, false).await;
    let client = client(&set).await;
    let first = set.wait_whole().await.unwrap();
    insert(&client, "before").await;

    let second = set.step_down(Duration::from_secs(60)).await.unwrap();
    assert_ne!(first, second);
    set.wait_whole().await.unwrap();
    insert(&client, "after the step-down").await;

    set.member_mut(second).unwrap().kill();
    let left = others(&set, second);
    let third = set.wait_primary_of(&left).await.unwrap();
    assert_ne!(second, third);
    insert(&client, "after the kill").await;
    set.member_mut(second).unwrap().restart().await.unwrap();
    set.wait_whole().await.unwrap();
    for id in ["before", "after the step-down", "after the kill"] {
        assert!(has(&client, id).await, "{id}");
    }
    client.shutdown().await;
    set.stop().await.unwrap();
}

#[tokio::test]
async fn a_parted_primary_gives_way_and_comes_back() {
    let set = start(3, true).await;
    let client = client(&set).await;
    let parted = set.wait_whole().await.unwrap();
    insert(&client, "before").await;
    let left = others(&set, parted);
    set.part(&[parted], &left).unwrap();
    let second = set.wait_primary_of(&left).await.unwrap();
    assert_ne!(parted, second);
    // In the minority it steps down by itself.
    assert!(set.held(parted) > 0, "the partition took effect");
    let primary = set.wait_primary_of(&set.numbers()).await.unwrap();
    assert_eq!(primary, second);
    insert(&client, "meanwhile").await;
    set.heal();
    set.wait_whole().await.unwrap();
    assert!(has(&client, "before").await && has(&client, "meanwhile").await);
    client.shutdown().await;
}

//! A deployment of several instances: each is told where the stores are, and all of them run together.

use testbed::{
    Deployment, DeploymentOptions, MongoLayout, MongoOptions, RedisLayout, ServiceOptions,
    TestbedError, http,
};

/// The service itself, on what it can use today.
#[tokio::test]
async fn two_instances_share_a_replica_set_and_partitions() {
    let deployment = Deployment::start(DeploymentOptions {
        mongodb: MongoLayout::ReplicaSet { members: 3 },
        instances: 2,
        partitions: Some(4),
        ..DeploymentOptions::default()
    })
    .await
    .unwrap();
    assert_eq!(deployment.instances.len(), 2);
    for instance in &deployment.instances {
        let ready = http::get(instance.address(), "/readyz").await.unwrap();
        assert_eq!(ready.status, 200, "{ready:?}");
    }
    let folders: Vec<_> = deployment
        .instances
        .iter()
        .map(|instance| instance.folder().to_owned())
        .collect();
    deployment.stop().await.unwrap();
    assert!(folders.iter().all(|folder| !folder.exists()));
}

/// What takes the service's arguments, prints them and ends.
#[tokio::test]
async fn an_instance_is_told_every_node_of_the_cluster() {
    let error = Deployment::start(DeploymentOptions {
        redis: RedisLayout::Cluster {
            masters: 3,
            replicas: 0,
        },
        mongodb_options: MongoOptions {
            cache_gb: 0.25,
            ..MongoOptions::default()
        },
        partitions: Some(16),
        service: ServiceOptions {
            binary: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/telling-service.sh").into()),
            ..ServiceOptions::default()
        },
        ..DeploymentOptions::default()
    })
    .await
    .err()
    .unwrap();
    let TestbedError::EarlyExit { log, .. } = error else {
        panic!("{error}");
    };
    for told in [
        "--redis-cluster",
        "--partitions 16",
        "redis://127.0.0.2:",
        ",redis://127.0.0.3:",
        ",redis://127.0.0.4:",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
}

//! Private Redis, mongod and service processes for runs, tests and benches, and the faults that hit them.
//!
//! - [`servers`]: where the Redis and mongod binaries are
//! - [`redis`], [`mongodb`], [`service`]: one running server each
//! - [`stack`]: the three of them together
//! - [`cluster`], [`replica_set`]: a Redis Cluster, a MongoDB replica set, and what happens to them
//! - [`deployment`]: any of these and several instances, together
//! - [`proxy`], [`disk`]: a network and a disk that fail on demand
//! - [`http`]: a minimal client
//! - `process`, `port`, `preload`: how one server is started, watched, signalled and stopped
//! - `network`, `wait`: how several are parted, and waited for
//! - `guardian`: nothing is left behind, however this process ends
//! - [`error`]: what can go wrong, and what to do about it
//!
//! Every server is a child of this process on a free loopback port, with a temporary folder as its working folder.
//! Dropping a server kills it and removes its folder.

pub mod servers;

pub mod mongodb;
pub mod redis;
pub mod service;
pub mod stack;

pub mod cluster;
pub mod replica_set;

pub mod deployment;

pub mod disk;
pub mod proxy;

mod guardian;
pub mod http;
mod network;
mod port;
mod preload;
mod process;
mod wait;

pub mod error;

pub use cluster::view::{ClusterView, NodeView, slot};
pub use cluster::{ClusterOptions, NodeRole, RedisCluster, SlotMove};
pub use deployment::{
    Deployment, DeploymentOptions, MongoLayout, MongoStore, RedisLayout, RedisStore,
};
pub use disk::Disk;
pub use error::TestbedError;
pub use mongodb::{MongoOptions, MongoServer};
pub use nix::sys::signal::Signal;
pub use proxy::Proxy;
pub use redis::{RedisOptions, RedisServer};
pub use replica_set::{ReplicaSet, ReplicaSetOptions};
pub use servers::Servers;
pub use service::{ServiceOptions, ServiceProcess};
pub use stack::{Stack, StackOptions};

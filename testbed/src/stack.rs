//! Redis, mongod and one instance of the service, together.

use crate::error::TestbedError;
use crate::mongodb::{MongoOptions, MongoServer};
use crate::redis::{RedisOptions, RedisServer};
use crate::servers::Servers;
use crate::service::{ServiceOptions, ServiceProcess};

/// How a private stack is set.
#[derive(Debug, Clone, Default)]
pub struct StackOptions {
    /// The server binaries; [`Servers::discover`] when `None`.
    pub servers: Option<Servers>,
    /// For Redis.
    pub redis: RedisOptions,
    /// For mongod.
    pub mongodb: MongoOptions,
    /// For the service. Its Redis and MongoDB addresses are replaced by those of the stack.
    pub service: ServiceOptions,
}

/// A private stack. Dropping it kills all three and removes their temporary folders.
pub struct Stack {
    // In the order of dropping: the service goes before what it needs.
    /// The service.
    pub service: ServiceProcess,
    /// Its MongoDB.
    pub mongodb: MongoServer,
    /// Its Redis.
    pub redis: RedisServer,
}

impl Stack {
    /// Starts Redis and mongod, then the service, and waits until all are ready.
    ///
    /// # Errors
    /// Fails with the last lines of the one that ends or does not answer; the others are killed.
    pub async fn start(options: StackOptions) -> Result<Self, TestbedError> {
        let servers = match options.servers {
            Some(servers) => servers,
            None => Servers::discover()?,
        };
        let (redis, mongodb) = tokio::try_join!(
            RedisServer::start(&servers, options.redis),
            MongoServer::start(&servers, options.mongodb),
        )?;
        let service = ServiceProcess::start(ServiceOptions {
            redis_url: redis.url(),
            mongodb_uri: mongodb.uri(),
            ..options.service
        })
        .await?;
        Ok(Self {
            service,
            mongodb,
            redis,
        })
    }

    /// Lets the service drain and end, then ends mongod and Redis in order.
    ///
    /// # Errors
    /// Fails when one does not end in time; what still runs is killed then.
    pub async fn stop(self) -> Result<(), TestbedError> {
        let Self {
            mut service,
            mongodb,
            redis,
        } = self;
        if service.pid() != 0 {
            service.terminate().await?;
        }
        tokio::try_join!(mongodb.stop(), redis.stop()).map(drop)
    }
}

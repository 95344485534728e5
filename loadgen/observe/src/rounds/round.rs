//! One round: one build, measured once.
//!
//! A round does a fixed amount of work and counts what it cost. The processor time of the service for each loan is by
//! far the steadiest figure on a machine that others use too; the wall time is measured beside it, for what costs time
//! and no processor. Each round has a process of its own, so that the luck of one start is not a build's.

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use plan::mix::Mix;
use plan::payload::Payloads;
use record::folder::rfc3339;
use record::rank::median;
use record::result::gate::{Arm, Round};
use redis::aio::ConnectionManager;
use snapshot::Snapshot;
use testbed::{
    MongoOptions, MongoServer, RedisOptions, RedisServer, Servers, ServiceOptions, ServiceProcess,
    TestbedError,
};
use time::OffsetDateTime;

use crate::follow::{self, SnapshotError};
use crate::rounds::client::{Done, Mark, Watch, Work, cpu_us};
use crate::stores::{self, StoreError, Stores};

/// Connections of the client.
const CONNECTIONS: usize = 32;
/// Loans before each measurement, which are not counted.
const WARM_UP: u32 = 1_500;
/// Loans whose admission is measured, by a service that does nothing else.
const ADMITTED: u32 = 12_000;
/// Loans of a slice. What is told of a round is the median of its slices, so that a neighbour's short burst of work
/// does not count.
const SLICE: usize = 500;
/// Loans that are measured from the request to MongoDB's confirmation.
const RECORDED: u32 = 4_000;
/// How long the last of them may take.
const RECORDED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is asked whether they are recorded.
const TICK: Duration = Duration::from_millis(20);

/// Why a round could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// A server or the service did not start.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// A store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service does not tell its metrics.
    #[error("the service does not tell its metrics: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The client's connection broke.
    #[error("the service broke a connection: {0}")]
    Client(#[from] std::io::Error),
    /// The system does not tell a process's time.
    #[error("cannot read the processor time of the service: {0}")]
    Clock(#[from] nix::Error),
    /// The loans were not recorded in time.
    #[error("only {recorded} of {sent} loans were recorded in time")]
    Slow {
        /// Loans recorded.
        recorded: u64,
        /// Loans sent.
        sent: u64,
    },
}

impl From<redis::RedisError> for RoundError {
    fn from(error: redis::RedisError) -> Self {
        Self::Store(error.into())
    }
}

impl From<mongodb::error::Error> for RoundError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Redis and mongod, on which all rounds are measured.
pub struct Rounds {
    redis: RedisServer,
    mongodb: MongoServer,
    connection: ConnectionManager,
    client: mongodb::Client,
}

impl Rounds {
    /// Starts both.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start() -> Result<Self, RoundError> {
        let servers = Servers::discover()?;
        let (redis, mongodb) = tokio::try_join!(
            RedisServer::start(&servers, RedisOptions::default()),
            MongoServer::start(&servers, MongoOptions::default()),
        )?;
        let connection = redis::Client::open(redis.url())?
            .get_connection_manager()
            .await?;
        let client = mongodb::Client::with_uri_str(mongodb.uri()).await?;
        Ok(Self {
            redis,
            mongodb,
            connection,
            client,
        })
    }

    /// Versions of Redis and MongoDB, and how Redis syncs. Empty where one does not say.
    pub async fn facts(&self) -> (String, String, String) {
        let stores = Stores::connect(&self.redis.url(), &self.mongodb.uri(), "gate-facts").await;
        let Ok(stores) = stores else {
            return Default::default();
        };
        let redis = stores.redis_facts().await.unwrap_or_default();
        let mongodb = stores.mongodb_version().await.unwrap_or_default();
        (redis.version, mongodb, redis.appendfsync)
    }

    /// Ends both.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(self) -> Result<(), RoundError> {
        tokio::try_join!(self.mongodb.stop(), self.redis.stop())?;
        Ok(())
    }

    /// Measures the service `binary` once, with this environment.
    ///
    /// # Errors
    /// When it does not start or does not finish its work.
    pub async fn measure(
        &self,
        arm: Arm,
        binary: &Path,
        environment: &[(String, String)],
    ) -> Result<Round, RoundError> {
        let now = OffsetDateTime::now_utc();
        let tag = format!("GATE-{:x}", now.unix_timestamp_nanos() / 1000);
        let mut round = Round {
            arm,
            at: rfc3339(now),
            admit_cpu_us: 0.0,
            admit_cpu_ratio: 0.0,
            admit_slices_us: Vec::new(),
            client_slices_us: Vec::new(),
            admit_redis_us: 0.0,
            admit_wall_us: 0.0,
            admit_p50_us: 0.0,
            admit_p99_us: 0.0,
            record_cpu_us: 0.0,
            record_wall_us: 0.0,
            faults: Vec::new(),
        };
        self.admission(&mut round, binary, environment, &tag)
            .await?;
        self.recording(&mut round, binary, environment, &tag)
            .await?;
        Ok(round)
    }

    async fn admission(
        &self,
        round: &mut Round,
        binary: &Path,
        environment: &[(String, String)],
        tag: &str,
    ) -> Result<(), RoundError> {
        let (mut service, database) = self.service(binary, environment, "api", tag).await?;
        let clocks = [clock_of(service.pid())?, clock_of(self.redis.pid())?];
        self.work(&service, tag, 0..WARM_UP, None).await?;
        let watch = Watch {
            clocks,
            slice: SLICE,
        };
        let done = self
            .work(&service, tag, WARM_UP..WARM_UP + ADMITTED, Some(watch))
            .await?;
        let slices = |of: fn(&Mark) -> f64| -> Vec<f64> {
            done.marks
                .windows(2)
                .map(|marks| {
                    let loans = (marks[1].answers - marks[0].answers).max(1) as f64;
                    ((of(&marks[1]) - of(&marks[0])) / loans * 1e3).round() / 1e3
                })
                .collect()
        };
        let middle = |slices: &[f64]| median(slices).unwrap_or_default();
        round.admit_slices_us = slices(|mark| mark.cpu_us[0]);
        round.client_slices_us = slices(|mark| mark.client_us);
        let ratios: Vec<f64> = round
            .admit_slices_us
            .iter()
            .zip(&round.client_slices_us)
            .map(|(service, client)| service / client.max(0.001))
            .collect();
        round.admit_cpu_us = middle(&round.admit_slices_us);
        round.admit_cpu_ratio = middle(&ratios);
        round.admit_redis_us = middle(&slices(|mark| mark.cpu_us[1]));
        round.admit_wall_us = middle(&slices(|mark| mark.wall_us));
        round.admit_p50_us = done.latency.value_at_quantile(0.5) as f64;
        round.admit_p99_us = done.latency.value_at_quantile(0.99) as f64;
        let sent = u64::from(WARM_UP + ADMITTED);
        let counters = settled(&service.url(), |snapshot| {
            snapshot.counters.admitted >= sent
        })
        .await?
        .counters;
        exact(round, "admitted", counters.admitted, sent);
        exact(round, "replayed", counters.replayed, 0);
        exact(round, "refused", done.refused as u64, 0);
        service.kill();
        self.client.database(&database).drop().await?;
        Ok(())
    }

    async fn recording(
        &self,
        round: &mut Round,
        binary: &Path,
        environment: &[(String, String)],
        tag: &str,
    ) -> Result<(), RoundError> {
        let tag = format!("{tag}w");
        let (mut service, database) = self
            .service(binary, environment, "api,worker,persister", &tag)
            .await?;
        let clock = clock_of(service.pid())?;
        self.work(&service, &tag, 0..WARM_UP, None).await?;
        self.recorded(&database, u64::from(WARM_UP)).await?;
        let before_us = cpu_us(clock)?;
        let started = std::time::Instant::now();
        let done = self
            .work(&service, &tag, WARM_UP..WARM_UP + RECORDED, None)
            .await?;
        let sent = u64::from(WARM_UP + RECORDED);
        let recorded = self.recorded(&database, sent).await?;
        let loans = f64::from(RECORDED);
        round.record_wall_us = started.elapsed().as_secs_f64() * 1e6 / loans;
        round.record_cpu_us = (cpu_us(clock)? - before_us) / loans;
        exact(round, "recorded", recorded, sent);
        exact(round, "refused", done.refused as u64, 0);
        service.kill();
        self.client.database(&database).drop().await?;
        Ok(())
    }

    /// A fresh service on an empty Redis and a database of its own.
    async fn service(
        &self,
        binary: &Path,
        environment: &[(String, String)],
        role: &str,
        tag: &str,
    ) -> Result<(ServiceProcess, String), RoundError> {
        let mut connection = self.connection.clone();
        redis::cmd("FLUSHALL")
            .query_async::<()>(&mut connection)
            .await?;
        redis::cmd("FUNCTION")
            .arg("FLUSH")
            .query_async::<()>(&mut connection)
            .await?;
        let database = format!("{tag}-{}", role.len());
        let service = ServiceProcess::start(ServiceOptions {
            binary: Some(binary.to_path_buf()),
            redis_url: self.redis.url(),
            mongodb_uri: self.mongodb.uri(),
            mongodb_database: database.clone(),
            arguments: vec!["--role".to_owned(), role.to_owned()],
            environment: environment.to_vec(),
            ..ServiceOptions::default()
        })
        .await?;
        Ok((service, database))
    }

    /// Sends loans from a thread of its own.
    async fn work(
        &self,
        service: &ServiceProcess,
        tag: &str,
        numbers: std::ops::Range<u32>,
        watch: Option<Watch>,
    ) -> Result<Done, RoundError> {
        let payloads = Payloads::new(1, tag, &Mix::default());
        let work = Work::new(&payloads, numbers, service.address());
        let done = tokio::task::spawn_blocking(move || work.run(CONNECTIONS, watch))
            .await
            .map_err(std::io::Error::other)??;
        Ok(done)
    }

    /// Waits until `sent` loans are recorded; answers how many are.
    async fn recorded(&self, database: &str, sent: u64) -> Result<u64, RoundError> {
        let loans = self
            .client
            .database(database)
            .collection::<mongodb::bson::Document>(stores::LOANS);
        let deadline = tokio::time::Instant::now() + RECORDED_WITHIN;
        loop {
            let recorded = loans.estimated_document_count().await?;
            if recorded >= sent {
                return Ok(recorded);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(RoundError::Slow { recorded, sent });
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

/// The service's metrics once `is` holds, or after a second.
async fn settled(url: &str, is: impl Fn(&Snapshot) -> bool) -> Result<Snapshot, RoundError> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    loop {
        let snapshot = follow::snapshot(url, None).await?;
        if is(&snapshot) || tokio::time::Instant::now() > deadline {
            return Ok(snapshot);
        }
        tokio::time::sleep(TICK).await;
    }
}

fn exact(round: &mut Round, what: &str, counted: u64, truth: u64) {
    if counted != truth {
        round
            .faults
            .push(format!("{counted} loans {what}, and it must be {truth}."));
    }
}

/// The processor time of a process, exact to the nanosecond.
fn clock_of(pid: u32) -> Result<ClockId, RoundError> {
    Ok(clock_getcpuclockid(Pid::from_raw(pid as i32))?)
}

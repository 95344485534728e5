//! The stack under faults: two stores on disks that fail, behind networks that fail, and the instances of the service.
//!
//! The service sees the stores through a proxy each. The checker and the faults reach them directly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use call::Remote;
use hyper::header::AUTHORIZATION;
use hyper::{Method, StatusCode};
use plan::faults::{Fault, Holding, Server, StackPlan, StoreName, Strike, has_api};
use record::cause::with_causes;
use record::clock::RunClock;
use record::history::{Event, History};
use record::struck::Struck;
use snapshot::Counters;
use testbed::proxy::ProxyCounts;
use testbed::{
    Disk, MongoOptions, MongoServer, Proxy, RedisOptions, RedisServer, Servers, ServiceOptions,
    ServiceProcess, Signal, TestbedError,
};
use tokio::sync::{Mutex, RwLock};
use tokio::time::Instant;

use crate::markers::{self, Markers};
use crate::masters::Masters;
use crate::stores::{self, StoreError, Stores, Waits};

mod cluster;
mod version;
mod yesterday;

use cluster::Cluster;

/// The database of the service.
pub const DATABASE: &str = "sluice";
/// The administrator's token of every instance. The stack is private, and gone after its runs.
const ADMIN_TOKEN: &str = "chaos-operator-token";
/// A lasting fault that nothing has run into yet goes on for up to this much longer.
const UNTIL_SEEN_MAX: Duration = Duration::from_secs(5);
/// How long a server may take to end of its own accord.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How long a crash point may take to be reached.
const CRASH_WITHIN: Duration = Duration::from_secs(20);
/// A crash point strikes when it is passed for the time after this many.
const CRASH_PASSES: u32 = 4;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often an instance is stopped until it is caught with work in hand.
const CATCHES_MAX: u32 = 40;
/// How long it stands still until what it holds is told from what the others hold.
const HELD_FOR: Duration = Duration::from_millis(120);
/// How often a healed Redis is asked again when it does not answer.
const HEAL_TRIES: u32 = 20;
/// What is told of an error, characters.
const ERROR_LEN_MAX: usize = 200;
/// How long an instance may take to answer an operator.
const OPERATE_WITHIN: Duration = Duration::from_secs(20);
/// How long Redis may take to answer a fault's command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The stack of one or more runs.
pub struct Field {
    // In the order of dropping: the service goes before what it needs.
    instances: Vec<Mutex<ServiceProcess>>,
    ground: Ground,
    /// `FAILPOINTS` of every start, unless a crash point is armed.
    failpoints: String,
    /// How an instance is started, but for its partitions and its role.
    options: ServiceOptions,
    partitions: u32,
    /// Where the instances listen that take loans.
    pub addresses: Vec<SocketAddr>,
    /// Redis, past the proxy.
    pub redis_url: String,
    /// MongoDB, past the proxy.
    pub mongodb_uri: String,
}

/// The stores.
enum Ground {
    Single(Box<Single>),
    Cluster(Box<Cluster>),
}

/// One Redis and one mongod.
struct Single {
    redis_proxy: Proxy,
    mongodb_proxy: Proxy,
    redis: Mutex<RedisServer>,
    mongodb: Mutex<MongoServer>,
    redis_disk: Disk,
    mongodb_disk: Disk,
}

impl Single {
    async fn start(servers: &Servers, plan: &StackPlan) -> Result<Self, TestbedError> {
        let (redis_disk, mongodb_disk) = (Disk::new()?, Disk::new()?);
        let (redis, mongodb) = tokio::try_join!(
            RedisServer::start(
                servers,
                RedisOptions {
                    append_fsync: plan.appendfsync.clone(),
                    arguments: plan.redis_arguments.clone(),
                    environment: redis_disk.environment(),
                    ..RedisOptions::default()
                },
            ),
            MongoServer::start(
                servers,
                MongoOptions {
                    cache_gb: 0.25,
                    environment: mongodb_disk.environment(),
                    ..MongoOptions::default()
                },
            ),
        )?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self {
            redis_proxy: Proxy::start(local(redis.port())).await?,
            mongodb_proxy: Proxy::start(local(mongodb.port())).await?,
            redis: Mutex::new(redis),
            mongodb: Mutex::new(mongodb),
            redis_disk,
            mongodb_disk,
        })
    }

    fn proxy(&self, store: StoreName) -> &Proxy {
        match store {
            StoreName::Redis => &self.redis_proxy,
            StoreName::Mongo => &self.mongodb_proxy,
        }
    }

    fn disk(&self, store: StoreName) -> &Disk {
        match store {
            StoreName::Redis => &self.redis_disk,
            StoreName::Mongo => &self.mongodb_disk,
        }
    }
}

/// The stack could not be healed: the run cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// A server does not start.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// Redis does not answer.
    #[error("Redis does not answer when all is to be healed")]
    Redis(#[source] StrikeError),
}

/// A fault that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StrikeError {
    /// A server did not do as it was told.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// Redis did not answer a command of a fault, or refused it.
    #[error("Redis does not do a fault's command: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis was silent.
    #[error("Redis is silent on a fault's command")]
    Silent,
    /// A store did not answer the fault's own questions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Loans are on their way that nobody sends.
    #[error("Redis does not become empty, although nobody sends loans")]
    Restless,
    /// The fault is of another kind of stores.
    #[error("these stores do not know this fault")]
    OtherGround,
}

/// What a fault's own code finds out.
#[expect(clippy::struct_field_names, reason = "named as in the fault's report")]
struct Effect {
    took_effect: bool,
    evidence: String,
    wrong: Option<String>,
    needs_clients: bool,
    forgotten: Counters,
    figures: BTreeMap<&'static str, u64>,
}

impl Effect {
    fn new(took_effect: bool, evidence: impl Into<String>) -> Self {
        Self {
            took_effect,
            evidence: evidence.into(),
            wrong: None,
            needs_clients: false,
            forgotten: Counters::default(),
            figures: BTreeMap::new(),
        }
    }

    fn seen_by_clients(mut self) -> Self {
        self.needs_clients = true;
        self
    }

    fn figure(mut self, name: &'static str, value: u64) -> Self {
        self.figures.insert(name, value);
        self
    }
}

impl Field {
    /// Starts a stack as the plan says.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(plan: &StackPlan, binary: Option<PathBuf>) -> Result<Self, TestbedError> {
        let servers = Servers::discover()?;
        let ground = if plan.is_cluster() {
            Ground::Cluster(Box::new(Cluster::start(&servers, plan).await?))
        } else {
            Ground::Single(Box::new(Single::start(&servers, plan).await?))
        };
        // What the service is told, and what the checker and the faults use.
        let (told, redis_url, mongodb_uri) = match &ground {
            Ground::Single(single) => (
                (
                    format!("redis://{}/0", single.redis_proxy.address()),
                    format!("mongodb://{}/", single.mongodb_proxy.address()),
                ),
                single.redis.lock().await.url(),
                single.mongodb.lock().await.uri(),
            ),
            Ground::Cluster(cluster) => {
                let (redis_url, mongodb_uri) = cluster.urls().await;
                (
                    (redis_url.clone(), mongodb_uri.clone()),
                    redis_url,
                    mongodb_uri,
                )
            }
        };
        let mut arguments = plan.service_arguments.clone();
        arguments.push(format!("--admin-token={ADMIN_TOKEN}"));
        if plan.is_cluster() {
            arguments.push("--redis-cluster".to_owned());
        }
        let options = ServiceOptions {
            binary,
            redis_url: told.0,
            mongodb_uri: told.1,
            mongodb_database: DATABASE.to_owned(),
            arguments,
            environment: environment(&plan.failpoints),
            ..ServiceOptions::default()
        };
        let (mut instances, mut addresses) = (Vec::new(), Vec::new());
        for number in 0..plan.instances {
            let role = plan.roles.get(number);
            let mut options = options.clone();
            let partitions = format!("--partitions={}", plan.partitions);
            options.arguments.push(partitions);
            options
                .arguments
                .extend(role.map(|role| format!("--role={role}")));
            let instance = ServiceProcess::start(options).await?;
            if role.is_none_or(|role| has_api(role)) {
                addresses.push(instance.address());
            }
            instances.push(instance);
        }
        Ok(Self {
            addresses,
            options,
            partitions: plan.partitions,
            instances: instances.into_iter().map(Mutex::new).collect(),
            ground,
            redis_url,
            mongodb_uri,
            failpoints: plan.failpoints.clone(),
        })
    }

    /// The dashboard of the first instance.
    pub fn dashboard_link(&self) -> String {
        markers::dashboard_link(&self.url(), Some(ADMIN_TOKEN))
    }

    /// Tells the first instance where a run is; what it misses while it is away is not told again.
    pub fn markers(&self, run: &str) -> Markers {
        Markers::start(
            &self.url(),
            Some(ADMIN_TOKEN.to_owned()),
            run,
            run,
            Vec::new(),
        )
    }

    fn url(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// Strikes at its time, lasts, and heals. Every request of the clients passes `door`. A fault that could not be made is one without effect.
    pub async fn strike(
        &self,
        strike: &Strike,
        clock: RunClock,
        history: &History,
        markers: &Markers,
        door: &RwLock<()>,
    ) -> Struck {
        tokio::time::sleep(clock.until(strike.at)).await;
        let words = strike.fault.words();
        let mut hit = clock.now();
        history.fault(Event::Strike, &words);
        markers.fault(&words);
        let effect = self
            .make(&strike.fault, clock, &mut hit, door)
            .await
            .unwrap_or_else(|error| Effect::new(false, first_words(&with_causes(&error))));
        let over = clock.now();
        history.fault(Event::Over, &words);
        Struck {
            words,
            planned: strike.at,
            hit,
            over,
            took_effect: effect.took_effect,
            evidence: effect.evidence,
            wrong: effect.wrong,
            needs_clients: effect.needs_clients,
            forgotten: effect.forgotten,
            figures: effect.figures,
        }
    }

    /// Everything runs, passes and flushes again.
    ///
    /// # Errors
    /// When a server cannot be started, or Redis does not answer.
    pub async fn heal(&self) -> Result<(), HealError> {
        match &self.ground {
            Ground::Single(single) => self.heal_single(single).await?,
            Ground::Cluster(cluster) => cluster.heal().await?,
        }
        for instance in &self.instances {
            let mut instance = instance.lock().await;
            if instance.pid() == 0 || instance.try_wait()?.is_some() {
                instance.restart_with(environment(&self.failpoints)).await?;
            }
        }
        Ok(())
    }

    async fn heal_single(&self, single: &Single) -> Result<(), HealError> {
        single.redis_proxy.clear();
        single.mongodb_proxy.clear();
        single.redis_disk.heal()?;
        single.mongodb_disk.heal()?;
        let mut redis = single.redis.lock().await;
        if redis.pid() == 0 || redis.try_wait()?.is_some() {
            redis.restart().await?;
        }
        drop(redis);
        // A fault that was cut short may have left it.
        let limit = ["CONFIG", "SET", "maxmemory", "0"];
        let mut healed = self.command::<redis::Value>(&limit).await;
        for _ in 0..HEAL_TRIES {
            if healed.is_ok() {
                break;
            }
            tokio::time::sleep(LOOK_EVERY * 10).await;
            healed = self.command(&limit).await;
        }
        healed.map_err(HealError::Redis)?;
        let mut mongodb = single.mongodb.lock().await;
        if mongodb.pid() == 0 || mongodb.try_wait()?.is_some() {
            mongodb.restart().await?;
        }
        Ok(())
    }

    /// What the instances have written to their logs.
    pub async fn logs(&self) -> Vec<String> {
        let mut logs = Vec::new();
        for instance in &self.instances {
            logs.push(instance.lock().await.log());
        }
        logs
    }

    /// The one Redis and the one mongod: the plan was checked to have these.
    fn single(&self) -> Result<&Single, StrikeError> {
        match &self.ground {
            Ground::Single(single) => Ok(single),
            Ground::Cluster(_) => Err(StrikeError::OtherGround),
        }
    }

    async fn make(
        &self,
        fault: &Fault,
        clock: RunClock,
        hit: &mut Duration,
        door: &RwLock<()>,
    ) -> Result<Effect, StrikeError> {
        match fault {
            Fault::Cluster(fault) => match &self.ground {
                Ground::Cluster(cluster) => cluster.make(*fault, &self.addresses, clock, hit).await,
                Ground::Single(_) => Err(StrikeError::OtherGround),
            },
            Fault::Kill { server, lasts } => self.kill(*server, *lasts, clock, hit).await,
            Fault::Stop { server, lasts } => self.stop(*server, *lasts, clock, hit).await,
            Fault::StopHolding {
                instance,
                what,
                lasts,
            } => {
                self.stop_holding(*instance, *what, *lasts, clock, hit)
                    .await
            }
            Fault::Terminate { instance, lasts } => {
                let mut service = self.instances[*instance].lock().await;
                *hit = clock.now();
                let effect = terminate(&mut service).await?;
                tokio::time::sleep(*lasts).await;
                service.restart_with(environment(&self.failpoints)).await?;
                Ok(effect)
            }
            Fault::RollingRestart => {
                let mut evidence = Vec::new();
                let mut wrong = None;
                for instance in &self.instances {
                    let mut service = instance.lock().await;
                    let effect = terminate(&mut service).await?;
                    service.restart_with(environment(&self.failpoints)).await?;
                    evidence.push(effect.evidence);
                    wrong = wrong.or(effect.wrong);
                }
                let mut effect = Effect::new(true, evidence.join("; "));
                effect.wrong = wrong;
                Ok(effect)
            }
            Fault::CrashPoints { instance, points } => {
                self.crash(*instance, points, clock, hit).await
            }
            Fault::SlowDisk {
                store,
                delay,
                lasts,
            } => {
                let disk = self.single()?.disk(*store);
                let before = disk.counts().delayed;
                disk.slow(*delay)?;
                let slowed = || disk.counts().delayed - before;
                lasting(*lasts, || slowed() > 0).await;
                disk.heal()?;
                Ok(
                    Effect::new(slowed() > 0, format!("{} flushes delayed", slowed()))
                        .figure("flushes_delayed", slowed()),
                )
            }
            Fault::FullDisk { store, lasts } => {
                self.single()?.disk(*store).fill()?;
                self.ends_by_itself(*store, *lasts).await
            }
            Fault::BrokenDisk { store, lasts } => {
                self.single()?.disk(*store).break_syncs()?;
                self.ends_by_itself(*store, *lasts).await
            }
            Fault::BlackHole { store, lasts } => {
                let proxy = self.single()?.proxy(*store);
                let grown = growth(proxy, |counts| counts.held);
                proxy.black_hole();
                lasting(*lasts, || grown() > 0).await;
                let held = grown();
                proxy.clear();
                Ok(Effect::new(held > 0, format!("{held} chunks held back")).figure("held", held))
            }
            Fault::SlowNetwork {
                store,
                delay,
                jitter,
                lasts,
            } => {
                let proxy = self.single()?.proxy(*store);
                let grown = growth(proxy, |counts| counts.delayed);
                proxy.slow(*delay, *jitter);
                lasting(*lasts, || grown() > 0).await;
                proxy.clear();
                Ok(
                    Effect::new(grown() > 0, format!("{} chunks delayed", grown()))
                        .figure("chunks_delayed", grown()),
                )
            }
            Fault::Reset { store } => {
                let proxy = self.single()?.proxy(*store);
                let grown = growth(proxy, |counts| counts.resets);
                // There may be none for a moment, while the server is away.
                lasting(Duration::ZERO, || {
                    proxy.reset();
                    grown() > 0
                })
                .await;
                Ok(
                    Effect::new(grown() > 0, format!("{} connections reset", grown()))
                        .figure("resets", grown()),
                )
            }
            Fault::HalfOpen { store } => {
                let proxy = self.single()?.proxy(*store);
                let forgotten = growth(proxy, |counts| counts.forgotten);
                let swallowed = growth(proxy, |counts| counts.swallowed_bytes);
                // There may be none for a moment, while the server is away.
                lasting(Duration::ZERO, || {
                    if forgotten() == 0 {
                        proxy.half_open();
                    }
                    // A connection may swallow a byte before it is counted.
                    swallowed() > 0 && forgotten() > 0
                })
                .await;
                let words = format!(
                    "{} connections forgotten, {} bytes vanished in them",
                    forgotten(),
                    swallowed()
                );
                Ok(Effect::new(swallowed() > 0, words).figure("forgotten", forgotten()))
            }
            Fault::FullMemory { lasts } => self.fill_memory(*lasts, clock, hit).await,
            Fault::AofRewrite => {
                let redis = self.single()?.redis.lock().await;
                *hit = clock.now();
                let before = self.info("persistence", "aof_rewrites").await?;
                // Another rewrite may be under way: then this one is scheduled behind it.
                let _: Result<redis::Value, _> = self.command(&["BGREWRITEAOF"]).await;
                let mut after = before;
                let begun = Instant::now();
                while begun.elapsed() < COMMAND_TIMEOUT {
                    after = self.info("persistence", "aof_rewrites").await?;
                    let busy = self.info("persistence", "aof_rewrite_in_progress").await?
                        + self.info("persistence", "aof_rewrite_scheduled").await?;
                    if busy == 0 && after > before {
                        break;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                drop(redis);
                let rewrites = after - before;
                Ok(
                    Effect::new(rewrites > 0, format!("{rewrites} rewrites finished"))
                        .figure("aof_rewrites", rewrites),
                )
            }
            Fault::FunctionFlush => self.flush_functions(clock, hit).await,
            Fault::SpoilLine => self.spoil_line(clock, hit).await,
            Fault::OlderRedis { lasts } => self.put_older_back(*lasts, clock, hit, door).await,
            Fault::SecondRedis { instance } => self.second_redis(*instance, clock, hit, door).await,
            Fault::OtherPartitions => self.start_with_other_partitions(clock, hit).await,
            Fault::OtherFunctions { instance, lasts } => {
                self.run_other_functions(*instance, *lasts, clock, hit)
                    .await
            }
            Fault::RefuseRecords { lasts } => self.refuse_records(*lasts, clock, hit).await,
            Fault::ScriptFlush => {
                let redis = self.single()?.redis.lock().await;
                *hit = clock.now();
                let digest: String = self.command(&["SCRIPT", "LOAD", "return 1"]).await?;
                let _: redis::Value = self.command(&["SCRIPT", "FLUSH"]).await?;
                let left: Vec<u64> = self.command(&["SCRIPT", "EXISTS", &digest]).await?;
                drop(redis);
                Ok(Effect::new(left == [0], "a script that was there is gone"))
            }
            Fault::Pause { lasts } => {
                let paused = self.operate(0, Method::POST, "/api/control/pause").await;
                tokio::time::sleep(*lasts).await;
                let other = self.addresses.len() - 1;
                // Nothing must stay paused: asked until it is done.
                let mut resumed = self
                    .operate(other, Method::POST, "/api/control/resume")
                    .await;
                let begun = Instant::now();
                while resumed.is_err() && begun.elapsed() < COMMAND_TIMEOUT {
                    tokio::time::sleep(LOOK_EVERY).await;
                    resumed = self
                        .operate(other, Method::POST, "/api/control/resume")
                        .await;
                }
                let mut effect = Effect::new(
                    paused.is_ok(),
                    format!("pause: {}, resume: {}", told(&paused), told(&resumed)),
                )
                .seen_by_clients();
                effect.wrong = resumed.err();
                Ok(effect)
            }
            Fault::Retry => {
                let other = self.addresses.len() - 1;
                let path = "/api/loans/retry";
                let (one, two) = tokio::join!(
                    self.operate(0, Method::PATCH, path),
                    self.operate(other, Method::PATCH, path)
                );
                let requeued: u64 = [&one, &two]
                    .into_iter()
                    .flatten()
                    .filter_map(|answer| {
                        serde_json::from_str::<serde_json::Value>(answer).ok()?["requeued"].as_u64()
                    })
                    .sum();
                let words = format!("one call: {}, the other: {}", told(&one), told(&two));
                // While Redis is away 503 is the right answer, and an instance that was killed gives none. The plan says
                // how many must be queued in all, and how often both calls must have been answered.
                let is_answered = |answer: &Result<String, String>| {
                    answer.is_ok() || told(answer).starts_with("503 ")
                };
                let took_effect = is_answered(&one) || is_answered(&two);
                let raced = u64::from(one.is_ok() && two.is_ok());
                Ok(Effect::new(took_effect, words)
                    .figure("requeued", requeued)
                    .figure("retries_at_once", raced))
            }
        }
    }

    async fn kill(
        &self,
        server: Server,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        match server {
            Server::Redis => {
                let mut redis = self.single()?.redis.lock().await;
                let pid = redis.pid();
                *hit = clock.now();
                redis.kill();
                tokio::time::sleep(lasts).await;
                redis.restart().await?;
                let words = format!("process {pid} killed, {} took its place", redis.pid());
                Ok(Effect::new(pid != 0, words).seen_by_clients())
            }
            Server::Mongo => {
                let mut mongodb = self.single()?.mongodb.lock().await;
                let pid = mongodb.pid();
                *hit = clock.now();
                mongodb.kill();
                tokio::time::sleep(lasts).await;
                let waiting = self.waiting(&[Waits::Results]).await.unwrap_or_default();
                mongodb.restart().await?;
                let words = format!(
                    "process {pid} killed, {} took its place; {waiting} results waited in Redis",
                    mongodb.pid()
                );
                Ok(Effect::new(pid != 0, words).figure("results_waiting", waiting))
            }
            Server::Service(instance) => {
                let mut service = self.instances[instance].lock().await;
                let pid = service.pid();
                let at_hand = self
                    .waiting(&[Waits::Loans, Waits::Results])
                    .await
                    .unwrap_or_default();
                *hit = clock.now();
                service.kill();
                tokio::time::sleep(lasts).await;
                service.restart_with(environment(&self.failpoints)).await?;
                let words = format!(
                    "process {pid} killed with {at_hand} loans on their way, {} took its place",
                    service.pid()
                );
                Ok(Effect::new(pid != 0, words).figure("at_hand_when_killed", at_hand))
            }
        }
    }

    async fn stop(
        &self,
        server: Server,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        /// Stops `$server`, sees that it stands, and lets it go on.
        macro_rules! stand_still {
            ($server:expr) => {{
                let server = $server.lock().await;
                *hit = clock.now();
                server.signal(Signal::SIGSTOP)?;
                let stands = eventually(|| is_stopped(server.pid())).await;
                tokio::time::sleep(lasts).await;
                server.signal(Signal::SIGCONT)?;
                (stands, server.pid())
            }};
        }
        let (stands, pid) = match server {
            Server::Redis => stand_still!(self.single()?.redis),
            Server::Mongo => stand_still!(self.single()?.mongodb),
            Server::Service(instance) => stand_still!(self.instances[instance]),
        };
        Ok(Effect::new(stands, format!("process {pid} stood still")))
    }

    /// Stops an instance again and again until it is caught with work in hand.
    async fn stop_holding(
        &self,
        instance: usize,
        what: Holding,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let service = self.instances[instance].lock().await;
        let waits = match what {
            Holding::Loans => Waits::Loans,
            Holding::Results => Waits::Results,
        };
        let mut held = 0;
        for _ in 0..CATCHES_MAX {
            *hit = clock.now();
            service.signal(Signal::SIGSTOP)?;
            // What nobody has touched for so long is in the hands of the one that stands still.
            tokio::time::sleep(HELD_FOR).await;
            // Redis may be away for a moment, by another fault.
            held = self.in_hand(waits, HELD_FOR / 2).await.unwrap_or_default();
            if held > 0 {
                break;
            }
            service.signal(Signal::SIGCONT)?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::time::sleep(lasts).await;
        service.signal(Signal::SIGCONT)?;
        let words = format!("it stood still with {held} {} in hand", what.name());
        Ok(Effect::new(held > 0, words).figure("held_while_stopped", held))
    }

    async fn crash(
        &self,
        instance: usize,
        points: &[String],
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let mut service = self.instances[instance].lock().await;
        *hit = clock.now();
        let mut missed = Vec::new();
        for point in points {
            let armed = format!("{point}={CRASH_PASSES}*off->return");
            let started = service.restart_with(environment(&armed)).await;
            let status = match started {
                Ok(()) => service.wait(CRASH_WITHIN).await.ok(),
                // It found so much to do that it died before it said that it was ready.
                Err(TestbedError::EarlyExit { status, .. }) => Some(status),
                Err(error) => return Err(error.into()),
            };
            if status.and_then(|status| status.signal()) != Some(Signal::SIGABRT as i32) {
                missed.push(point.as_str());
            }
        }
        service.restart_with(environment(&self.failpoints)).await?;
        let died = points.len() - missed.len();
        let words = if missed.is_empty() {
            format!("it died at each of the {died} points")
        } else {
            format!("it did not die at {}", missed.join(", "))
        };
        Ok(Effect::new(missed.is_empty(), words).figure("crashes", died as u64))
    }

    /// Waits until a store ends by itself on its bad disk, heals the disk and starts it again.
    async fn ends_by_itself(
        &self,
        store: StoreName,
        lasts: Duration,
    ) -> Result<Effect, StrikeError> {
        /// Waits for the end, heals the disk and starts `$server` again, without letting go of it in between.
        macro_rules! ends {
            ($server:expr, $disk:expr) => {{
                let mut server = $server.lock().await;
                let status = server.wait(END_WITHIN).await;
                tokio::time::sleep(lasts).await;
                let failed = $disk.counts().failed;
                $disk.heal()?;
                server.restart().await?;
                (status, failed)
            }};
        }
        let effect_on_clients = store == StoreName::Redis;
        let (status, failed) = match store {
            StoreName::Redis => ends!(self.single()?.redis, self.single()?.redis_disk),
            StoreName::Mongo => ends!(self.single()?.mongodb, self.single()?.mongodb_disk),
        };
        let mut effect = match status {
            Ok(status) => Effect::new(
                failed > 0,
                format!("{failed} calls failed; it ended with {status}"),
            ),
            Err(_) => Effect::new(false, format!("{failed} calls failed; it did not end")),
        };
        effect.needs_clients = effect_on_clients;
        Ok(effect.figure("disk_errors", failed))
    }

    async fn fill_memory(
        &self,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let redis = self.single()?.redis.lock().await;
        let limit: Vec<String> = self.command(&["CONFIG", "GET", "maxmemory"]).await?;
        let refusals = self.out_of_memory_errors().await?;
        *hit = clock.now();
        // Below what is used: nothing is evicted, and what adds is refused.
        let _: redis::Value = self.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await?;
        tokio::time::sleep(lasts).await;
        let begun = Instant::now();
        while self.out_of_memory_errors().await? == refusals && begun.elapsed() < UNTIL_SEEN_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let left = self.waiting(&[Waits::Loans, Waits::Results]).await?;
        let refusals = self.out_of_memory_errors().await? - refusals;
        let limit = limit.get(1).map_or("0", String::as_str);
        let _: redis::Value = self.command(&["CONFIG", "SET", "maxmemory", limit]).await?;
        drop(redis);
        let words = format!(
            "{refusals} calls refused for memory; {left} loans were left to drain at its end"
        );
        Ok(Effect::new(refusals > 0, words)
            .seen_by_clients()
            .figure("refused_for_memory", refusals)
            .figure("left_while_full", left))
    }

    async fn flush_functions(
        &self,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let redis = self.single()?.redis.lock().await;
        let list = ["FUNCTION", "LIST"];
        let before: Vec<redis::Value> = self.command(&list).await?;
        *hit = clock.now();
        let _: redis::Value = self.command(&["FUNCTION", "FLUSH"]).await?;
        let begun = Instant::now();
        let mut is_back = false;
        while !is_back && begun.elapsed() < COMMAND_TIMEOUT {
            let now: Vec<redis::Value> = self.command(&list).await?;
            is_back = !now.is_empty();
        }
        drop(redis);
        let mut effect = Effect::new(
            !before.is_empty(),
            format!(
                "{} libraries dropped, back after {} ms",
                before.len(),
                begun.elapsed().as_millis()
            ),
        );
        if !is_back {
            effect.wrong = Some("the service did not load its functions again".to_owned());
        }
        Ok(effect.figure("functions_flushed", 1))
    }

    async fn spoil_line(&self, clock: RunClock, hit: &mut Duration) -> Result<Effect, StrikeError> {
        let redis = self.single()?.redis.lock().await;
        let before = self
            .ask(async |redis| stores::places_set_aside(redis).await)
            .await?;
        *hit = clock.now();
        let put = self
            .ask(async |redis| stores::spoil_line(redis).await)
            .await?;
        let begun = Instant::now();
        let mut aside = 0;
        while aside < put && begun.elapsed() < COMMAND_TIMEOUT {
            aside = self
                .ask(async |redis| stores::places_set_aside(redis).await)
                .await?
                - before;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        drop(redis);
        let mut effect = Effect::new(put > 0, format!("{put} put there, {aside} stand aside"));
        if aside < put {
            effect.wrong = Some("the line did not go on past it".to_owned());
        }
        Ok(effect.figure("set_aside", aside))
    }

    /// Some loans are refused by MongoDB for good: they become failures of a category of their own, and that is told.
    async fn refuse_records(
        &self,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let stores = self.stores().await?;
        let before = stores.refused_count().await?;
        *hit = clock.now();
        stores.refuse_loans(true).await?;
        tokio::time::sleep(lasts).await;
        let begun = Instant::now();
        let mut refused = stores.refused_count().await? - before;
        while refused == 0 && begun.elapsed() < UNTIL_SEEN_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            refused = stores.refused_count().await? - before;
        }
        stores.refuse_loans(false).await?;
        // The log tells of the first ones only, the counters of all.
        let is_logged = self
            .logs()
            .await
            .iter()
            .any(|log| log.contains("MongoDB refuses a record for good"));
        let is_listed = self
            .operate(0, Method::GET, "/api/errors?limit=100")
            .await
            .is_ok_and(|errors| errors.contains("\"refused\""));
        let words = format!("{refused} loans became failures that say so");
        let mut effect = Effect::new(refused > 0, words).figure("refused_records", refused);
        if refused > 0 && !(is_logged && is_listed) {
            effect.wrong = Some(format!(
                "of {refused} loans that MongoDB refused not all is told: in the log {is_logged}, among the errors {is_listed}"
            ));
        }
        Ok(effect)
    }

    /// An operator's call to an instance. Its answer, or why there is none.
    async fn operate(&self, instance: usize, method: Method, path: &str) -> Result<String, String> {
        let url = format!("http://{}", self.addresses[instance]);
        let called = async {
            Remote::at(&url)?
                .with_header(AUTHORIZATION, &format!("Bearer {ADMIN_TOKEN}"))?
                .within(OPERATE_WITHIN)
                .call(method, path, Bytes::from_static(b"{}"))
                .await
        };
        let answer = called.await.map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status == StatusCode::OK {
            Ok(body)
        } else {
            Err(format!("{} {body}", answer.status.as_u16()))
        }
    }

    async fn out_of_memory_errors(&self) -> Result<u64, StrikeError> {
        let stats: String = self.command(&["INFO", "errorstats"]).await?;
        Ok(stats
            .lines()
            .find_map(|line| line.strip_prefix("errorstat_OOM:count="))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0))
    }

    async fn info(&self, section: &str, name: &str) -> Result<u64, StrikeError> {
        let info: String = self.command(&["INFO", section]).await?;
        Ok(info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0))
    }

    /// Both stores, past the proxies.
    async fn stores(&self) -> Result<Stores, StoreError> {
        Stores::connect(&self.redis_url, &self.mongodb_uri, DATABASE).await
    }

    /// What waits in Redis.
    async fn waiting(&self, what: &[Waits]) -> Result<u64, StrikeError> {
        within(async { stores::waiting(&self.masters().await?, what).await }).await
    }

    /// What has been in the hands of someone for longer than `idle`.
    async fn in_hand(&self, what: Waits, idle: Duration) -> Result<u64, StrikeError> {
        within(async { stores::in_hand(&self.masters().await?, what, idle).await }).await
    }

    /// Redis past the proxy, over new connections.
    async fn masters(&self) -> redis::RedisResult<Masters> {
        Masters::connect(&self.redis_url).await
    }

    /// One command to Redis, past the proxy.
    async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, StrikeError> {
        self.ask(async |connection| {
            let mut command = redis::cmd(words[0]);
            for word in &words[1..] {
                command.arg(*word);
            }
            command.query_async(connection).await
        })
        .await
    }

    /// Asks Redis on a connection of its own.
    async fn ask<T>(
        &self,
        what: impl AsyncFnOnce(&mut redis::aio::MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, StrikeError> {
        within(async {
            let mut connection = redis::Client::open(self.redis_url.as_str())?
                .get_multiplexed_async_connection_with_config(
                    // The driver's own time-out is half a second, less than a slow flush takes.
                    &redis::AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(COMMAND_TIMEOUT))
                        .set_response_timeout(Some(COMMAND_TIMEOUT)),
                )
                .await?;
            what(&mut connection).await
        })
        .await
    }
}

/// What Redis answers, if it does within bounds.
async fn within<T>(ask: impl Future<Output = redis::RedisResult<T>>) -> Result<T, StrikeError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, ask).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StrikeError::Silent),
    }
}

/// The environment of an instance: few words in its log, and its crash points.
fn environment(failpoints: &str) -> Vec<(String, String)> {
    [("SLUICE_LOG_LEVEL", "warn"), ("FAILPOINTS", failpoints)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

async fn terminate(service: &mut ServiceProcess) -> Result<Effect, StrikeError> {
    if service.pid() == 0 || service.try_wait()?.is_some() {
        return Ok(Effect::new(false, "it was not running"));
    }
    let begun = Instant::now();
    let status = service.terminate().await?;
    let mut effect = Effect::new(
        true,
        format!(
            "it drained and ended with {status} after {} ms",
            begun.elapsed().as_millis()
        ),
    );
    if status.code() != Some(0) {
        effect.wrong = Some(format!("SIGTERM ended it with {status}, not with code 0"));
    }
    Ok(effect)
}

fn told(answer: &Result<String, String>) -> &str {
    match answer {
        Ok(text) | Err(text) => text,
    }
}

/// The beginning of an error: that of a server that did not start ends with its whole log.
fn first_words(error: &str) -> String {
    error
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(ERROR_LEN_MAX)
        .collect()
}

/// How much a count of a proxy has grown since now.
fn growth<'a>(proxy: &'a Proxy, of: impl Fn(ProxyCounts) -> u64 + 'a) -> impl Fn() -> u64 + 'a {
    let before = of(proxy.counts());
    move || of(proxy.counts()) - before
}

/// Waits for `lasts`, and then until something has run into the fault, within bounds.
async fn lasting(lasts: Duration, is_seen: impl Fn() -> bool) {
    tokio::time::sleep(lasts).await;
    let begun = Instant::now();
    while !is_seen() && begun.elapsed() < UNTIL_SEEN_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether `holds` comes true within a second.
async fn eventually(holds: impl Fn() -> bool) -> bool {
    for _ in 0..100 {
        if holds() {
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// Whether the process stands still, by the system's word.
fn is_stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

//! A chaos scenario: its file, and the mixed faults that a seed draws.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::file::{
    NOT_PLAIN, ScenarioError, checked, duration, forbidden_argument, is_of_a_run, is_plain,
    text_of, unreadable,
};
use crate::mix::Mix;
use crate::phase::Phase;
use crate::random::mix64;
use crate::schedule::Schedule;

/// One run under faults, as its file describes it. See `scenarios/chaos/`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Short name: `a-z 0-9 -`.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The row of the fault matrix.
    pub row: String,
    /// What is tried, in a sentence.
    pub description: String,
    /// Seed of the schedule, of the payloads and of drawn faults.
    #[serde(default = "one")]
    pub seed: u64,
    /// Left out of the short set that the tests run.
    #[serde(default)]
    pub long: bool,
    /// What is sent.
    pub load: Load,
    /// What it is sent to.
    #[serde(default)]
    pub stack: StackPlan,
    /// What goes wrong.
    #[serde(default, rename = "fault")]
    pub faults: Vec<FaultSpec>,
    /// Faults that the seed draws, in place of a list.
    pub mixed: Option<Mixed>,
    /// What must be seen; without it the run is void.
    #[serde(default)]
    pub expect: Expect,
    /// The faults in order, checked.
    #[serde(skip)]
    pub strikes: Vec<Strike>,
}

/// What is sent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Arrivals per second, in random gaps.
    pub rate: f64,
    /// How long.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub lasts: Duration,
    /// While a fault is under way the load goes on beyond `lasts`, up to this long in all; no longer than `lasts` when 0.
    #[serde(default, deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub lasts_at_most: Duration,
    /// Whether every loan is sent once more as it was, after the faults and when all is recorded.
    #[serde(default)]
    pub sends_again: bool,
    /// After this long without an answer a client gives a request up and sends it again.
    #[serde(default = "two_seconds", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// How long after the load and the faults clients go on sending what has no definite answer.
    #[serde(default = "half_a_minute", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// Until when Redis must be empty, after the last answer.
    #[serde(default = "half_a_minute", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
    /// Every how many loans one is sent by several clients at once; 0 for none.
    #[serde(default)]
    pub herd_every: u32,
    /// How many clients send it then.
    #[serde(default = "eight")]
    pub herd: u32,
    /// What is sent, by kind.
    #[serde(default)]
    pub mix: Mix,
}

/// What it is sent to.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StackPlan {
    /// Instances of the service.
    pub instances: usize,
    /// `single`, or `cluster:3+3` for a Redis Cluster of three masters and three replicas beside a replica set of three
    /// mongods.
    pub redis: String,
    /// Partitions of the queue.
    pub partitions: u32,
    /// Whether the replicas of a cluster take over by themselves.
    pub fails_over: bool,
    /// `appendfsync` of Redis.
    pub appendfsync: String,
    /// Further arguments of Redis.
    pub redis_arguments: Vec<String>,
    /// Further arguments of every instance.
    pub service_arguments: Vec<String>,
    /// What each instance does, as `--role` takes it; everything when there are none. Clients send to those with `api`.
    pub roles: Vec<String>,
    /// `FAILPOINTS` of every instance.
    pub failpoints: String,
}

/// MongoDB refuses every loan whose amount is a multiple of this, while [`Fault::RefuseRecords`] lasts. Hundredths.
pub const REFUSED_AMOUNT_MINOR: i64 = 7;

/// The layout of one Redis.
const SINGLE: &str = "single";

impl StackPlan {
    /// Whether it is a Redis Cluster beside a replica set.
    pub fn is_cluster(&self) -> bool {
        self.redis != SINGLE
    }

    /// How many shards the cluster has; none without a cluster.
    fn shards(&self) -> u64 {
        let masters = self.redis.strip_prefix("cluster:");
        let masters = masters.and_then(|counts| counts.split('+').next());
        masters
            .and_then(|masters| masters.parse().ok())
            .unwrap_or(0)
    }
}

impl Default for StackPlan {
    fn default() -> Self {
        Self {
            instances: 1,
            redis: SINGLE.to_owned(),
            partitions: 1,
            fails_over: false,
            appendfsync: "always".to_owned(),
            redis_arguments: Vec::new(),
            service_arguments: Vec::new(),
            roles: Vec::new(),
            failpoints: String::new(),
        }
    }
}

/// Faults that the seed draws.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixed {
    /// How many in one run.
    pub faults: usize,
    /// The shortest that a lasting one lasts.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub shortest: Duration,
    /// The longest.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub longest: Duration,
    /// What is drawn from: `kind` or `kind target`.
    pub menu: Vec<String>,
}

/// What must be seen.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// What the checker must report: nothing wrong, or the named fault where the rig proves itself.
    pub finds: Finds,
    /// Figures that must reach these; see `Evidence` for their names.
    pub at_least: BTreeMap<String, u64>,
}

/// What the checker must report.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finds {
    /// Nothing wrong.
    #[default]
    Nothing,
    /// Loans that were acknowledged and are gone.
    Lost,
    /// Loans that were taken or recorded twice.
    Duplicated,
    /// Counters that disagree with the records.
    Counters,
    /// Loans that never leave Redis.
    Stuck,
    /// Loans that were acknowledged and are gone, and the service did not say so.
    Undeclared,
}

impl Finds {
    /// The name in scenario files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Counters => "counters",
            Self::Stuck => "stuck",
            Self::Undeclared => "undeclared",
        }
    }
}

/// The most faults of one run.
const STRIKES_MAX: usize = 1_000;
/// The longest that a fault may last, or hold anything up.
const LASTS_MAX: Duration = Duration::from_secs(600);
/// The most clients that send one loan at once.
const HERD_MAX: u32 = 1_000;

/// A fault as the file states it. Which fields it needs depends on `kind`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// When, after the start of the load.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// What.
    #[schemars(with = "String")]
    pub kind: Spanned<String>,
    /// Whom: `redis`, `mongodb`, or `service` with an `instance`.
    pub target: Option<String>,
    /// Which instance, 0 first.
    #[serde(default)]
    pub instance: usize,
    /// Which shard of a cluster, 0 first.
    #[serde(default)]
    pub shard: usize,
    /// How long.
    #[serde(default, deserialize_with = "some_duration")]
    #[schemars(with = "Option<String>")]
    pub lasts: Option<Duration>,
    /// How much later things come.
    #[serde(default, deserialize_with = "some_duration")]
    #[schemars(with = "Option<String>")]
    pub delay: Option<Duration>,
    /// How much later still, at most.
    #[serde(default, deserialize_with = "some_duration")]
    #[schemars(with = "Option<String>")]
    pub jitter: Option<Duration>,
    /// Crash points, one after the other.
    #[serde(default)]
    pub points: Vec<String>,
    /// How often the fault strikes in all.
    #[serde(default = "one_time")]
    pub times: u32,
    /// From one strike to the next.
    #[serde(default, deserialize_with = "some_duration")]
    #[schemars(with = "Option<String>")]
    pub every: Option<Duration>,
}

/// A server that a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// Redis.
    Redis,
    /// mongod.
    Mongo,
    /// An instance of the service.
    Service(usize),
}

impl Server {
    /// Its name in words.
    pub fn name(self) -> String {
        match self {
            Self::Redis => "Redis".to_owned(),
            Self::Mongo => "mongod".to_owned(),
            Self::Service(instance) => format!("service {}", instance + 1),
        }
    }
}

/// One of the two stores: faults of disks and networks hit these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreName {
    /// Redis.
    Redis,
    /// mongod.
    Mongo,
}

impl StoreName {
    /// Its name in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Mongo => "mongod",
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it with the variant")]
pub enum Fault {
    /// `kill -9`, and a start after a while.
    Kill { server: Server, lasts: Duration },
    /// SIGSTOP, and SIGCONT after a while.
    Stop { server: Server, lasts: Duration },
    /// SIGSTOP of an instance while it holds loans or results, and SIGCONT after a while.
    StopHolding {
        instance: usize,
        what: Holding,
        lasts: Duration,
    },
    /// SIGTERM: drains and ends; a start after a while.
    Terminate { instance: usize, lasts: Duration },
    /// Every instance in turn: SIGTERM, then a start.
    RollingRestart,
    /// The service dies at each of these points, one after the other.
    CrashPoints {
        instance: usize,
        points: Vec<String>,
    },
    /// Each flush takes longer.
    SlowDisk {
        store: StoreName,
        delay: Duration,
        lasts: Duration,
    },
    /// No space is left: the server ends, and starts after a while on a disk with space.
    FullDisk { store: StoreName, lasts: Duration },
    /// A flush fails: the server ends, and starts after a while on a good disk.
    BrokenDisk { store: StoreName, lasts: Duration },
    /// Nothing passes.
    BlackHole { store: StoreName, lasts: Duration },
    /// Everything passes late.
    SlowNetwork {
        store: StoreName,
        delay: Duration,
        jitter: Duration,
        lasts: Duration,
    },
    /// Every open connection breaks.
    Reset { store: StoreName },
    /// Every open connection stays open and dead.
    HalfOpen { store: StoreName },
    /// Redis is at its memory limit.
    FullMemory { lasts: Duration },
    /// The append-only file is rewritten.
    AofRewrite,
    /// The functions of Redis are gone.
    FunctionFlush,
    /// The scripts of Redis are gone.
    ScriptFlush,
    /// Something that is no bundle's place stands in front of the line.
    SpoilLine,
    /// Redis ends, and starts with the data that it had a while before. Nothing that is not recorded is lost by it.
    OlderRedis { lasts: Duration },
    /// The same, while the recorder `instance` stands still with bundles in hand that MongoDB holds and Redis has not freed:
    /// the Redis that takes over numbers its bundles as the first one did.
    SecondRedis { instance: usize },
    /// A service with another number of partitions is started beside the others.
    OtherPartitions,
    /// One instance runs with functions of another text for a while.
    OtherFunctions { instance: usize, lasts: Duration },
    /// MongoDB refuses some loans for good, for a while.
    RefuseRecords { lasts: Duration },
    /// Ingestion is paused through one instance, and resumed through another.
    Pause { lasts: Duration },
    /// Every failed loan is queued again, by two calls at once.
    Retry,
    /// What happens to a cluster only.
    Cluster(ClusterFault),
}

/// What goes wrong, or is changed, in a Redis Cluster and in a replica set. A shard is known by its number; its master is
/// whichever node is that at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it with the variant")]
pub enum ClusterFault {
    /// `kill -9` of a master, and a start after a while.
    KillMaster { shard: usize, lasts: Duration },
    /// SIGSTOP of a master, and SIGCONT after a while.
    StopMaster { shard: usize, lasts: Duration },
    /// A master sees neither the other masters nor their replicas.
    PartMaster { shard: usize, lasts: Duration },
    /// `kill -9` of a replica, and a start after a while.
    KillReplica { shard: usize, lasts: Duration },
    /// A master hands over to its replica.
    FailOver { shard: usize },
    /// Every node in turn is restarted, masters after they have handed over.
    RestartNodes,
    /// A partition's slot moves to the next shard, and back.
    MoveSlots { shard: usize },
    /// A node joins, takes a partition's slot, gives it back and leaves.
    AddNode { shard: usize },
    /// A replica that lacks what its master has confirmed takes over by itself.
    LoseByFailOver { shard: usize, lasts: Duration },
    /// The primary of the replica set steps down.
    StepDown,
    /// `kill -9` of the primary, and a start after a while.
    KillPrimary { lasts: Duration },
    /// The primary does not see the other members.
    PartPrimary { lasts: Duration },
}

impl ClusterFault {
    fn words(self) -> String {
        let ms = |lasts: Duration| format!("{} ms", lasts.as_millis());
        let shard = |shard: usize| format!("shard {}", shard + 1);
        match self {
            Self::KillMaster { shard: at, lasts } => {
                let after = ms(lasts);
                format!(
                    "kill -9 the master of {}, started again after {after}",
                    shard(at)
                )
            }
            Self::StopMaster { shard: at, lasts } => {
                format!(
                    "SIGSTOP the master of {}, SIGCONT after {}",
                    shard(at),
                    ms(lasts)
                )
            }
            Self::PartMaster { shard: at, lasts } => {
                format!(
                    "the master of {} is parted from the majority for {}",
                    shard(at),
                    ms(lasts)
                )
            }
            Self::KillReplica { shard: at, lasts } => {
                let after = ms(lasts);
                format!(
                    "kill -9 the replica of {}, started again after {after}",
                    shard(at)
                )
            }
            Self::FailOver { shard: at } => {
                format!("the master of {} hands over to its replica", shard(at))
            }
            Self::RestartNodes => "rolling restart of every Redis".to_owned(),
            Self::MoveSlots { shard: at } => {
                format!(
                    "a partition of {} moves to the next shard and back",
                    shard(at)
                )
            }
            Self::AddNode { shard: at } => {
                format!(
                    "a node joins, takes a partition of {}, gives it back and leaves",
                    shard(at)
                )
            }
            Self::LoseByFailOver { shard: at, lasts } => format!(
                "the replica of {} hears nothing for {} and takes over by itself",
                shard(at),
                ms(lasts)
            ),
            Self::StepDown => "the primary steps down".to_owned(),
            Self::KillPrimary { lasts } => {
                format!("kill -9 the primary, started again after {}", ms(lasts))
            }
            Self::PartPrimary { lasts } => {
                format!(
                    "the primary is parted from the other members for {}",
                    ms(lasts)
                )
            }
        }
    }
}

/// What an instance holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Loans that it has claimed and not committed.
    Loans,
    /// Results that it has taken and not acknowledged.
    Results,
}

impl Holding {
    /// Its name in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loans => "loans",
            Self::Results => "results",
        }
    }
}

/// A fault at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// After the start of the load.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl Fault {
    /// Whether it can be made on a cluster, or else on one Redis.
    fn fits(&self, is_cluster: bool) -> bool {
        match self {
            Self::Cluster(_) => is_cluster,
            Self::Kill {
                server: Server::Service(_),
                ..
            }
            | Self::Stop {
                server: Server::Service(_),
                ..
            }
            | Self::StopHolding { .. }
            | Self::Terminate { .. }
            | Self::RollingRestart
            | Self::CrashPoints { .. }
            | Self::Pause { .. }
            | Self::Retry => true,
            _ => !is_cluster,
        }
    }

    /// What happens, in words.
    pub fn words(&self) -> String {
        let ms = |lasts: &Duration| format!("{} ms", lasts.as_millis());
        match self {
            Self::Kill { server, lasts } => {
                format!(
                    "kill -9 {}, started again after {}",
                    server.name(),
                    ms(lasts)
                )
            }
            Self::Stop { server, lasts } => {
                format!("SIGSTOP {}, SIGCONT after {}", server.name(), ms(lasts))
            }
            Self::StopHolding {
                instance,
                what,
                lasts,
            } => format!(
                "SIGSTOP {} with {} in hand, SIGCONT after {}",
                Server::Service(*instance).name(),
                what.name(),
                ms(lasts)
            ),
            Self::Terminate { instance, lasts } => format!(
                "SIGTERM {}, started again after {}",
                Server::Service(*instance).name(),
                ms(lasts)
            ),
            Self::RollingRestart => "rolling restart of every instance".to_owned(),
            Self::CrashPoints { instance, points } => format!(
                "{} dies at {}",
                Server::Service(*instance).name(),
                points.join(", ")
            ),
            Self::SlowDisk {
                store,
                delay,
                lasts,
            } => format!(
                "each flush of {} takes {} more, for {}",
                store.name(),
                ms(delay),
                ms(lasts)
            ),
            Self::FullDisk { store, lasts } => {
                format!(
                    "the disk of {} is full; space after {}",
                    store.name(),
                    ms(lasts)
                )
            }
            Self::BrokenDisk { store, lasts } => format!(
                "a flush of {} fails; a good disk after {}",
                store.name(),
                ms(lasts)
            ),
            Self::BlackHole { store, lasts } => {
                format!(
                    "nothing passes to or from {} for {}",
                    store.name(),
                    ms(lasts)
                )
            }
            Self::SlowNetwork {
                store,
                delay,
                jitter,
                lasts,
            } => format!(
                "{} is {} to {} away, for {}",
                store.name(),
                ms(delay),
                ms(&(*delay + *jitter)),
                ms(lasts)
            ),
            Self::Reset { store } => format!("every connection to {} is reset", store.name()),
            Self::HalfOpen { store } => {
                format!("every connection to {} is left half open", store.name())
            }
            Self::FullMemory { lasts } => format!("Redis is at maxmemory for {}", ms(lasts)),
            Self::AofRewrite => "Redis rewrites its append-only file".to_owned(),
            Self::FunctionFlush => "FUNCTION FLUSH".to_owned(),
            Self::ScriptFlush => "SCRIPT FLUSH".to_owned(),
            Self::OlderRedis { lasts } => {
                format!(
                    "Redis ends, and starts with its data of {} before",
                    ms(lasts)
                )
            }
            Self::SecondRedis { instance } => format!(
                "a second Redis takes over that numbers its bundles as the first, while {} has some of those in hand",
                Server::Service(*instance).name()
            ),
            Self::OtherPartitions => {
                "a service with another number of partitions is started".to_owned()
            }
            Self::OtherFunctions { instance, lasts } => format!(
                "{} runs with other functions for {}",
                Server::Service(*instance).name(),
                ms(lasts)
            ),
            Self::RefuseRecords { lasts } => {
                format!("MongoDB refuses some loans for good, for {}", ms(lasts))
            }
            Self::SpoilLine => "what nobody can read is put in front of the line".to_owned(),
            Self::Pause { lasts } => {
                format!("ingestion is paused, and resumed after {}", ms(lasts))
            }
            Self::Retry => "all failed loans are queued again, by two calls at once".to_owned(),
            Self::Cluster(fault) => fault.words(),
        }
    }
}

impl Plan {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, holds a key that is not known, or asks for what cannot be done.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Self::parse(&text_of(path)?, path)
    }

    /// Checks the text of a file. `path` is named in the errors.
    ///
    /// # Errors
    /// As [`Plan::load`], except that nothing is read.
    pub fn parse(source: &str, path: &Path) -> Result<Self, ScenarioError> {
        if is_of_a_run(source) {
            return Err(ScenarioError::Read {
                path: path.to_path_buf(),
                what: "it is the scenario of a run: loadgen run takes it".to_owned(),
            });
        }
        checked(source, path, Self::check)
    }

    /// The plans in `paths`: files, and the `*.toml` of folders, by name.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn load_all(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Self)>, ScenarioError> {
        let mut plans = Vec::new();
        for path in paths {
            let unreadable = |error: std::io::Error| ScenarioError::Read {
                path: path.clone(),
                what: unreadable(&error),
            };
            let mut files = if path.is_dir() {
                std::fs::read_dir(path)
                    .map_err(unreadable)?
                    .map(|entry| entry.map(|entry| entry.path()))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(unreadable)?
            } else {
                vec![path.clone()]
            };
            files
                .retain(|file| !path.is_dir() || file.extension().is_some_and(|end| end == "toml"));
            files.sort();
            if files.is_empty() {
                return Err(ScenarioError::Read {
                    path: path.clone(),
                    what: "the folder holds no plan of a fault run, *.toml".to_owned(),
                });
            }
            for file in files {
                let plan = Self::load(&file)?;
                let is_same =
                    |(_, other): &&(PathBuf, Self)| other.name.get_ref() == plan.name.get_ref();
                if let Some((other, _)) = plans.iter().find(is_same) {
                    return Err(ScenarioError::Read {
                        path: file,
                        what: format!(
                            "{} is named {} too, and what a run leaves is kept by its plan's name: give it another",
                            other.display(),
                            plan.name.get_ref()
                        ),
                    });
                }
                plans.push((file, plan));
            }
        }
        Ok(plans)
    }

    /// The plan's phase of load, as the schedule wants it.
    pub fn phase(&self) -> Phase {
        Phase {
            name: Spanned::new(0..0, "load".to_owned()),
            duration: self.load.lasts.max(self.load.lasts_at_most),
            rate: Some(self.load.rate),
            ramp: None,
            burst: None,
            poisson: true,
        }
    }

    /// The faults of one run: those of the file, or those that `seed` draws.
    pub fn strikes_of(&self, seed: u64) -> Vec<Strike> {
        let Some(mixed) = &self.mixed else {
            return self.strikes.clone();
        };
        let mut random = Random(seed);
        let mut strikes: Vec<Strike> = (0..mixed.faults)
            .map(|_| {
                let item = &mixed.menu[random.below(mixed.menu.len() as u64) as usize];
                // Not in the first moments, when there is nothing to hit, nor at the end.
                let at =
                    random.between(self.load.lasts.mul_f64(0.1), self.load.lasts.mul_f64(0.85));
                let lasts = random.between(mixed.shortest, mixed.longest);
                let instance = random.below(self.stack.instances as u64) as usize;
                let delay = random.between(mixed.shortest / 10, mixed.longest / 10);
                let shard = match self.stack.shards() {
                    0 => 0,
                    shards => random.below(shards) as usize,
                };
                Strike {
                    at,
                    fault: drawn(item, lasts, delay, instance, shard)
                        .expect("the menu was checked"),
                }
            })
            .collect();
        strikes.sort_by_key(|strike| strike.at);
        strikes
    }

    fn check(&mut self) -> Result<(), (Range<usize>, String)> {
        let name = self.name.get_ref();
        let here = self.name.span();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let refuse = |what: &str| Err((here.clone(), what.to_owned()));
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return refuse("name must be 1 to 64 of a-z, 0-9 and -");
        }
        if !is_plain(&self.description) {
            return refuse(NOT_PLAIN);
        }
        if !(1.0..=10_000.0).contains(&self.load.rate) {
            return refuse("load.rate must be 1 to 10000 arrivals per second");
        }
        if self.load.lasts.is_zero() || self.load.lasts > Duration::from_secs(600) {
            return refuse("load.lasts must be more than 0s and at most 10m");
        }
        if self.load.lasts_at_most > Duration::from_secs(600) {
            return refuse("load.lasts_at_most must be at most 10m");
        }
        if !(1..=4).contains(&self.stack.instances) {
            return refuse("stack.instances must be 1 to 4");
        }
        let roles = &self.stack.roles;
        if !roles.is_empty()
            && (roles.len() != self.stack.instances || !roles.iter().any(|role| has_api(role)))
        {
            return refuse("stack.roles needs one for each instance, and one with api");
        }
        if self.mixed.is_some() && !self.faults.is_empty() {
            return refuse("a plan has [[fault]] or [mixed], not both");
        }
        if !Schedule::has_arrivals(&[self.phase()], self.seed) {
            return refuse("no arrival is due in the whole run: raise load.rate or load.lasts");
        }
        self.check_load().map_err(|what| (here.clone(), what))?;
        if let Some(mixed) = &self.mixed {
            if mixed.faults == 0 || mixed.menu.is_empty() || mixed.shortest > mixed.longest {
                return refuse("[mixed] needs faults, a menu, and shortest at most longest");
            }
            if mixed.faults > STRIKES_MAX {
                return refuse(&format!("mixed.faults must be 1 to {STRIKES_MAX}"));
            }
            if mixed.longest > LASTS_MAX {
                return refuse("mixed.longest must be at most 10m");
            }
            for item in &mixed.menu {
                drawn(item, mixed.longest, mixed.shortest, 0, 0)
                    .map_err(|what| (here.clone(), what))?;
            }
        }
        let mut strikes = Vec::new();
        for spec in &self.faults {
            let fault = spec
                .fault(self.stack.instances)
                .map_err(|what| (spec.kind.span(), what))?;
            let wrong = |what: String| (spec.kind.span(), what);
            if spec.times == 0 || spec.times as usize > STRIKES_MAX - strikes.len() {
                let what = format!("the faults must strike 1 to {STRIKES_MAX} times in all");
                return Err(wrong(what));
            }
            let lengths = [
                ("lasts", spec.lasts),
                ("delay", spec.delay),
                ("jitter", spec.jitter),
            ];
            for (key, length) in lengths {
                if length.is_some_and(|length| length > LASTS_MAX) {
                    return Err(wrong(format!("{key} must be at most 10m")));
                }
            }
            for turn in 0..spec.times {
                let at = spec.every.unwrap_or_default().checked_mul(turn);
                let at = at
                    .and_then(|after| spec.at.checked_add(after))
                    .filter(|at| *at <= self.load.lasts)
                    .ok_or_else(|| wrong("a fault must strike before the load ends".to_owned()))?;
                strikes.push(Strike {
                    at,
                    fault: fault.clone(),
                });
            }
        }
        strikes.sort_by_key(|strike| strike.at);
        let drawn = self.mixed.iter().flat_map(|mixed| &mixed.menu);
        let drawn = drawn.filter_map(|item| drawn_fault(item));
        let faults = strikes.iter().map(|strike| strike.fault.clone());
        for fault in faults.chain(drawn) {
            if !fault.fits(self.stack.is_cluster()) {
                let on = if self.stack.is_cluster() {
                    "a cluster"
                } else {
                    "one Redis"
                };
                return refuse(&format!("not on {on}: {}", fault.words()));
            }
        }
        if self.stack.is_cluster() && self.stack.shards() == 0 {
            return refuse(
                "stack.redis must be single, or cluster:3+3 for three masters and three replicas",
            );
        }
        let shards = self.stack.shards();
        if self.stack.is_cluster()
            && let Some(spec) = self.faults.iter().find(|spec| spec.shard as u64 >= shards)
        {
            let what = format!("there is no shard {}: 0 is the first", spec.shard);
            return Err((spec.kind.span(), what));
        }
        let mut arguments = self.stack.service_arguments.iter();
        if let Some(what) = arguments.find_map(|argument| forbidden_argument(argument)) {
            return refuse(&what);
        }
        if !(1..=64).contains(&self.stack.partitions) {
            return refuse("stack.partitions must be 1 to 64");
        }
        self.strikes = strikes;
        Ok(())
    }

    /// The settings of the load, each with its bounds.
    fn check_load(&self) -> Result<(), String> {
        let load = &self.load;
        let hour = Duration::from_secs(3600);
        for (key, length) in [
            ("request_timeout", load.request_timeout),
            ("patience", load.patience),
            ("drain_timeout", load.drain_timeout),
        ] {
            if length.is_zero() || length > hour {
                return Err(format!("load.{key} must be above zero and at most 1h"));
            }
        }
        if !(1..=HERD_MAX).contains(&load.herd) {
            return Err(format!("load.herd must be 1 to {HERD_MAX}"));
        }
        load.mix.check().map_err(|(_, what)| what)
    }
}

/// Whether an instance of this role takes loans.
pub fn has_api(role: &str) -> bool {
    role.split(',').any(|part| part.trim() == "api")
}

/// The fault of a menu's item that was checked, whenever it strikes.
fn drawn_fault(item: &str) -> Option<Fault> {
    drawn(item, Duration::ZERO, Duration::ZERO, 0, 0).ok()
}

/// The fault of a menu's item.
fn drawn(
    item: &str,
    lasts: Duration,
    delay: Duration,
    instance: usize,
    shard: usize,
) -> Result<Fault, String> {
    let (kind, target) = item
        .split_once(' ')
        .map_or((item, None), |(kind, target)| (kind, Some(target)));
    let needs = |field: &str| needed(kind).is_some_and(|needed| needed.contains(&field));
    FaultSpec {
        at: Duration::ZERO,
        kind: Spanned::new(0..0, kind.to_owned()),
        target: target.map(str::to_owned),
        instance,
        shard,
        lasts: needs("lasts").then_some(lasts),
        delay: needs("delay").then_some(delay),
        jitter: needs("delay").then_some(delay),
        points: Vec::new(),
        times: 1,
        every: None,
    }
    .fault(usize::MAX)
}

/// The fields that a kind of fault needs, apart from `at`.
fn needed(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "kill" | "stop" | "terminate" | "full_disk" | "broken_disk" | "black_hole" => {
            &["target", "lasts"]
        }
        "slow_disk" | "slow_network" => &["target", "lasts", "delay"],
        "reset" | "half_open" => &["target"],
        "crash_points" => &["points"],
        "stop_with_loans" | "stop_with_results" | "full_memory" | "pause" | "kill_master"
        | "stop_master" | "part_master" | "kill_replica" | "lose_by_fail_over" | "kill_primary"
        | "part_primary" | "older_redis" | "other_functions" | "refuse_records" => &["lasts"],
        "retry" | "rolling_restart" | "aof_rewrite" | "function_flush" | "script_flush"
        | "spoil_line" | "second_redis" | "other_partitions" | "fail_over" | "restart_nodes"
        | "move_slots" | "add_node" | "step_down" => &[],
        _ => return None,
    })
}

impl FaultSpec {
    fn fault(&self, instances: usize) -> Result<Fault, String> {
        let kind = self.kind.get_ref().as_str();
        let needed = needed(kind).ok_or_else(|| format!("no fault is called {kind:?}"))?;
        for (field, is_given) in [
            ("target", self.target.is_some()),
            ("lasts", self.lasts.is_some()),
            ("delay", self.delay.is_some()),
            ("points", !self.points.is_empty()),
        ] {
            if is_given != needed.contains(&field) {
                let verb = if is_given { "has no" } else { "needs" };
                return Err(format!("{kind} {verb} {field}"));
            }
        }
        if self.instance >= instances {
            return Err(format!("there is no instance {}", self.instance));
        }
        let target = self.target.as_deref().unwrap_or_default();
        let server = || match target {
            "redis" => Ok(Server::Redis),
            "mongodb" => Ok(Server::Mongo),
            "service" => Ok(Server::Service(self.instance)),
            _ => Err("target must be redis, mongodb or service".to_owned()),
        };
        let store = || match target {
            "redis" => Ok(StoreName::Redis),
            "mongodb" => Ok(StoreName::Mongo),
            _ => Err("target must be redis or mongodb".to_owned()),
        };
        let lasts = self.lasts.unwrap_or_default();
        let delay = self.delay.unwrap_or_default();
        let instance = self.instance;
        if let Some(fault) = self.cluster_fault() {
            return Ok(Fault::Cluster(fault));
        }
        Ok(match kind {
            "kill" => Fault::Kill {
                server: server()?,
                lasts,
            },
            "stop" => Fault::Stop {
                server: server()?,
                lasts,
            },
            "stop_with_loans" => Fault::StopHolding {
                instance,
                what: Holding::Loans,
                lasts,
            },
            "stop_with_results" => Fault::StopHolding {
                instance,
                what: Holding::Results,
                lasts,
            },
            "terminate" if target == "service" => Fault::Terminate { instance, lasts },
            "terminate" => return Err("target must be service".to_owned()),
            "rolling_restart" => Fault::RollingRestart,
            "crash_points" => Fault::CrashPoints {
                instance,
                points: self.points.clone(),
            },
            "slow_disk" => Fault::SlowDisk {
                store: store()?,
                delay,
                lasts,
            },
            "full_disk" => Fault::FullDisk {
                store: store()?,
                lasts,
            },
            "broken_disk" => Fault::BrokenDisk {
                store: store()?,
                lasts,
            },
            "black_hole" => Fault::BlackHole {
                store: store()?,
                lasts,
            },
            "slow_network" => Fault::SlowNetwork {
                store: store()?,
                delay,
                jitter: self.jitter.unwrap_or_default(),
                lasts,
            },
            "reset" => Fault::Reset { store: store()? },
            "half_open" => Fault::HalfOpen { store: store()? },
            "full_memory" => Fault::FullMemory { lasts },
            "aof_rewrite" => Fault::AofRewrite,
            "function_flush" => Fault::FunctionFlush,
            "pause" => Fault::Pause { lasts },
            "spoil_line" => Fault::SpoilLine,
            "older_redis" => Fault::OlderRedis { lasts },
            "second_redis" => Fault::SecondRedis { instance },
            "other_partitions" => Fault::OtherPartitions,
            "other_functions" => Fault::OtherFunctions { instance, lasts },
            "refuse_records" => Fault::RefuseRecords { lasts },
            "retry" => Fault::Retry,
            _ => Fault::ScriptFlush,
        })
    }
}

impl FaultSpec {
    fn cluster_fault(&self) -> Option<ClusterFault> {
        let (shard, lasts) = (self.shard, self.lasts.unwrap_or_default());
        Some(match self.kind.get_ref().as_str() {
            "kill_master" => ClusterFault::KillMaster { shard, lasts },
            "stop_master" => ClusterFault::StopMaster { shard, lasts },
            "part_master" => ClusterFault::PartMaster { shard, lasts },
            "kill_replica" => ClusterFault::KillReplica { shard, lasts },
            "fail_over" => ClusterFault::FailOver { shard },
            "restart_nodes" => ClusterFault::RestartNodes,
            "move_slots" => ClusterFault::MoveSlots { shard },
            "add_node" => ClusterFault::AddNode { shard },
            "lose_by_fail_over" => ClusterFault::LoseByFailOver { shard, lasts },
            "step_down" => ClusterFault::StepDown,
            "kill_primary" => ClusterFault::KillPrimary { lasts },
            "part_primary" => ClusterFault::PartPrimary { lasts },
            _ => return None,
        })
    }
}

/// Numbers by seed: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span_us = high.saturating_sub(low).as_micros() as u64;
        low + Duration::from_micros(self.below(span_us + 1))
    }
}

const fn one() -> u64 {
    1
}

const fn one_time() -> u32 {
    1
}

const fn eight() -> u32 {
    8
}

const fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(faults: &str) -> Result<Plan, String> {
        let text = format!(
            "name = \"a\"\nrow = \"a\"\ndescription = \"a\"\n[load]\nrate = 500\nlasts = \"4s\"\n{faults}"
        );
        Plan::parse(&text, Path::new("a.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_fault_has_what_it_needs_and_nothing_else() {
        let plan = parse("[[fault]]\nat = \"1s\"\nkind = \"kill\"\ntarget = \"redis\"\nlasts = \"500ms\"\ntimes = 2\nevery = \"1s\"")
            .expect("it is whole");
        let kill = Fault::Kill {
            server: Server::Redis,
            lasts: Duration::from_millis(500),
        };
        let at: Vec<_> = plan
            .strikes_of(7)
            .iter()
            .map(|strike| strike.at.as_secs())
            .collect();
        assert_eq!(at, [1, 2]);
        assert!(plan.strikes_of(7).iter().all(|strike| strike.fault == kill));
        for (wrong, words) in [
            ("kind = \"kill\"\ntarget = \"redis\"", "kill needs lasts"),
            (
                "kind = \"reset\"\ntarget = \"redis\"\nlasts = \"1s\"",
                "reset has no lasts",
            ),
            ("kind = \"reset\"\ntarget = \"moon\"", "target must be"),
            ("kind = \"kil\"", "no fault is called"),
            (
                "kind = \"kill\"\ntarget = \"service\"\nlasts = \"1s\"\ninstance = 1",
                "no instance 1",
            ),
            ("kind = \"kill\"\ncolour = 1", "unknown key"),
            (
                "kind = \"reset\"\ntarget = \"redis\"\ntimes = 4294967295",
                "1 to 1000 times",
            ),
            (
                "kind = \"reset\"\ntarget = \"redis\"\ntimes = 0",
                "1 to 1000 times",
            ),
            (
                "kind = \"reset\"\ntarget = \"redis\"\ntimes = 3\nevery = \"9223372036854775807s\"",
                "before the load ends",
            ),
            (
                "kind = \"reset\"\ntarget = \"redis\"\ntimes = 5\nevery = \"1s\"",
                "before the load ends",
            ),
            (
                "kind = \"kill\"\ntarget = \"redis\"\nlasts = \"11m\"",
                "lasts must be at most 10m",
            ),
        ] {
            let error = parse(&format!("[[fault]]\nat = \"1s\"\n{wrong}")).expect_err(wrong);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_load_goes_on_while_a_fault_is_under_way() {
        let plan = parse("").expect("it is whole");
        assert_eq!(plan.phase().duration, Duration::from_secs(4));
        let plan = parse("lasts_at_most = \"9s\"").expect("it is whole");
        assert_eq!(plan.phase().duration, Duration::from_secs(9));
        // Faults strike in the time that it lasts anyway.
        let late = "lasts_at_most = \"9s\"\n[[fault]]\nat = \"5s\"\nkind = \"aof_rewrite\"";
        assert!(parse(late).is_err_and(|error| error.contains("before the load ends")));
    }

    #[test]
    fn a_description_is_shown_on_terminals() {
        let text = |description: &str| {
            format!(
                "name = \"a\"\nrow = \"a\"\ndescription = \"{description}\"\n[load]\nrate = 500\nlasts = \"4s\""
            )
        };
        let parsed = |description| Plan::parse(&text(description), Path::new("a.toml"));
        assert!(parsed("two\\nlines").is_ok());
        assert!(parsed("\\u001b[2J").is_err_and(|error| error.to_string().contains(NOT_PLAIN)));
    }

    #[test]
    fn two_plans_of_one_name_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let text =
            "name = \"a\"\nrow = \"a\"\ndescription = \"a\"\n[load]\nrate = 500\nlasts = \"4s\"";
        for file in ["one.toml", "two.toml"] {
            std::fs::write(folder.path().join(file), text).expect("it is written");
        }
        let one = folder.path().join("one.toml");
        assert!(Plan::load_all(std::slice::from_ref(&one)).is_ok());
        for paths in [vec![folder.path().to_path_buf()], vec![one.clone(), one]] {
            let refused = Plan::load_all(&paths).expect_err("their histories would be one");
            assert!(refused.to_string().contains("is named a too"), "{refused}");
        }
    }

    #[test]
    fn each_instance_has_its_role() {
        for (wrong, words) in [
            (
                "[stack]\nroles = [\"api\", \"worker\"]",
                "one for each instance",
            ),
            ("[stack]\nroles = [\"worker,persister\"]", "one with api"),
        ] {
            assert!(
                parse(wrong).is_err_and(|error| error.contains(words)),
                "{wrong}"
            );
        }
        let plan = parse("[stack]\ninstances = 2\nroles = [\"api,worker\", \"persister\"]\n[[fault]]\nat = \"1s\"\nkind = \"second_redis\"\ninstance = 1")
            .expect("it is whole");
        assert_eq!(plan.strikes[0].fault, Fault::SecondRedis { instance: 1 });
    }

    #[test]
    fn the_load_has_its_bounds() {
        for (wrong, words) in [
            ("herd = 4294967295", "load.herd must be 1 to 1000"),
            ("herd = 0", "load.herd"),
            ("request_timeout = \"0s\"", "load.request_timeout"),
            ("lasts_at_most = \"11m\"", "load.lasts_at_most"),
            ("patience = \"1000h\"", "load.patience"),
            ("mix = { retry = nan }", "the share of retry"),
            ("mix = { retry = 0.9, conflict = 0.9 }", "sum to 1.800"),
        ] {
            let text = parse(wrong);
            let error = text.expect_err(wrong);
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_plan_in_which_nothing_is_due_is_refused() {
        let text =
            "name = \"n\"\nrow = \"0\"\ndescription = \"x\"\n[load]\nrate = 1\nlasts = \"1ms\"";
        let error = Plan::parse(text, Path::new("n.toml")).expect_err("nothing is due");
        assert_eq!(
            error.to_string(),
            "n.toml:1:8: no arrival is due in the whole run: raise load.rate or load.lasts"
        );
    }

    #[test]
    fn a_seed_draws_the_same_faults_again() {
        let plan = parse("[mixed]\nfaults = 3\nshortest = \"200ms\"\nlongest = \"900ms\"\nmenu = [\"kill redis\", \"reset mongodb\", \"aof_rewrite\", \"slow_disk redis\"]")
            .expect("it is whole");
        let drawn = plan.strikes_of(11);
        assert_eq!(drawn, plan.strikes_of(11));
        assert_eq!(drawn.len(), 3);
        assert!((0..20).any(|seed| plan.strikes_of(seed) != drawn));
        for seed in 0..200 {
            let strikes = plan.strikes_of(seed);
            assert!(strikes.is_sorted_by_key(|strike| strike.at));
            assert!(
                strikes
                    .iter()
                    .all(|strike| strike.at < Duration::from_secs(4))
            );
        }
        let endless = "[mixed]\nfaults = 1000000000000\nshortest = \"1s\"\nlongest = \"1s\"\nmenu = [\"reset redis\"]";
        assert!(parse(endless).is_err_and(|error| error.contains("1 to 1000")));
        assert!(
            parse(
                "[mixed]\nfaults = 1\nshortest = \"1s\"\nlongest = \"1s\"\nmenu = [\"kill moon\"]"
            )
            .is_err()
        );
    }
}

//! A private MongoDB replica set, and the faults that it lives through.
//!
//! A member is known by its number. Each has an address of its own, 127.0.0.(number + 2). mongod cannot choose the
//! address that it connects from, so a small preloaded library (`source.c`) does; any two can be parted that way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use tempfile::TempDir;

use crate::error::TestbedError;
use crate::mongodb::{MongoOptions, MongoServer, direct_client};
use crate::network::{self, Network};
use crate::servers::Servers;
use crate::{guardian, preload, process, wait};

/// How a private replica set is set.
#[derive(Debug, Clone)]
pub struct ReplicaSetOptions {
    /// How many members; one is enough for a set.
    pub members: usize,
    /// For each member. A data folder gets a folder for each member, and must be new.
    pub member: MongoOptions,
    /// How long a primary may be silent before the others elect another.
    pub election_timeout: Duration,
    /// Whether members can be parted. Everything between members and from clients passes a proxy then.
    pub can_part: bool,
}

impl Default for ReplicaSetOptions {
    fn default() -> Self {
        Self {
            members: 3,
            member: MongoOptions {
                cache_gb: 0.25,
                ..MongoOptions::default()
            },
            election_timeout: Duration::from_secs(2),
            can_part: false,
        }
    }
}

/// The name of the set, as in a connection string.
const NAME: &str = "sluice";

/// A private replica set. Dropping it kills all members and removes their temporary folders.
pub struct ReplicaSet {
    // Dropped before the network: no member should see its proxies go.
    members: BTreeMap<usize, MongoServer>,
    network: Network,
    _folder: TempDir,
}

impl ReplicaSet {
    /// Starts all members, makes them a set, and waits until it has a primary and all the others follow it.
    ///
    /// # Errors
    /// When a member does not start, or the set does not come together.
    pub async fn start(
        servers: &Servers,
        options: ReplicaSetOptions,
    ) -> Result<Self, TestbedError> {
        if options.members == 0 {
            return Err(TestbedError::Layout("a replica set needs a member".into()));
        }
        let folder = guardian::folder("replica-set")?;
        let library = if options.can_part {
            Some(preload::compile(
                "source",
                include_str!("source.c"),
                folder.path(),
            )?)
        } else {
            None
        };
        let mut set = Self {
            members: BTreeMap::new(),
            network: Network::new(options.can_part),
            _folder: folder,
        };
        for number in 0..options.members {
            let mut member = options.member.clone();
            member.data_folder = member
                .data_folder
                .map(|folder| folder.join(format!("member-{number}")));
            // The last primary to end has nobody to hand over to, and need not wait for anybody.
            let arguments = [
                "--replSet",
                NAME,
                "--setParameter",
                "shutdownTimeoutMillisForSignaledShutdown=1000",
            ];
            member.arguments.splice(0..0, arguments.map(String::from));
            if let Some(library) = &library {
                let source = network::public_host(number)?.to_string();
                let library = library.to_string_lossy().into_owned();
                member.environment.push(("LD_PRELOAD".into(), library));
                member.environment.push(("TESTBED_SOURCE".into(), source));
            }
            set.start_member(servers, number, member).await?;
        }
        set.initiate(options.election_timeout).await?;
        set.wait_whole().await?;
        Ok(set)
    }

    /// `mongodb://127.0.0.2:PORT,…/?replicaSet=sluice`.
    pub fn uri(&self) -> String {
        let addresses: Vec<String> = self
            .members
            .keys()
            .filter_map(|number| self.address(*number).ok())
            .map(|address| address.to_string())
            .collect();
        format!("mongodb://{}/?replicaSet={NAME}", addresses.join(","))
    }

    /// The numbers of all members, running or not.
    pub fn numbers(&self) -> Vec<usize> {
        self.members.keys().copied().collect()
    }

    /// The address under which the others and the clients know a member.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn address(&self, number: usize) -> Result<SocketAddr, TestbedError> {
        let port = self.member(number)?.port();
        Ok((network::public_host(number)?, port).into())
    }

    /// A member's server, to read its log, signal it, or call it past the proxies at its own address.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn member(&self, number: usize) -> Result<&MongoServer, TestbedError> {
        self.members
            .get(&number)
            .ok_or(TestbedError::NoSuchNode(number))
    }

    /// As [`ReplicaSet::member`], to kill it, stop it, or start it again.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn member_mut(&mut self, number: usize) -> Result<&mut MongoServer, TestbedError> {
        self.members
            .get_mut(&number)
            .ok_or(TestbedError::NoSuchNode(number))
    }

    /// Sends one command to the database `admin` of one member, past the proxies.
    ///
    /// # Errors
    /// What the member or the connection says.
    pub async fn query(&self, number: usize, command: Document) -> Result<Document, TestbedError> {
        let address = self.member(number)?.address();
        let ask = async {
            let client = direct_client(address)?;
            let answer = client.database("admin").run_command(command).await;
            client.shutdown().await;
            answer
        };
        ask.await
            .map_err(TestbedError::mongodb(format!("ask member {number}")))
    }

    /// Whether a member holds itself for the primary that may be written to.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn is_primary(&self, number: usize) -> Result<bool, TestbedError> {
        let hello = self.query(number, doc! { "hello": 1 }).await?;
        Ok(hello.get_bool("isWritablePrimary").unwrap_or(false))
    }

    /// Waits until exactly one of these members holds itself for the primary; answers which.
    ///
    /// # Errors
    /// When that does not come true.
    pub async fn wait_primary_of(&self, numbers: &[usize]) -> Result<usize, TestbedError> {
        wait::until(
            &format!("one of members {numbers:?} is primary"),
            async || {
                let mut primaries = Vec::new();
                for number in numbers {
                    if self.is_primary(*number).await.map_err(wait::seen)? {
                        primaries.push(*number);
                    }
                }
                match primaries[..] {
                    [primary] => Ok(primary),
                    _ => Err(format!("primaries: {primaries:?}")),
                }
            },
        )
        .await
    }

    /// Waits until there is one primary, and all other members follow it. Answers the primary.
    ///
    /// # Errors
    /// When that does not come true.
    pub async fn wait_whole(&self) -> Result<usize, TestbedError> {
        wait::until("the replica set is whole", async || {
            let mut primary = None;
            for number in self.numbers() {
                let hello = self
                    .query(number, doc! { "hello": 1 })
                    .await
                    .map_err(wait::seen)?;
                let is = |role: &str| hello.get_bool(role).unwrap_or(false);
                let follows = hello.get_str("primary").unwrap_or_default().to_owned();
                if !(is("isWritablePrimary") || is("secondary")) {
                    return Err(format!("member {number}: {hello}"));
                }
                if is("isWritablePrimary") && primary.replace(number).is_some() {
                    return Err("two members are primary".into());
                }
                let known = self.numbers().into_iter().find(|other| {
                    self.address(*other)
                        .is_ok_and(|at| at.to_string() == follows)
                });
                if known.is_none() {
                    return Err(format!("member {number} follows {follows:?}"));
                }
            }
            primary.ok_or_else(|| "no member is primary".into())
        })
        .await
    }

    /// Makes the primary step down for `how_long`, and waits for another one. Answers the other one.
    ///
    /// # Errors
    /// When no other member can be primary.
    pub async fn step_down(&self, how_long: Duration) -> Result<usize, TestbedError> {
        let primary = self.wait_primary_of(&self.numbers()).await?;
        let command = doc! {
            "replSetStepDown": how_long.as_secs() as i64,
            "secondaryCatchUpPeriodSecs": (how_long.as_secs() / 2).max(1) as i64,
        };
        // A member that steps down while it is asked refuses; so it is asked again while it is the primary.
        wait::until("the primary steps down", async || {
            if !self.is_primary(primary).await.map_err(wait::seen)? {
                return Ok(());
            }
            let asked = self.query(primary, command.clone()).await;
            asked.map(drop).map_err(wait::seen)
        })
        .await?;
        let others: Vec<usize> = self
            .numbers()
            .into_iter()
            .filter(|number| *number != primary)
            .collect();
        self.wait_primary_of(&others).await
    }

    /// From now on nothing passes between a member of `one` and a member of `other`.
    ///
    /// # Errors
    /// When the options do not allow it, or there is no such member.
    pub fn part(&self, one: &[usize], other: &[usize]) -> Result<(), TestbedError> {
        self.network.part(one, other)
    }

    /// From now on nothing passes between a member and clients at 127.0.0.1.
    ///
    /// # Errors
    /// As [`ReplicaSet::part`].
    pub fn part_from_clients(&self, member: usize) -> Result<(), TestbedError> {
        self.network.part_from_clients(member)
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// How much has been held back before a member so far: shows that a partition took effect.
    pub fn held(&self, member: usize) -> u64 {
        self.network.held(member)
    }

    /// Ends all members in order, the primary last.
    ///
    /// # Errors
    /// When one does not end in time; what still runs is killed then.
    pub async fn stop(mut self) -> Result<(), TestbedError> {
        let mut last = None;
        for number in self.numbers() {
            if last.is_none() && self.is_primary(number).await.unwrap_or(false) {
                last = self.members.remove(&number);
            }
        }
        for member in std::mem::take(&mut self.members).into_values().chain(last) {
            member.stop().await?;
        }
        Ok(())
    }

    async fn start_member(
        &mut self,
        servers: &Servers,
        number: usize,
        options: MongoOptions,
    ) -> Result<(), TestbedError> {
        let host = self.network.server_host(number)?;
        let mut attempt = 1;
        let server = loop {
            let port = Network::free_port(number)?;
            let started = match self.network.open(number, &[port]).await {
                Ok(()) => MongoServer::start_at(servers, options.clone(), host, Some(port)).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(server) => break server,
                Err(error) if attempt < network::PORT_ATTEMPTS && process::was_taken(&error) => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        self.members.insert(number, server);
        Ok(())
    }

    async fn initiate(&self, election_timeout: Duration) -> Result<(), TestbedError> {
        let mut members = Vec::new();
        for number in self.numbers() {
            let host = self.address(number)?.to_string();
            members.push(doc! { "_id": number as i32, "host": host });
        }
        let config = doc! {
            "_id": NAME,
            "members": members,
            "settings": {
                "electionTimeoutMillis": election_timeout.as_millis() as i64,
                // In step: a silent member is given up as soon.
                "heartbeatTimeoutSecs": election_timeout.as_secs().max(1) as i64,
            },
        };
        self.query(0, doc! { "replSetInitiate": config })
            .await
            .map(drop)
    }
}

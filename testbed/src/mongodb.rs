//! A private mongod.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::{ClientOptions, ServerAddress};
use tokio::net::TcpStream;

use crate::error::TestbedError;
use crate::process::{Kind, Launch, Server, pairs};
use crate::redis::make_folder;
use crate::servers::Servers;

/// How long a mongod that answers at all may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How a private mongod is set.
#[derive(Debug, Clone)]
pub struct MongoOptions {
    /// WiredTiger's cache in GB; at least 0.25.
    pub cache_gb: f64,
    /// Where the data is kept; in the temporary folder, and removed with it, when `None`.
    pub data_folder: Option<PathBuf>,
    /// More arguments for `mongod`, after the ones from here.
    pub arguments: Vec<String>,
    /// More environment, for example that of a [`Disk`](crate::Disk).
    pub environment: Vec<(String, String)>,
}

impl Default for MongoOptions {
    fn default() -> Self {
        Self {
            cache_gb: 0.5,
            data_folder: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }
}

/// What sets a mongod apart from the other servers.
pub enum Mongo {}

/// A private mongod on a free loopback port, with its journal on. Dropping it kills it and removes its temporary folder.
pub type MongoServer = Server<Mongo>;

impl MongoServer {
    /// Starts mongod and waits until it answers.
    ///
    /// # Errors
    /// Fails with the server's last lines when it ends or does not answer.
    pub async fn start(servers: &Servers, options: MongoOptions) -> Result<Self, TestbedError> {
        Self::start_at(servers, options, Ipv4Addr::LOCALHOST, None).await
    }

    pub(crate) async fn start_at(
        servers: &Servers,
        options: MongoOptions,
        host: Ipv4Addr,
        port: Option<u16>,
    ) -> Result<Self, TestbedError> {
        if let Some(folder) = &options.data_folder {
            make_folder(folder)?;
        }
        let launch = Launch {
            name: "mongod",
            program: servers.mongod.clone(),
            environment: {
                let mut environment = servers.environment();
                environment.extend(pairs(options.environment.clone()));
                environment
            },
            arguments: Box::new(move |address, folder| arguments(&options, address, folder)),
            hides_settings: false,
            log_file: None,
            host,
            port,
        };
        Self::launch(launch).await
    }

    /// `mongodb://127.0.0.1:PORT/`.
    pub fn uri(&self) -> String {
        format!("mongodb://{}/", self.address())
    }
}

fn arguments(options: &MongoOptions, address: SocketAddr, folder: &Path) -> Vec<OsString> {
    let host = address.ip().to_string();
    let port = address.port().to_string();
    let cache = options.cache_gb.to_string();
    let mut arguments: Vec<OsString> = [
        "--bind_ip",
        &host,
        "--port",
        &port,
        "--wiredTigerCacheSizeGB",
        &cache,
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
        "--nounixsocket",
        "--quiet",
    ]
    .iter()
    .map(OsString::from)
    .collect();
    let data = options.data_folder.as_deref().unwrap_or(folder);
    arguments.extend(["--dbpath".into(), data.into()]);
    arguments.extend(options.arguments.iter().map(OsString::from));
    arguments
}

impl Kind for Mongo {
    const END_WITHIN: Duration = Duration::from_secs(30);

    async fn is_ready(address: SocketAddr, pid: u32) -> bool {
        // The driver looks for a server twice a second only, so it is asked once the port is open.
        if TcpStream::connect(address).await.is_err() {
            return false;
        }
        answering_pid(address)
            .await
            .is_ok_and(|answering| answering == Some(i64::from(pid)))
    }
}

/// A client of this one mongod, whatever it is a member of.
pub(crate) fn direct_client(address: SocketAddr) -> mongodb::error::Result<Client> {
    Client::with_options(
        ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp {
                host: address.ip().to_string(),
                port: Some(address.port()),
            }])
            .direct_connection(true)
            .connect_timeout(ANSWER_WITHIN)
            .server_selection_timeout(ANSWER_WITHIN)
            .build(),
    )
}

async fn answering_pid(address: SocketAddr) -> mongodb::error::Result<Option<i64>> {
    let client = direct_client(address)?;
    let status = client
        .database("admin")
        .run_command(doc! { "serverStatus": 1, "metrics": 0, "wiredTiger": 0 })
        .await?;
    client.shutdown().await;
    Ok(status.get_i64("pid").ok())
}

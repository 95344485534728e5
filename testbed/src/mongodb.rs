//! A private mongod.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::{ClientOptions, ServerAddress};
use tokio::net::TcpStream;

use crate::Signal;
use crate::error::TestbedError;
use crate::process::{Launch, Process, Readiness, pairs};
use crate::redis::make_folder;
use crate::servers::Servers;

const STOP_WITHIN: Duration = Duration::from_secs(30);

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

/// A private mongod on a free loopback port, with its journal on. Dropping it kills it and removes its temporary folder.
pub struct MongoServer(Process);

impl MongoServer {
    /// Starts mongod and waits until it answers.
    ///
    /// # Errors
    /// Fails with the server's last lines when it ends or does not answer.
    pub async fn start(servers: &Servers, options: MongoOptions) -> Result<Self, TestbedError> {
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
            arguments: Box::new(move |port, folder| arguments(&options, port, folder)),
            hides_settings: false,
            log_file: None,
            port: None,
        };
        Process::start(launch, &MongoReadiness).await.map(Self)
    }

    /// `mongodb://127.0.0.1:PORT/`.
    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/", self.port())
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The process id; 0 while it is not running.
    pub fn pid(&self) -> u32 {
        self.0.pid().unwrap_or(0)
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// Kills it with SIGKILL and waits for its end. The data stays.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again, on the same port and data. Kills it first when it runs.
    ///
    /// # Errors
    /// As for [`MongoServer::start`].
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        self.0.restart(&MongoReadiness).await
    }

    /// Sends a signal, for example SIGSTOP and SIGCONT for a server that hangs.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn signal(&self, signal: Signal) -> Result<(), TestbedError> {
        self.0.signal(signal)
    }

    /// How it ended, when it has ended by itself since it was started.
    ///
    /// # Errors
    /// Fails when its end has been seen already.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, TestbedError> {
        self.0.try_wait()
    }

    /// Waits until it ends by itself, for example when its disk fails.
    ///
    /// # Errors
    /// Fails when it is not running or does not end in time; it runs on then.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus, TestbedError> {
        self.0.wait(within).await
    }

    /// Ends it in order, and removes its temporary folder.
    ///
    /// # Errors
    /// Fails when it is not running or does not end in time; it is killed then.
    pub async fn stop(mut self) -> Result<(), TestbedError> {
        self.0.terminate(STOP_WITHIN).await.map(drop)
    }
}

fn arguments(options: &MongoOptions, port: u16, folder: &Path) -> Vec<OsString> {
    let port = port.to_string();
    let cache = options.cache_gb.to_string();
    let mut arguments: Vec<OsString> = [
        "--bind_ip",
        "127.0.0.1",
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

struct MongoReadiness;

impl Readiness for MongoReadiness {
    async fn is_ready(&self, port: u16, pid: u32) -> bool {
        // The driver looks for a server twice a second only, so it is asked once the port is open.
        if TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            return false;
        }
        answering_pid(port)
            .await
            .is_ok_and(|answering| answering == Some(i64::from(pid)))
    }
}

async fn answering_pid(port: u16) -> mongodb::error::Result<Option<i64>> {
    let client = Client::with_options(
        ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp {
                host: "127.0.0.1".into(),
                port: Some(port),
            }])
            .direct_connection(true)
            .server_selection_timeout(Duration::from_secs(2))
            .build(),
    )?;
    let status = client
        .database("admin")
        .run_command(doc! { "serverStatus": 1, "metrics": 0, "wiredTiger": 0 })
        .await?;
    client.shutdown().await;
    Ok(status.get_i64("pid").ok())
}

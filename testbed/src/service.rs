//! A private instance of the service.

use std::env;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::TestbedError;
use crate::http;
use crate::process::{Kind, Launch, Server, pairs};
use crate::servers::is_executable;

/// The environment variable that names the service's binary.
pub const SERVICE_VARIABLE: &str = "SLUICE_SERVICE";

/// How a private instance of the service is set.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The binary; when `None` the one that `SLUICE_SERVICE` names, else the one beside the running binary.
    pub binary: Option<PathBuf>,
    /// Passed as `--redis-url`.
    pub redis_url: String,
    /// Passed as `--mongodb-uri`.
    pub mongodb_uri: String,
    /// Passed as `--mongodb-database`.
    pub mongodb_database: String,
    /// The loopback port to listen on; a free one when `None`.
    pub port: Option<u16>,
    /// More arguments, after the ones from here.
    pub arguments: Vec<String>,
    /// More environment, for example `FAILPOINTS`. The caller's own `SLUICE_` variables and `FAILPOINTS` do not reach the service.
    pub environment: Vec<(String, String)>,
    /// Where its output goes, emptied first; in the temporary folder when `None`.
    pub log_file: Option<PathBuf>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            binary: None,
            redis_url: "redis://127.0.0.1:6379/0".into(),
            mongodb_uri: "mongodb://127.0.0.1:27017/".into(),
            mongodb_database: "sluice".into(),
            port: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            log_file: None,
        }
    }
}

/// What sets the service apart from the servers that it uses.
pub enum Service {}

/// A private instance of the service on a free loopback port. Dropping it kills it and removes its temporary folder.
pub type ServiceProcess = Server<Service>;

impl ServiceProcess {
    /// Starts the service and waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// Fails with the service's last lines when it ends or does not become ready.
    pub async fn start(options: ServiceOptions) -> Result<Self, TestbedError> {
        let program = match &options.binary {
            // The working folder of the child is its private one.
            Some(binary) => std::path::absolute(binary)
                .map_err(TestbedError::io(format!("resolve {}", binary.display())))?,
            None => find_binary()?,
        };
        let launch = Launch {
            name: "service",
            program,
            environment: pairs(options.environment.clone()),
            hides_settings: true,
            log_file: options.log_file.clone(),
            host: Ipv4Addr::LOCALHOST,
            port: options.port,
            arguments: Box::new(move |address, _| arguments(&options, address)),
        };
        Self::launch(launch).await
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// As [`ServiceProcess::restart`], with this environment in place of the one from the options.
    ///
    /// # Errors
    /// As for [`ServiceProcess::start`].
    pub async fn restart_with(
        &mut self,
        environment: Vec<(String, String)>,
    ) -> Result<(), TestbedError> {
        self.set_environment(environment);
        self.restart().await
    }
}

fn arguments(options: &ServiceOptions, address: SocketAddr) -> Vec<OsString> {
    let listen = address.to_string();
    [
        ["--listen", &listen],
        ["--redis-url", &options.redis_url],
        ["--mongodb-uri", &options.mongodb_uri],
        ["--mongodb-database", &options.mongodb_database],
    ]
    .iter()
    .flatten()
    .map(OsString::from)
    .chain(options.arguments.iter().map(OsString::from))
    .collect()
}

fn find_binary() -> Result<PathBuf, TestbedError> {
    if let Some(named) = env::var_os(SERVICE_VARIABLE).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        if !is_executable(&path) {
            let variable = SERVICE_VARIABLE;
            return Err(TestbedError::NamedFileMissing { variable, path });
        }
        return std::path::absolute(&path)
            .map_err(TestbedError::io(format!("resolve {}", path.display())));
    }
    // Tests run from target/<profile>/deps, one folder below the binaries.
    let running = env::current_exe().map_err(TestbedError::io("find the running binary"))?;
    running
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("service"))
        .find(|path| is_executable(path))
        .ok_or(TestbedError::ServiceMissing)
}

impl Kind for Service {
    /// Longer than the service's own deadline for a drain.
    const END_WITHIN: Duration = Duration::from_secs(60);

    async fn is_ready(address: SocketAddr, _pid: u32) -> bool {
        http::get(address, "/readyz")
            .await
            .is_ok_and(|answer| answer.status == 200)
    }
}

//! Settings: flags, each with an environment variable of the same name, checked together.
//!
//! An empty variable is as good as none. A secret may also come from a file, whose name the variable with `_FILE` at its
//! end gives.

use std::any::TypeId;
use std::error::Error as _;
use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::{PathBufValueParser, Resettable, StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser};
use tracing_subscriber::filter::LevelFilter;

use crate::http::admin::AdminToken;
use crate::http::names::PublicUrl;
use crate::http::peer::TrustedProxy;
use crate::limits::RECORDER_TASK;
use crate::queue::keys::PARTITIONS_MAX;
use crate::queue::tls::TlsFiles;
use crate::store::retention::Retention;
use crate::telemetry::{Endpoint, Sampler, Settings};
use crate::tokens::TokenRole;

/// Takes loan requests in bursts, loses none, processes each exactly once.
#[derive(Clone, Debug, Parser)]
#[command(name = "service", version)]
pub struct Config {
    /// Address to listen on, by number or by name; port 0 takes a free one
    #[arg(long, env = "SLUICE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: Listen,
    /// The certificate of the service's own HTTPS, PEM, with those that it rests on; read again when it changes
    #[arg(long, env = "SLUICE_TLS_CERT", value_parser = path())]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, env = "SLUICE_TLS_KEY", value_parser = path())]
    pub tls_key: Option<PathBuf>,
    /// An address under which browsers reach the service, such as https://loans.example; may be given several times, or
    /// with commas between. Other names than these, `localhost` and the addresses it listens on are refused
    #[arg(long, env = "SLUICE_PUBLIC_URL")]
    pub public_url: Vec<List<PublicUrl>>,
    /// A proxy, or a network of proxies, whose word about its clients counts (Forwarded, X-Forwarded-For); may be given
    /// several times, or with commas between
    #[arg(long, env = "SLUICE_TRUSTED_PROXY")]
    pub trusted_proxy: Vec<List<TrustedProxy>>,
    /// Redis, the queue; of a Redis Cluster some of its nodes, with commas between, see --redis-cluster
    #[arg(
        long,
        env = "SLUICE_REDIS_URL",
        value_parser = StringValueParser::new().map(|text| address(&text)),
        default_value = "redis://127.0.0.1:6379/0",
        hide_env_values = true
    )]
    pub redis_url: String,
    /// --redis-url names nodes of a Redis Cluster, with commas between, and the queue is in that
    #[arg(
        long,
        env = "SLUICE_REDIS_CLUSTER",
        value_parser = yes_or_no,
        value_name = "YES_OR_NO",
        num_args = 0..=1,
        require_equals = true,
        default_value = "no",
        default_missing_value = "yes"
    )]
    pub redis_cluster: bool,
    /// A file that holds the value of --redis-url
    #[arg(long, env = "SLUICE_REDIS_URL_FILE", value_parser = path())]
    pub redis_url_file: Option<PathBuf>,
    /// The authorities that the certificate of a Redis at rediss:// may come from, PEM; the system's unless set
    #[arg(long, env = "SLUICE_REDIS_TLS_CA", value_parser = path())]
    pub redis_tls_ca: Option<PathBuf>,
    /// The certificate by which Redis knows this service, PEM
    #[arg(long, env = "SLUICE_REDIS_TLS_CERT", value_parser = path())]
    pub redis_tls_cert: Option<PathBuf>,
    /// That certificate's key, PEM
    #[arg(long, env = "SLUICE_REDIS_TLS_KEY", value_parser = path())]
    pub redis_tls_key: Option<PathBuf>,
    /// MongoDB, the record
    #[arg(
        long,
        env = "SLUICE_MONGODB_URI",
        value_parser = StringValueParser::new().map(|text| address(&text)),
        default_value = "mongodb://127.0.0.1:27017/",
        hide_env_values = true
    )]
    pub mongodb_uri: String,
    /// A file that holds the value of --mongodb-uri
    #[arg(long, env = "SLUICE_MONGODB_URI_FILE", value_parser = path())]
    pub mongodb_uri_file: Option<PathBuf>,
    /// Database in MongoDB
    #[arg(long, env = "SLUICE_MONGODB_DATABASE", default_value = "sluice", value_parser = text())]
    pub mongodb_database: String,
    /// How long accepted loans are kept after they were decided, such as 365d; for ever unless set. A loan that is removed
    /// is not known any more: its id may be used again
    #[arg(long, env = "SLUICE_LOANS_KEPT")]
    pub loans_kept: Option<Span>,
    /// How long failures are kept after they were retried or discarded; for ever unless set. What waits for an operator is
    /// never removed
    #[arg(long, env = "SLUICE_FAILURES_KEPT")]
    pub failures_kept: Option<Span>,
    /// What this process does, one or several with commas between: api takes loans, worker processes them, persister records
    /// them in MongoDB, dashboard serves the pages
    #[arg(
        long,
        env = "SLUICE_ROLE",
        default_value = "api,worker,persister,dashboard"
    )]
    pub role: Vec<List<Role>>,
    /// Most workers
    #[arg(long, env = "SLUICE_WORKERS_MAX", default_value_t = 5, value_parser = number::<u64>)]
    pub workers_max: u64,
    /// Queued loans that call for one more worker
    #[arg(long, env = "SLUICE_LOANS_PER_WORKER", default_value_t = 50, value_parser = number::<u64>)]
    pub loans_per_worker: u64,
    /// How long fewer workers must suffice before some are stopped
    #[arg(long, env = "SLUICE_SCALE_COOL_DOWN", default_value = "5s")]
    pub scale_cool_down: Span,
    /// Partitions of the queue; a change needs an empty queue and --repartition
    #[arg(long, env = "SLUICE_PARTITIONS", default_value_t = 1, value_parser = number::<u32>)]
    pub partitions: u32,
    /// Change the number of partitions of an empty queue to --partitions, or give the queue to the record at --mongodb-uri if its
    /// own is gone for good; while no other instance runs
    #[arg(long)]
    pub repartition: bool,
    /// How long results gather before they are recorded
    #[arg(long, env = "SLUICE_RECORD_INTERVAL", default_value = "250ms")]
    pub record_interval: Span,
    /// A loan that a silent worker has held this long is given to another
    #[arg(long, env = "SLUICE_CLAIM_TIMEOUT", default_value = "30s")]
    pub claim_timeout: Span,
    /// A loan request that is not admitted by then is answered 503
    #[arg(long, env = "SLUICE_ADMISSION_TIMEOUT", default_value = "2500ms")]
    pub admission_timeout: Span,
    /// Redis has this long to answer; then the outcome of a request counts as unknown
    #[arg(long, env = "SLUICE_REDIS_TIMEOUT", default_value = "10s")]
    pub redis_timeout: Span,
    /// MongoDB has this long to confirm a batch; then the batch is written again
    #[arg(long, env = "SLUICE_MONGODB_TIMEOUT", default_value = "30s")]
    pub mongodb_timeout: Span,
    /// Most loans in Redis that are not recorded; beyond it requests are answered 503
    #[arg(long, env = "SLUICE_BACKLOG_MAX", default_value_t = 1_000_000, value_parser = number::<u64>)]
    pub backlog_max: u64,
    /// Largest request body
    #[arg(long, env = "SLUICE_BODY_MAX", default_value = "64KiB", value_parser = size)]
    pub body_max: usize,
    /// How long an idle connection is kept, and how long a client may take to send a request's head: longer than the
    /// proxy or balancer in front keeps its own
    #[arg(long, env = "SLUICE_KEEP_ALIVE", default_value = "75s")]
    pub keep_alive: Span,
    /// Most connections at once
    #[arg(long, env = "SLUICE_CONNECTIONS_MAX", default_value_t = 10_000, value_parser = number::<usize>)]
    pub connections_max: usize,
    /// Most connections of one client's address at once; unless set, a tenth of --connections-max, and those of this machine
    /// are not counted
    #[arg(long, env = "SLUICE_CONNECTIONS_PER_CLIENT_MAX", value_parser = number::<usize>)]
    pub connections_per_client_max: Option<usize>,
    /// Refuse to start on a Redis that may lose confirmed loans
    #[arg(
        long,
        env = "SLUICE_REQUIRE_DURABLE",
        value_parser = yes_or_no,
        value_name = "YES_OR_NO",
        num_args = 0..=1,
        require_equals = true,
        default_value = "no",
        default_missing_value = "yes"
    )]
    pub require_durable: bool,
    /// The administrator's token; without it one is made and printed at start
    #[arg(long, env = "SLUICE_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<AdminToken>,
    /// A file that holds the value of --admin-token
    #[arg(long, env = "SLUICE_ADMIN_TOKEN_FILE", value_parser = path())]
    pub admin_token_file: Option<PathBuf>,
    /// A file of tokens with names and roles; `service token NAME` makes one. With it, also reading needs a token. It is
    /// read again when it changes
    #[arg(long, env = "SLUICE_TOKENS_FILE", value_parser = path())]
    pub tokens_file: Option<PathBuf>,
    /// Print the description of the HTTP interface (OpenAPI 3.1) and exit
    #[arg(long)]
    pub openapi: bool,
    /// Ask the service at --listen whether it is ready, and exit: 0 if it is
    #[arg(long)]
    pub probe: bool,
    /// Process loans, from standard input, and exit: how loans are tried of which one may be why processes ended
    #[arg(long, hide = true)]
    pub try_loans: bool,
    /// A collector of OpenTelemetry, such as http://127.0.0.1:4318: traces and figures are sent to it by OTLP over HTTP. None
    /// unless it is set, here or in OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, env = "SLUICE_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Endpoint>,
    /// The share of loans that is traced, 0 to 1, beside those whose clients trace them; 0.01 unless set, here or in
    /// OTEL_TRACES_SAMPLER_ARG
    #[arg(long, env = "SLUICE_OTLP_SAMPLE_RATIO", value_parser = share)]
    pub otlp_sample_ratio: Option<f64>,
    /// How often figures are sent to the collector; 60s unless set, here or in OTEL_METRIC_EXPORT_INTERVAL
    #[arg(long, env = "SLUICE_OTLP_FIGURES_INTERVAL")]
    pub otlp_figures_interval: Option<Span>,
    /// Form of the log, on standard error: text or json
    #[arg(long, env = "SLUICE_LOG", default_value = "text")]
    pub log: LogFormat,
    /// What is logged: error, warn, info, debug or trace, also by module, such as info,mongodb=off
    #[arg(long, env = "SLUICE_LOG_LEVEL", default_value = "info", value_parser = text())]
    pub log_level: String,
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of serving.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Make a token: prints it on standard error, and its line for --tokens-file on standard output
    Token {
        /// Whose it is
        name: String,
        /// What it may do
        #[arg(long, value_enum, ignore_case = true, default_value_t = TokenRole::Viewer)]
        role: TokenRole,
    },
    /// Remove the personal data of one applicant from the records, the failures and Redis. Ids and counts stay; failed loans
    /// that wait are discarded
    Forget {
        /// The applicant's e-mail address; upper and lower case are the same
        #[arg(long)]
        applicant: String,
    },
}

/// OpenTelemetry's own names of what the flags set.
const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const FIGURES_INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
/// The share of loans that is traced, unless set.
const SAMPLE_RATIO: f64 = 0.01;

/// Whether this build asks the name service for the hosts of a `mongodb+srv://`.
const RESOLVES_SRV: bool = cfg!(feature = "mongodb-srv");

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes loans.
    Api,
    /// Processes loans.
    Worker,
    /// Records results: the recorder.
    Persister,
    /// Serves the dashboard.
    Dashboard,
}

impl Role {
    const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Persister, Self::Dashboard];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Persister => "persister",
            Self::Dashboard => "dashboard",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |role: &Self| role.name().eq_ignore_ascii_case(text.trim());
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            format!(
                "must be one of {}, or several with commas between",
                Self::ALL.map(Self::name).join(", ")
            )
        })
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, an object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be one of text, json"),
        }
    }
}

/// Values with commas between; what is empty between two commas, or behind the last one, is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let values = text.split(',').filter(|value| !value.trim().is_empty());
        values.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// The values of all lists that were given.
fn all<T: Clone>(lists: &[List<T>]) -> Vec<T> {
    lists
        .iter()
        .flat_map(|list| list.0.iter().cloned())
        .collect()
}

/// A text, without the spaces around it.
fn text() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().map(|text| text.trim().to_owned())
}

/// The address of a store, or several with commas between, its scheme in lower case.
fn address(text: &str) -> String {
    let text = text.trim().trim_end_matches([',', ' ']);
    match text.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => text.to_owned(),
    }
}

/// The name of a file, without the spaces around it; it need not be a text.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| match path.to_str() {
        Some(text) => text.trim().into(),
        None => path,
    })
}

/// A duration with its unit, such as `250ms`, `1.5s` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = humantime::parse_duration(text.trim()).map(Self);
        span.map_err(|_| {
            "not a duration: write a number and ms, s, m, h or d, such as 1.5s".to_owned()
        })
    }
}

/// A whole number.
fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let wrong = "not a whole number within its bounds: write digits alone, such as 5";
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| wrong.to_owned())
}

/// A share of all, 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be 0 to 1, such as 0.01".to_owned())
}

/// Yes or no, in the words that other programs use.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Ok(true),
        "0" | "false" | "no" | "off" | "n" | "f" => Ok(false),
        _ => Err("must be yes or no; 1, true and on, 0, false and off are the same".to_owned()),
    }
}

/// A size with its unit, such as `65536`, `64KiB` or `1MB`.
fn size(text: &str) -> Result<usize, String> {
    let wrong = "not a size: write bytes, or a number and KiB, MiB, kB or MB, such as 64KiB";
    let size: ByteSize = text.trim().parse().map_err(|_| wrong)?;
    usize::try_from(size.as_u64()).map_err(|_| wrong.to_owned())
}

/// Where to listen: a host, by number or by name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(String);

impl Listen {
    /// The addresses that it stands for, in the order in which they are to be tried.
    ///
    /// # Errors
    /// When its name leads nowhere.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<_> = self.0.to_socket_addrs()?.collect();
        // `localhost` may stand for both, and most clients try the older one.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(addresses)
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule =
            "not an address: write a host and a port, such as 127.0.0.1:8080 or localhost:8080";
        let text = text.trim();
        let (host, port) = text.rsplit_once(':').ok_or(rule)?;
        let is_host = text.parse::<SocketAddr>().is_ok()
            || (!host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)));
        match (is_host, port.parse::<u16>()) {
            (true, Ok(_)) => Ok(Self(text.to_owned())),
            _ => Err(rule),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest that anything may be set to take.
const SPAN_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest and the longest that records may be kept, if not for ever: a hundred years.
const KEPT: RangeInclusive<Duration> =
    Duration::from_secs(60 * 60)..=Duration::from_secs(100 * 366 * 24 * 60 * 60);
/// How often figures may be sent to a collector.
const FIGURES_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=SPAN_MAX;
/// The shortest that a time-out may be.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// Characters that MongoDB allows in no name of a database, beside those that nobody sees.
const NOT_IN_A_DATABASE: &str = "/\\. \"$*<>:|?";
/// Databases that are MongoDB's own: it keeps other rules for what is written there.
const DATABASES_OF_MONGODB: [&str; 3] = ["admin", "config", "local"];
/// Variables of the load generator, of builds, benches and tests, which begin as the service's own do.
const VARIABLES_OF_OTHERS: [&str; 16] = [
    "SLUICE_BROWSER",
    "SLUICE_CONDUCTOR_TOKEN",
    "SLUICE_GIT_COMMIT",
    "SLUICE_MANY",
    "SLUICE_MONGOD",
    "SLUICE_PERF",
    "SLUICE_PICTURES",
    "SLUICE_REDIS_SERVER",
    "SLUICE_RUN",
    "SLUICE_SERVICE",
    "SLUICE_SERVICE_URL",
    "SLUICE_SLOWDOWN_NS",
    "SLUICE_TARGET",
    "SLUICE_TESTBED",
    "SLUICE_VALKEY_SERVER",
    "SLUICE_WRK",
];
/// What a message repeats of a value: the reader has the rest.
const VALUE_SHOWN_LEN_MAX: usize = 80;

/// A flag as messages name it, with its variable.
fn named(flag: &str) -> String {
    let variable = flag
        .trim_start_matches("--")
        .replace('-', "_")
        .to_uppercase();
    format!("{flag} (SLUICE_{variable})")
}

impl Config {
    /// Whether this process has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles().contains(&role)
    }

    /// What this process does.
    pub fn roles(&self) -> Vec<Role> {
        all(&self.role)
    }

    /// The addresses under which browsers reach the service.
    pub fn public_urls(&self) -> Vec<PublicUrl> {
        all(&self.public_url)
    }

    /// Whose word about its clients counts.
    pub fn trusted_proxies(&self) -> Vec<TrustedProxy> {
        all(&self.trusted_proxy)
    }

    /// How long records are kept.
    pub fn retention(&self) -> Retention {
        Retention {
            loans: self.loans_kept.map(|span| span.0),
            failures: self.failures_kept.map(|span| span.0),
        }
    }

    /// The files for TLS to Redis.
    pub fn redis_tls(&self) -> TlsFiles {
        TlsFiles {
            ca: self.redis_tls_ca.clone(),
            cert: self.redis_tls_cert.clone(),
            key: self.redis_tls_key.clone(),
        }
    }

    /// Where traces and figures are sent: by the flags, else by the variables that OpenTelemetry gives their names. `None`:
    /// nowhere.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn telemetry(&self) -> Result<Option<Settings>, String> {
        for (name, value) in std::env::vars_os() {
            let is_ours = name.to_str().is_some_and(|name| name.starts_with("OTEL_"));
            if is_ours && value.to_str().is_none() {
                return Err(format!("{} is not UTF-8", name.display()));
            }
        }
        self.telemetry_by(|name| std::env::var(name).ok())
    }

    fn telemetry_by(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Settings>, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_disabled = variable("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let endpoint = match (&self.otlp_endpoint, variable(OTLP_ENDPOINT)) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(text)) => text
                .parse()
                .map_err(|why| format!("{OTLP_ENDPOINT}: {} is {why}", shown(&text)))?,
            (None, None) => return Ok(None),
        };
        if is_disabled {
            return Ok(None);
        }
        let endpoint = match variable(OTLP_HEADERS) {
            Some(headers) => endpoint
                .with_headers(&headers)
                .map_err(|why| format!("{OTLP_HEADERS} {why}"))?,
            None => endpoint,
        };
        let attributes =
            pairs(&variable(RESOURCE_ATTRIBUTES).unwrap_or_default()).ok_or_else(|| {
                format!("{RESOURCE_ATTRIBUTES} must be NAME=VALUE, several with commas between")
            })?;
        let by_attribute = attributes
            .iter()
            .find(|(name, _)| name == "service.name")
            .map(|(_, value)| value.clone());
        let interval = match (self.otlp_figures_interval, variable(FIGURES_INTERVAL)) {
            (Some(span), _) => span.0,
            (None, Some(text)) => text
                .trim()
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| format!("{FIGURES_INTERVAL} must be a number of milliseconds"))?,
            (None, None) => Duration::from_secs(60),
        };
        if !FIGURES_INTERVALS.contains(&interval) {
            return Err(format!(
                "{}, or {FIGURES_INTERVAL}, must be 1s to 24h",
                named("--otlp-figures-interval")
            ));
        }
        Ok(Some(Settings {
            endpoint,
            sampler: self.sampler(&variable)?,
            service_name: variable("OTEL_SERVICE_NAME")
                .or(by_attribute)
                .unwrap_or_else(|| "sluice".to_owned()),
            attributes,
            figures_interval: interval,
        }))
    }

    fn sampler(&self, variable: &impl Fn(&str) -> Option<String>) -> Result<Sampler, String> {
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        let ratio = match (self.otlp_sample_ratio, variable(SAMPLER_ARG)) {
            (Some(ratio), _) => Some(ratio).filter(is_share),
            (None, Some(text)) => text.trim().parse().ok().filter(is_share),
            (None, None) => Some(SAMPLE_RATIO),
        };
        let wrong = || {
            let flag = named("--otlp-sample-ratio");
            format!("{flag}, or {SAMPLER_ARG}, must be 0 to 1, such as 0.01")
        };
        // Before the name is: what the flag says counts, whatever the variable names.
        let name = match self.otlp_sample_ratio {
            Some(_) => None,
            None => variable(SAMPLER),
        };
        let name = name.unwrap_or_else(|| "parentbased_traceidratio".to_owned());
        let name = name.trim().to_ascii_lowercase();
        Sampler::named(&name, ratio.ok_or_else(wrong)?).ok_or_else(|| {
            format!("{SAMPLER} must be always_on, always_off or traceidratio, or one of these with parentbased_ before it")
        })
    }

    /// Reads the command line, the environment, and the files that they name. Asked for help or the version, it prints
    /// that and ends the process.
    ///
    /// # Errors
    /// What is wrong, in one line that names the flag and the variable.
    pub fn read() -> Result<Self, String> {
        are_utf8(&Self::command())?;
        let matches = without_empty(Self::command())
            .try_get_matches()
            .map_err(|error| explain(&error))?;
        let mut config = Self::from_arg_matches(&matches).map_err(|error| explain(&error))?;
        config.read_secrets(&matches)?;
        Ok(config)
    }

    /// The variables of the environment that look like settings and are none: misspelt ones, or those of another version.
    pub fn unknown_variables() -> Vec<String> {
        let command = Self::command();
        let known: Vec<_> = command.get_arguments().filter_map(Arg::get_env).collect();
        let unknown = std::env::vars_os().filter(|(name, _)| !known.contains(&name.as_os_str()));
        let names = unknown.map(|(name, _)| name.to_string_lossy().into_owned());
        let mut names: Vec<_> = names
            .filter(|name| is_meant_for_the_service(name))
            .collect();
        names.sort_unstable();
        names
    }

    /// Puts what the files of secrets hold in its place.
    fn read_secrets(&mut self, matches: &ArgMatches) -> Result<(), String> {
        let is_given = |id: &str| {
            let source = matches.value_source(id);
            source.is_some_and(|source| source != ValueSource::DefaultValue)
        };
        let read = |id: &str, file: &Option<PathBuf>| {
            let flag = format!("--{}", id.replace('_', "-"));
            match file {
                Some(_) if is_given(id) => Err(format!(
                    "{} and {}: give one of them",
                    named(&flag),
                    named(&format!("{flag}-file"))
                )),
                Some(file) => secret(file)
                    .map(Some)
                    .map_err(|why| format!("{}: {why}", named(&format!("{flag}-file")))),
                None => Ok(None),
            }
        };
        if let Some(url) = read("redis_url", &self.redis_url_file)? {
            self.redis_url = address(&url);
        }
        if let Some(uri) = read("mongodb_uri", &self.mongodb_uri_file)? {
            self.mongodb_uri = address(&uri);
        }
        if let Some(token) = read("admin_token", &self.admin_token_file)? {
            self.admin_token = Some(token.into());
        }
        Ok(())
    }

    /// Checks what one flag alone cannot tell.
    ///
    /// # Errors
    /// Every fault, in one line.
    pub fn check(&self) -> Result<(), String> {
        let mut faults = String::new();
        let mut require = |holds: bool, flag: &str, rule: &str| {
            if !holds {
                let gap = if faults.is_empty() { "" } else { "; " };
                let _ = write!(faults, "{gap}{} {rule}", named(flag));
            }
        };
        require(!self.roles().is_empty(), "--role", "must name a role");
        require(
            (1..=u64::from(RECORDER_TASK)).contains(&self.workers_max),
            "--workers-max",
            "must be 1 to 250",
        );
        require(
            self.otlp_figures_interval
                .is_none_or(|span| FIGURES_INTERVALS.contains(&span.0)),
            "--otlp-figures-interval",
            "must be 1s to 24h",
        );
        require(
            self.loans_per_worker >= 1,
            "--loans-per-worker",
            "must be at least 1",
        );
        require(
            (1..=PARTITIONS_MAX).contains(&self.partitions),
            "--partitions",
            "must be 1 to 1024",
        );
        require(
            (Duration::from_millis(1)..=Duration::from_secs(3600))
                .contains(&self.record_interval.0),
            "--record-interval",
            "must be 1ms to 1h",
        );
        for (span, flag) in [
            (self.claim_timeout, "--claim-timeout"),
            (self.admission_timeout, "--admission-timeout"),
            (self.redis_timeout, "--redis-timeout"),
            (self.mongodb_timeout, "--mongodb-timeout"),
        ] {
            require(
                (TIMEOUT_MIN..=SPAN_MAX).contains(&span.0),
                flag,
                "must be 200ms to 24h",
            );
        }
        require(
            (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.keep_alive.0),
            "--keep-alive",
            "must be 1s to 1h",
        );
        for (span, flag) in [
            (self.loans_kept, "--loans-kept"),
            (self.failures_kept, "--failures-kept"),
        ] {
            require(
                span.is_none_or(|span| KEPT.contains(&span.0)),
                flag,
                "must be 1h to 100 years (36600d)",
            );
        }
        require(
            self.scale_cool_down.0 <= SPAN_MAX,
            "--scale-cool-down",
            "must not exceed 24h",
        );
        require(
            self.backlog_max >= u64::from(self.partitions),
            "--backlog-max",
            "must be at least one loan for each partition",
        );
        require(
            (256..=1024 * 1024).contains(&self.body_max),
            "--body-max",
            "must be 256 to 1048576 bytes (1MiB)",
        );
        require(
            self.admin_token.as_ref().is_none_or(AdminToken::is_good),
            "--admin-token",
            "must have at least 8 visible ASCII characters and no space",
        );
        require(
            (1..=1_000_000).contains(&self.connections_max),
            "--connections-max",
            "must be 1 to 1000000",
        );
        require(
            self.connections_per_client_max != Some(0),
            "--connections-per-client-max",
            "must be at least 1",
        );
        for (cert, key, is_whole) in [
            (
                "--tls-cert",
                "--tls-key",
                self.tls_cert.is_some() == self.tls_key.is_some(),
            ),
            (
                "--redis-tls-cert",
                "--redis-tls-key",
                self.redis_tls_cert.is_some() == self.redis_tls_key.is_some(),
            ),
        ] {
            let rule = format!("and {} go together: give both or neither", named(key));
            require(is_whole, cert, &rule);
        }
        let database = &self.mongodb_database;
        require(
            (1..=63).contains(&database.len())
                && !database.contains(|c: char| c.is_control() || NOT_IN_A_DATABASE.contains(c))
                && !DATABASES_OF_MONGODB.contains(&&**database),
            "--mongodb-database",
            "must be the name of a database: 1 to 63 bytes without spaces, control characters and / \\ . \" $ * < > : | ?, and not admin, config or local, which are MongoDB's own",
        );
        for (url, flag) in [
            (&self.redis_url, "--redis-url"),
            (&self.mongodb_uri, "--mongodb-uri"),
        ] {
            require(!url.trim().is_empty(), flag, "must not be empty");
        }
        require(
            RESOLVES_SRV || !self.mongodb_uri.starts_with("mongodb+srv://"),
            "--mongodb-uri",
            "must be mongodb://HOST,HOST/?replicaSet=NAME, its hosts written out: mongodb+srv:// needs a release of this program, or a build with --features mongodb-srv",
        );
        require(
            is_log_level(&self.log_level),
            "--log-level",
            "must be error, warn, info, debug or trace, also by module, such as info,mongodb=off",
        );
        if let Err(fault) = self.telemetry() {
            let gap = if faults.is_empty() { "" } else { "; " };
            let _ = write!(faults, "{gap}{fault}");
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

/// Whether a variable can have been meant as a setting: it begins as they do, and is nobody else's. Kubernetes makes some for
/// each of its services, by the service's name.
fn is_meant_for_the_service(name: &str) -> bool {
    let is_of_kubernetes = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"]
        .iter()
        .any(|part| name.contains(part))
        || name.ends_with("_PORT");
    name.starts_with("SLUICE_") && !is_of_kubernetes && !VARIABLES_OF_OTHERS.contains(&name)
}

/// Whether this says what is logged. A word that is no level would be taken for a module's name, and all else would be
/// silent.
fn is_log_level(text: &str) -> bool {
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok();
    let mut parts = text.split(',');
    parts.all(|part| is_level(part.trim()) || part.contains('='))
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

/// Whether the variables are texts, but for those that name files.
fn are_utf8(command: &clap::Command) -> Result<(), String> {
    for arg in command.get_arguments() {
        let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        let value = arg.get_env().and_then(std::env::var_os);
        if !is_path && value.is_some_and(|value| value.to_str().is_none()) {
            let flag = arg.get_long().unwrap_or_default();
            return Err(format!("{} is not UTF-8", named(&format!("--{flag}"))));
        }
    }
    Ok(())
}

/// The command with each empty variable taken as none.
fn without_empty(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let is_empty = arg
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.to_str().is_some_and(|text| text.trim().is_empty()));
        if is_empty {
            arg.env(Resettable::Reset)
        } else {
            arg
        }
    })
}

/// What clap has to say, in one line; help and the version it prints itself.
fn explain(error: &clap::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidUtf8 => return "an argument is not UTF-8".to_owned(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => {}
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg).and_then(|arg| arg.split([' ', '=', '[']).next());
    let (Some(flag), Some(value)) = (flag, text(ContextKind::InvalidValue)) else {
        return in_one_line(&error.render().to_string());
    };
    let why = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        _ if value.is_empty() => return format!("{} needs a value", named(flag)),
        (None, Some(ContextValue::Strings(known))) => {
            format!("must be one of {}", known.join(", "))
        }
        _ => "is not understood".to_owned(),
    };
    format!("{}: {} is {why}", named(flag), shown(value))
        .replace(" is must ", " must ")
        .replace(" is is ", " is ")
}

/// A message of clap's of several lines, without what it says of the usage.
fn in_one_line(text: &str) -> String {
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next();
    let words: Vec<_> = text.unwrap_or_default().split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{line}; see --help")
}

/// A value as a message repeats it: without what stands before an `@`, as a user and a password do in an address.
fn shown(value: &str) -> String {
    let start = value.find("://").map_or(0, |at| at + "://".len());
    let value = match value[start..].rfind('@') {
        Some(at) => &format!("{}…{}", &value[..start], &value[start + at..]),
        None => value,
    };
    match value.char_indices().nth(VALUE_SHOWN_LEN_MAX) {
        Some((at, _)) => format!("{:?}…", &value[..at]),
        None => format!("{value:?}"),
    }
}

/// Names and values: `name=value,name=value`, values percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim());
            let value = value.decode_utf8().ok()?.into_owned();
            Some((name.trim().to_owned(), value))
        })
        .collect()
}

/// The longest secret.
const SECRET_LEN_MAX: u64 = 64 * 1024;

/// What a file holds, without the line break at its end.
fn secret(file: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let name = file.display();
    std::fs::File::open(file)
        .and_then(|open| open.take(SECRET_LEN_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if text.len() as u64 > SECRET_LEN_MAX {
        return Err(format!("{name} is longer than {SECRET_LEN_MAX} bytes"));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    // Some editors put a byte order mark before a text.
    let secret = secret.strip_prefix('\u{feff}').unwrap_or(secret).trim();
    if secret.is_empty() {
        return Err(format!("{name} is empty"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    /// They stand here in words, and as numbers where the code's other bounds rest on them.
    #[test]
    fn the_defaults_are_those_of_the_limits() {
        let config = Config::try_parse_from(["service"]).unwrap();
        assert_eq!(config.admission_timeout.0, limits::ADMISSION_TIMEOUT);
        assert_eq!(config.redis_timeout.0, limits::REDIS_TIMEOUT);
        assert_eq!(config.mongodb_timeout.0, limits::RECORD_TIMEOUT);
        assert_eq!(config.body_max, limits::BODY_LEN_MAX);
    }

    #[test]
    fn no_two_tasks_have_one_lease_holder() {
        for (workers, is_good) in [("1", true), ("250", true), ("251", false)] {
            let config = Config::try_parse_from(["service", "--workers-max", workers]).unwrap();
            assert_eq!(config.check().is_ok(), is_good, "{workers}");
        }
        let recorders = usize::from(limits::recorders(1));
        assert!(usize::from(RECORDER_TASK) + recorders <= usize::from(u8::MAX) + 1);
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("250ms", 250),
            ("1.5s", 1_500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h 30m", 5_400_000),
            ("0.5h", 1_800_000),
            ("365d", 31_536_000_000),
            (" 30s ", 30_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for wrong in [
            "",
            " ",
            "250",
            "ms",
            "-1s",
            "1,5s",
            "1 fortnight",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            let why = wrong.parse::<Span>().unwrap_err();
            assert!(why.contains("h or d"), "{wrong}: {why}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        for (text, bytes) in [
            ("4096", 4_096),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("1MB", 1_000_000),
            ("1.5 KiB", 1_536),
            (" 64KiB ", 65_536),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "KiB", "-1", "1 parsec", "NaN"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_may_be_a_name() {
        for good in [
            "127.0.0.1:8080",
            "[::1]:0",
            "localhost:8080",
            "api-1.intern:80",
        ] {
            assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
        }
        for wrong in [
            "",
            "8080",
            ":8080",
            "localhost",
            "localhost:http",
            "localhost:70000",
            "http://localhost:8080",
            "::1:8080",
            "a b:80",
        ] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
        let localhost: Listen = "localhost:8080".parse().unwrap();
        let first = localhost.resolve().unwrap()[0];
        assert_eq!(first, SocketAddr::from(([127, 0, 0, 1], 8080)));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let config = Config::parse_from([
            "service",
            "--workers-max",
            "0",
            "--loans-per-worker",
            "0",
            "--body-max",
            "1",
        ]);
        let faults = config.check().unwrap_err();
        for flag in ["workers-max", "loans-per-worker", "body-max"] {
            let variable = flag.replace('-', "_").to_uppercase();
            let named = format!("--{flag} (SLUICE_{variable}) must");
            assert!(faults.contains(&named), "{faults}");
        }
        assert_eq!(Config::parse_from(["service"]).check(), Ok(()));
    }

    /// The flags count before the variables that OpenTelemetry names, and each is checked.
    #[test]
    fn telemetry_is_set_by_flags_or_by_the_usual_variables() {
        let told = |arguments: &[&str], variables: &[(&str, &str)]| {
            let config = Config::parse_from([&["service"], arguments].concat());
            config.telemetry_by(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(told(&[], &[]).unwrap().is_none());
        assert!(told(&[], &[(SAMPLER_ARG, "2")]).unwrap().is_none());
        let endpoint = (OTLP_ENDPOINT, "http://collector:4318");
        let settings = told(&[], &[endpoint]).unwrap().unwrap();
        assert_eq!(format!("{:?}", settings.endpoint), "http://collector:4318/");
        assert_eq!(
            (settings.sampler.ratio, settings.sampler.follows_clients),
            (0.01, true)
        );
        assert_eq!(settings.service_name, "sluice");
        assert_eq!(settings.figures_interval, Duration::from_secs(60));
        let variables = [
            endpoint,
            (SAMPLER, "traceidratio"),
            (SAMPLER_ARG, "0.5"),
            (FIGURES_INTERVAL, "5000"),
            (
                RESOURCE_ATTRIBUTES,
                "service.name=loans,deployment.environment=a%20b",
            ),
        ];
        let settings = told(&[], &variables).unwrap().unwrap();
        assert_eq!(
            (settings.sampler.ratio, settings.sampler.follows_clients),
            (0.5, false)
        );
        assert_eq!(settings.service_name, "loans");
        assert_eq!(settings.figures_interval, Duration::from_secs(5));
        assert_eq!(settings.attributes[1].1, "a b");
        let flags = [
            "--otlp-endpoint=http://other:1",
            "--otlp-sample-ratio=1",
            "--otlp-figures-interval=2s",
        ];
        let named = [&variables[..], &[("OTEL_SERVICE_NAME", "mine")]].concat();
        let settings = told(&flags, &named).unwrap().unwrap();
        assert_eq!(format!("{:?}", settings.endpoint), "http://other:1/");
        assert_eq!(
            (settings.sampler.ratio, settings.sampler.follows_clients),
            (1.0, true)
        );
        assert_eq!(settings.service_name, "mine");
        assert_eq!(settings.figures_interval, Duration::from_secs(2));
        let disabled = [endpoint, ("OTEL_SDK_DISABLED", "true")];
        assert!(told(&[], &disabled).unwrap().is_none());
        for (wrong, named) in [
            ((OTLP_ENDPOINT, "collector"), OTLP_ENDPOINT),
            ((OTLP_HEADERS, "secret"), OTLP_HEADERS),
            ((SAMPLER, "jaeger_remote"), SAMPLER),
            ((SAMPLER_ARG, "1.5"), "--otlp-sample-ratio"),
            ((FIGURES_INTERVAL, "0"), "--otlp-figures-interval"),
            ((RESOURCE_ATTRIBUTES, "a"), RESOURCE_ATTRIBUTES),
        ] {
            let fault = told(&[], &[wrong, endpoint]).unwrap_err();
            assert!(fault.contains(named), "{fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    /// The driver's own words would name a feature of the driver.
    #[test]
    fn an_address_that_this_build_cannot_resolve_says_what_to_do() {
        let uri = "mongodb+srv://record.example/";
        let checked = Config::parse_from(["service", "--mongodb-uri", uri]).check();
        if RESOLVES_SRV {
            assert_eq!(checked, Ok(()));
        } else {
            let faults = checked.unwrap_err();
            for part in [
                "--mongodb-uri (SLUICE_MONGODB_URI)",
                "mongodb://HOST,HOST/",
                "--features mongodb-srv",
            ] {
                assert!(faults.contains(part), "{faults}");
            }
        }
    }
}

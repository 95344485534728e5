//! Settings: flags, each with an environment variable of the same name, checked together.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::http::admin::AdminToken;
use crate::http::names::PublicUrl;
use crate::http::peer::TrustedProxy;
use crate::limits::BODY_LEN_MAX;

/// Takes loan requests in bursts, loses none, processes each exactly once.
#[derive(Clone, Debug, Parser)]
#[command(name = "service", version)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "SLUICE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// An address under which browsers reach the service, such as https://loans.example; may be given several times, or
    /// with commas between. Other names than these, `localhost` and the addresses it listens on are refused
    #[arg(long, env = "SLUICE_PUBLIC_URL", value_delimiter = ',')]
    pub public_url: Vec<PublicUrl>,
    /// A proxy, or a network of proxies, whose word about its clients counts (Forwarded, X-Forwarded-For); may be given
    /// several times
    #[arg(long, env = "SLUICE_TRUSTED_PROXY", value_delimiter = ',')]
    pub trusted_proxy: Vec<TrustedProxy>,
    /// Redis, the queue
    #[arg(
        long,
        env = "SLUICE_REDIS_URL",
        default_value = "redis://127.0.0.1:6379/0",
        hide_env_values = true
    )]
    pub redis_url: String,
    /// MongoDB, the record
    #[arg(
        long,
        env = "SLUICE_MONGODB_URI",
        default_value = "mongodb://127.0.0.1:27017/",
        hide_env_values = true
    )]
    pub mongodb_uri: String,
    /// Database in MongoDB
    #[arg(long, env = "SLUICE_MONGODB_DATABASE", default_value = "sluice")]
    pub mongodb_database: String,
    /// What this process does
    #[arg(
        long,
        env = "SLUICE_ROLE",
        value_delimiter = ',',
        default_value = "api,worker,persister,dashboard"
    )]
    pub role: Vec<Role>,
    /// Most workers
    #[arg(long, env = "SLUICE_WORKERS_MAX", default_value_t = 5)]
    pub workers_max: u64,
    /// Queued loans that call for one more worker
    #[arg(long, env = "SLUICE_LOANS_PER_WORKER", default_value_t = 50)]
    pub loans_per_worker: u64,
    /// How long fewer workers must suffice before some are stopped
    #[arg(long, env = "SLUICE_SCALE_COOL_DOWN", default_value = "5s")]
    pub scale_cool_down: Span,
    /// Partitions of the queue; a change needs a drained system
    #[arg(long, env = "SLUICE_PARTITIONS", default_value_t = 1)]
    pub partitions: u32,
    /// How long results gather before they are recorded
    #[arg(long, env = "SLUICE_RECORD_INTERVAL", default_value = "250ms")]
    pub record_interval: Span,
    /// A loan that a silent worker has held this long is given to another
    #[arg(long, env = "SLUICE_CLAIM_TIMEOUT", default_value = "30s")]
    pub claim_timeout: Span,
    /// Redis has this long to answer; then the outcome of a request counts as unknown
    #[arg(long, env = "SLUICE_REDIS_TIMEOUT", default_value = "10s")]
    pub redis_timeout: Span,
    /// MongoDB has this long to confirm a batch; then the batch is written again
    #[arg(long, env = "SLUICE_MONGODB_TIMEOUT", default_value = "30s")]
    pub mongodb_timeout: Span,
    /// Most queued loans; beyond it requests are answered 503
    #[arg(long, env = "SLUICE_BACKLOG_MAX", default_value_t = 1_000_000)]
    pub backlog_max: u64,
    /// Largest request body in bytes
    #[arg(long, env = "SLUICE_BODY_MAX", default_value_t = BODY_LEN_MAX)]
    pub body_max: usize,
    /// Most connections at once
    #[arg(long, env = "SLUICE_CONNECTIONS_MAX", default_value_t = 10_000)]
    pub connections_max: usize,
    /// Refuse to start on a Redis that may lose confirmed loans
    #[arg(long, env = "SLUICE_REQUIRE_DURABLE")]
    pub require_durable: bool,
    /// The administrator's token; without it one is made and printed at start
    #[arg(long, env = "SLUICE_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<AdminToken>,
    /// Print the description of the HTTP interface (OpenAPI 3.1) and exit
    #[arg(long)]
    pub openapi: bool,
    /// Ask the service at --listen whether it is ready, and exit: 0 if it is
    #[arg(long)]
    pub probe: bool,
    /// Form of the log, on standard error
    #[arg(long, env = "SLUICE_LOG", default_value = "text")]
    pub log: LogFormat,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Takes requests.
    Api,
    /// Processes loans.
    Worker,
    /// Records results.
    Persister,
    /// Serves the dashboard.
    Dashboard,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, an object a line.
    Json,
}

/// A duration with its unit, such as `250ms`, `30s` or `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("{text:?} is not a duration: write a number and ms, s or m, such as 250ms");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = text[..split].parse().map_err(|_| wrong())?;
        let ms = match &text[split..] {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            _ => None,
        };
        ms.map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(wrong)
    }
}

impl Config {
    /// Whether this process has a role.
    pub fn has(&self, role: Role) -> bool {
        self.role.contains(&role)
    }

    /// Checks what one flag alone cannot tell.
    ///
    /// # Errors
    /// Every fault, in one line.
    pub fn check(&self) -> Result<(), String> {
        let mut faults = String::new();
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                let _ = write!(
                    faults,
                    "{}{fault}",
                    if faults.is_empty() { "" } else { "; " }
                );
            }
        };
        require(
            self.workers_max >= 1 && self.workers_max <= 1_000,
            "--workers-max must be 1 to 1000",
        );
        require(
            self.loans_per_worker >= 1,
            "--loans-per-worker must be at least 1",
        );
        require(
            self.partitions >= 1 && self.partitions <= 1_024,
            "--partitions must be 1 to 1024",
        );
        require(
            u64::from(self.partitions) <= self.workers_max,
            "--partitions must not exceed --workers-max: each partition needs a worker of its own",
        );
        require(
            self.record_interval.0 >= Duration::from_millis(1)
                && self.record_interval.0 <= Duration::from_secs(60),
            "--record-interval must be 1ms to 60s",
        );
        require(
            self.claim_timeout.0 >= Duration::from_millis(200),
            "--claim-timeout must be at least 200ms",
        );
        require(
            self.redis_timeout.0 >= Duration::from_millis(200),
            "--redis-timeout must be at least 200ms",
        );
        require(
            self.mongodb_timeout.0 >= Duration::from_millis(200),
            "--mongodb-timeout must be at least 200ms",
        );
        require(
            self.backlog_max >= u64::from(self.partitions),
            "--backlog-max must be at least one loan for each partition",
        );
        require(
            self.body_max >= 256 && self.body_max <= 1024 * 1024,
            "--body-max must be 256 to 1048576 bytes",
        );
        require(
            self.admin_token.as_ref().is_none_or(AdminToken::is_good),
            "--admin-token must have at least 8 visible ASCII characters and no space",
        );
        require(
            self.connections_max >= 1,
            "--connections-max must be at least 1",
        );
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!("250ms".parse(), Ok(Span(Duration::from_millis(250))));
        assert_eq!("30s".parse(), Ok(Span(Duration::from_secs(30))));
        assert_eq!("2m".parse(), Ok(Span(Duration::from_secs(120))));
        for wrong in [
            "",
            "250",
            "ms",
            "-1s",
            "1h",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
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
        for flag in ["--workers-max", "--loans-per-worker", "--body-max"] {
            assert!(faults.contains(flag), "{faults}");
        }
        assert_eq!(Config::parse_from(["service"]).check(), Ok(()));
    }
}

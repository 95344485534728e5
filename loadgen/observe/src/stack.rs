//! A service with its stores: one that runs already, or a private one.

use std::path::PathBuf;

use plan::scenario::Scenario;
use testbed::{Deployment, DeploymentOptions, ServiceOptions, ServiceProcess, TestbedError};

use crate::markers;

/// A service that runs already.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http://host:port`.
    pub url: String,
    /// Further instances, to which the load goes too.
    pub other_urls: Vec<String>,
    /// Its Redis.
    pub redis_url: String,
    /// Its MongoDB.
    pub mongodb_uri: String,
    /// The database in it.
    pub mongodb_database: String,
    /// Whether the database holds nothing but this run, so that every record in it is judged.
    pub private: bool,
}

impl Target {
    /// Its address without a user's name and password.
    pub fn shown_url(&self) -> String {
        match (self.url.split_once("://"), self.url.rfind('@')) {
            (Some((scheme, _)), Some(at)) => format!("{scheme}://{}", &self.url[at + 1..]),
            _ => self.url.clone(),
        }
    }

    /// All its instances, the first one first, each as a service of the same stores.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        std::iter::once(self.clone()).chain(self.each_other())
    }

    /// Its further instances, each as a service of the same stores.
    pub fn each_other(&self) -> impl Iterator<Item = Self> {
        self.other_urls.iter().map(|url| Self {
            url: url.clone(),
            other_urls: Vec::new(),
            ..self.clone()
        })
    }

    /// The addresses of all instances, as the command line takes them, without users' names and passwords.
    pub fn shown_urls(&self) -> String {
        let mut shown = vec![self.shown_url()];
        shown.extend(self.each_other().map(|other| other.shown_url()));
        shown.join(",")
    }
}

/// Arguments of the service on a private stack, as the scenario sets them.
pub fn service_arguments(scenario: &Scenario) -> Vec<String> {
    let settings = &scenario.target;
    let mut arguments = vec![format!("--partitions={}", scenario.stack.partitions)];
    if let Some(workers_max) = settings.workers_max {
        arguments.push(format!("--workers-max={workers_max}"));
    }
    if let Some(loans_per_worker) = settings.loans_per_worker {
        arguments.push(format!("--loans-per-worker={loans_per_worker}"));
    }
    arguments.extend(settings.service_arguments.iter().cloned());
    arguments
}

/// The stack, where it is, and the token of its administrator.
///
/// # Errors
/// When the scenario's layout is none, or a server does not start.
pub async fn private_stack(
    scenario: &Scenario,
    service_binary: Option<PathBuf>,
) -> Result<(Target, Deployment, Option<String>), TestbedError> {
    let shape = &scenario.stack;
    let token = markers::random_token();
    let service = ServiceOptions {
        binary: service_binary,
        arguments: service_arguments(scenario),
        environment: vec![(markers::TOKEN_VARIABLE.to_owned(), token.clone())],
        ..ServiceOptions::default()
    };
    let mongodb_database = service.mongodb_database.clone();
    let stack = Deployment::start(DeploymentOptions {
        redis: shape.redis.parse().map_err(TestbedError::Layout)?,
        mongodb: shape.mongodb.parse().map_err(TestbedError::Layout)?,
        instances: shape.instances,
        service,
        ..DeploymentOptions::default()
    })
    .await?;
    let mut urls = stack.instances.iter().map(ServiceProcess::url);
    let target = Target {
        url: urls.next().unwrap_or_default(),
        other_urls: urls.collect(),
        redis_url: stack.redis.urls().join(","),
        mongodb_uri: stack.mongodb.uri(),
        mongodb_database,
        private: true,
    };
    Ok((target, stack, Some(token)))
}

//! OpenTelemetry: traces of sampled loans and the figures of `/metrics`, sent to a collector by OTLP over HTTP. Off unless a
//! collector is named.
//!
//! A loan's trace begins with its request and follows the loan through every process: its context travels with it, in the
//! bundle. A bundle joins many loans, so it has a trace of its own, whose id follows from the bundle's name: nothing has to
//! travel for that. Spans of the loan and of the bundle name each other by links.
//!
//! `sampler` decides which loans; `steps` makes the spans of each step; `spans` holds what is not sent yet, within a bound;
//! `encode` writes the protocol; `collector` sends. Nothing here ever waits for the collector but its own task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub mod collector;
pub mod context;
mod encode;
mod sampler;
mod spans;
mod steps;

pub use collector::Endpoint;
pub use context::Context;
pub use sampler::Sampler;
pub use spans::{Kind, Span};
pub use steps::Traced;

use crate::figures::Family;
use collector::{Collector, Signal};
use encode::Resource;
use sampler::Ids;
use spans::Unsent;

/// Spans gather this long before they are sent.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// At the end of the process what is left has this long to be sent.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// How telemetry is set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the collector is.
    pub endpoint: Endpoint,
    /// Which loans are traced.
    pub sampler: Sampler,
    /// The name of the service among others.
    pub service_name: String,
    /// What else is to be said of this service, by its names.
    pub attributes: Vec<(String, String)>,
    /// How often figures are sent.
    pub figures_interval: Duration,
}

/// Takes the spans of this process. Off by default: then every question is one look at an `Option`.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Tracer>>);

#[derive(Debug)]
struct Tracer {
    sampler: Sampler,
    ids: Ids,
    unsent: Unsent,
}

impl Traces {
    fn on(sampler: Sampler) -> Self {
        Self(Some(Arc::new(Tracer {
            sampler,
            ids: Ids::random(),
            unsent: Unsent::default(),
        })))
    }

    /// Spans that there was no room for.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |tracer| tracer.unsent.dropped())
    }
}

/// What sends the spans and figures of this process.
#[derive(Debug)]
pub struct Telemetry {
    collector: Collector,
    resource: Arc<Resource>,
    traces: Traces,
    figures_interval: Duration,
}

/// The tasks that send.
#[derive(Debug)]
pub struct Sending {
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Telemetry {
    /// Telemetry of the instance of this name.
    ///
    /// # Errors
    /// What is wrong with the certificates of this machine, for a collector at `https://`.
    pub fn new(settings: Settings, instance: &str) -> Result<Self, String> {
        Ok(Self {
            collector: Collector::new(settings.endpoint)?,
            resource: Arc::new(Resource::new(
                &settings.service_name,
                instance,
                &settings.attributes,
            )),
            traces: Traces::on(settings.sampler),
            figures_interval: settings.figures_interval,
        })
    }

    /// Where spans go.
    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// Begins to send spans, and what `figures` tells.
    pub fn start(self, figures: impl Fn() -> Vec<Family> + Send + 'static) -> Sending {
        let (stop, stopping) = watch::channel(false);
        let collector = Arc::new(self.collector);
        let spans = send_spans(
            Arc::clone(&collector),
            Arc::clone(&self.resource),
            self.traces,
            stopping.clone(),
        );
        let figures = send_figures(
            collector,
            self.resource,
            figures,
            self.figures_interval,
            stopping,
        );
        Sending {
            stop,
            tasks: [tokio::spawn(spans), tokio::spawn(figures)],
        }
    }
}

impl Sending {
    /// Sends what is left, if the collector takes it soon.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        let [spans, figures] = self.tasks;
        let both = async { tokio::join!(spans, figures) };
        if tokio::time::timeout(END_TIMEOUT, both).await.is_err() {
            tracing::debug!("the last spans and figures were not taken in time");
        }
    }
}

/// Sends spans until the end, and then what is left once.
async fn send_spans(
    collector: Arc<Collector>,
    resource: Arc<Resource>,
    traces: Traces,
    mut stop: watch::Receiver<bool>,
) {
    let Traces(Some(tracer)) = traces else {
        return;
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(SEND_INTERVAL) => {}
            () = tracer.unsent.is_much() => {}
            () = crate::shutdown::stopped(&mut stop) => {}
        }
        let is_last = *stop.borrow();
        loop {
            let batch = tracer.unsent.take();
            if batch.is_empty() {
                break;
            }
            let body = encode::spans(&resource, &batch);
            // A batch that is not taken is offered again; what comes meanwhile waits, within its bound.
            let len = batch.len() as u64;
            let lost = collector
                .deliver(Signal::Traces, body, len, &mut stop)
                .await;
            tracer.unsent.note_dropped(lost);
        }
        if is_last {
            return;
        }
    }
}

/// Sends figures until the end, and then once more.
async fn send_figures(
    collector: Arc<Collector>,
    resource: Arc<Resource>,
    figures: impl Fn() -> Vec<Family>,
    interval: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let started_us = crate::clock::now_us();
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = crate::shutdown::stopped(&mut stop) => {}
        }
        let is_last = *stop.borrow();
        let now_us = crate::clock::now_us();
        let body = encode::figures(&resource, &figures(), started_us, now_us);
        // Those of a moment ago are worth nothing: they are not offered twice.
        collector.offer(Signal::Metrics, body).await;
        if is_last {
            return;
        }
    }
}

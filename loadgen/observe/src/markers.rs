//! Tells the service where the run is, for whoever watches it on a dashboard: start, phases, the response time as the
//! clients see it, end. Best effort: the load never waits for it, and nothing fails with it.

use std::time::Duration;

use call::Remote;
use hdrhistogram::Histogram;
use hyper::header::AUTHORIZATION;
use record::recorder::Recorder;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

/// Between two response times.
const LATENCY_EVERY: Duration = Duration::from_secs(1);
/// Markers that wait to be sent; more are dropped.
const WAITING_MAX: usize = 64;
/// How long the end of a run waits until its last markers are sent.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Where a service finds the token of its administrator.
pub const TOKEN_VARIABLE: &str = "SLUICE_ADMIN_TOKEN";

/// The token for a service that runs already, if this process knows it.
pub fn token_of_environment() -> Option<String> {
    std::env::var(TOKEN_VARIABLE)
        .ok()
        .filter(|token| !token.is_empty())
}

/// What a token stands in, in the header `Authorization`.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A token for a private service. Without one the service makes its own.
pub fn random_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The dashboard's address. What stands after `#` is never sent to a server, and so is in no log.
pub fn dashboard_link(url: &str, token: Option<&str>) -> String {
    token.map_or_else(
        || format!("{url}/"),
        |token| format!("{url}/#token={token}"),
    )
}

/// The markers of one run.
pub struct Markers {
    run: Value,
    sender: Sender<Value>,
    sending: JoinHandle<()>,
    phases: Vec<(Duration, String)>,
    phases_told: usize,
    told_at: Duration,
    told: Option<Histogram<u64>>,
}

impl Markers {
    /// Tells of the start; of `phases` when they begin. Without a token nothing is told.
    pub fn start(
        url: &str,
        token: Option<String>,
        run_id: &str,
        scenario: &str,
        phases: Vec<(Duration, String)>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let sending = tokio::spawn(send(url.to_owned(), token, receiver));
        let markers = Self {
            run: json!({ "runId": run_id, "scenario": scenario }),
            sender,
            sending,
            phases,
            phases_told: 0,
            told_at: Duration::ZERO,
            told: None,
        };
        markers.tell(json!({ "kind": "start" }));
        markers
    }

    /// Tells of phases that have begun, and once a second of the response time since the last time.
    pub fn look(&mut self, now: Duration, recorder: &Recorder) {
        while let Some((start, name)) = self.phases.get(self.phases_told)
            && *start <= now
        {
            self.tell(json!({ "kind": "phase", "name": name }));
            self.phases_told += 1;
        }
        if now < self.told_at + LATENCY_EVERY || self.sender.capacity() == 0 {
            return;
        }
        let all = recorder.total.response.clone();
        if let Some(response_us) = since(&all, self.told.as_ref()) {
            self.tell(json!({ "kind": "latency", "responseUs": response_us }));
        }
        self.told_at = now;
        self.told = Some(all);
    }

    /// Tells of a fault that strikes the service.
    pub fn fault(&self, name: &str) {
        self.tell(json!({ "kind": "fault", "name": name }));
    }

    /// Tells of the end and its verdict, and waits a little until all is sent.
    pub async fn end(self, verdict: &str) {
        self.tell(json!({ "kind": "end", "verdict": verdict }));
        drop(self.sender);
        let _ = tokio::time::timeout(END_WITHIN, self.sending).await;
    }

    fn tell(&self, mut marker: Value) {
        if let (Value::Object(marker), Value::Object(run)) = (&mut marker, &self.run) {
            marker.extend(run.clone());
        }
        let _ = self.sender.try_send(marker);
    }
}

/// What came since `before`, in microseconds; nothing when nothing came.
fn since(all: &Histogram<u64>, before: Option<&Histogram<u64>>) -> Option<Value> {
    let mut interval = all.clone();
    if let Some(before) = before {
        interval.subtract(before).ok()?;
    }
    (!interval.is_empty()).then(|| {
        let at = |quantile| interval.value_at_quantile(quantile);
        json!({
            "count": interval.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
            "max": interval.max(),
        })
    })
}

async fn send(url: String, token: Option<String>, mut markers: Receiver<Value>) {
    let Some(token) = token else { return };
    let server =
        Remote::at(&url).and_then(|server| server.with_header(AUTHORIZATION, &bearer(&token)));
    let Ok(mut server) = server else { return };
    while let Some(marker) = markers.recv().await {
        // A service that is away misses its markers.
        let _ = server.post("/api/runs", marker.to_string()).await;
    }
}

#[cfg(test)]
mod tests {
    use record::latencies::{empty, record};

    use super::*;

    #[test]
    fn a_response_time_is_of_what_came_since_the_last() {
        let mut all = empty();
        assert_eq!(since(&all, None), None);
        record(&mut all, Duration::from_millis(1));
        let first = since(&all, None).expect("one came");
        assert_eq!(first["count"], 1);
        let before = all.clone();
        assert_eq!(since(&all, Some(&before)), None);
        for _ in 0..10 {
            record(&mut all, Duration::from_millis(50));
        }
        let second = since(&all, Some(&before)).expect("ten came");
        assert_eq!(second["count"], 10);
        assert!(second["p50"].as_u64() >= Some(49_900), "{second}");
    }
}

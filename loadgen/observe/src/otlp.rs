//! Pushes the live figures of a run to an OTLP collector, once a second: `OTLP/HTTP` with JSON, which the OpenTelemetry collector and
//! Prometheus's own receiver take. Best effort: the load never waits for it, and nothing fails with it.

use std::time::Duration;

use call::{Remote, shown};
use hdrhistogram::Histogram;
use record::clock::steady_us;
use record::followed::Followed;
use record::recorder::Recorder;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use url::{Position, Url};

/// Between two pushes.
const EVERY: Duration = Duration::from_secs(1);
/// Pushes that wait to be sent; more are dropped.
const WAITING_MAX: usize = 16;
/// How long the end of a run waits until the last push is sent.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Pushes the figures of one run.
pub struct Pusher {
    run_id: String,
    scenario: String,
    sender: Sender<Value>,
    sending: JoinHandle<Option<String>>,
    pushed_at: Option<Duration>,
    before: Option<(Histogram<u64>, u64, u64)>,
}

impl Pusher {
    /// Begins to push to `url`.
    pub fn start(url: &str, run_id: &str, scenario: &str) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        Self {
            run_id: run_id.to_owned(),
            scenario: scenario.to_owned(),
            sender,
            sending: tokio::spawn(send(url.to_owned(), receiver)),
            pushed_at: None,
            before: None,
        }
    }

    /// Pushes how the load is at `now` after its start, if the last push was long enough ago.
    pub fn look(&mut self, now: Duration, recorder: &Recorder, followed: &Followed) {
        if self.pushed_at.is_none_or(|at| now >= at + EVERY) {
            self.push_load(now, recorder, followed);
        }
    }

    /// Pushes how the load was when it had ended, whenever the last push was.
    pub fn last(&mut self, now: Duration, recorder: &Recorder, followed: &Followed) {
        self.push_load(now, recorder, followed);
    }

    fn push_load(&mut self, now: Duration, recorder: &Recorder, followed: &Followed) {
        let total = &recorder.total;
        let mut figures = vec![
            ("sluice.load.sent", "{arrival}", total.sent as f64),
            ("sluice.load.unanswered", "{arrival}", total.failed as f64),
        ];
        if let (Some(at), Some((response, sent, failed))) = (self.pushed_at, &self.before) {
            let seconds = (now.saturating_sub(at))
                .as_secs_f64()
                .max(f64::MIN_POSITIVE);
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            figures.push(("sluice.load.rate", "{arrival}/s", rate(total.sent, *sent)));
            figures.push((
                "sluice.load.error_rate",
                "{arrival}/s",
                rate(total.failed, *failed),
            ));
            let mut since = total.response.clone();
            if since.subtract(response).is_ok() && !since.is_empty() {
                for (name, quantile) in [
                    ("sluice.load.response.p50", 0.5),
                    ("sluice.load.response.p99", 0.99),
                    ("sluice.load.response.max", 1.0),
                ] {
                    figures.push((name, "s", since.value_at_quantile(quantile) as f64 / 1e6));
                }
            }
        }
        if let Some(point) = followed.points.last() {
            let backlog = point.queue_depth + point.in_flight + point.unrecorded;
            figures.push(("sluice.service.backlog", "{loan}", backlog as f64));
            figures.push(("sluice.service.workers", "{worker}", point.workers as f64));
        }
        self.push(&figures);
        self.pushed_at = Some(now);
        self.before = Some((total.response.clone(), total.sent, total.failed));
    }

    /// Pushes the verdict, if there is one, by its exit code, and waits a little until all is sent. Answers why nothing was taken, if it
    /// was not.
    pub async fn end(self, exit_code: Option<u8>) -> Option<String> {
        if let Some(exit_code) = exit_code {
            self.push(&[("sluice.load.verdict", "1", f64::from(exit_code))]);
        }
        drop(self.sender);
        match tokio::time::timeout(END_WITHIN, self.sending).await {
            Ok(Ok(failed)) => failed,
            _ => Some("the collector did not take the last figures in time".to_owned()),
        }
    }

    fn push(&self, figures: &[(&str, &str, f64)]) {
        let _ = self
            .sender
            .try_send(request(&self.run_id, &self.scenario, figures, steady_us()));
    }
}

/// One request of the protocol: gauges at `at_us`, microseconds since the Unix epoch.
fn request(run_id: &str, scenario: &str, figures: &[(&str, &str, f64)], at_us: i64) -> Value {
    let attribute =
        |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let metrics: Vec<Value> = figures
        .iter()
        .map(|(name, unit, value)| {
            json!({
                "name": name,
                "unit": unit,
                "gauge": { "dataPoints": [{
                    "timeUnixNano": format!("{}", i128::from(at_us) * 1000),
                    "asDouble": value,
                    "attributes": [attribute("run", run_id), attribute("scenario", scenario)],
                }] },
            })
        })
        .collect();
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [attribute("service.name", "sluice-loadgen")] },
        "scopeMetrics": [{ "scope": { "name": "loadgen" }, "metrics": metrics }],
    }] })
}

/// Sends what comes; answers why the last one was not taken.
async fn send(url: String, mut requests: Receiver<Value>) -> Option<String> {
    let Ok(parsed) = Url::parse(&url) else {
        return Some(format!("nothing was pushed: {} is no address", shown(&url)));
    };
    let path = match &parsed[Position::BeforePath..Position::AfterQuery] {
        "/" => "/v1/metrics",
        path => path,
    };
    let mut collector = match Remote::at(&parsed[..Position::BeforePath]) {
        Ok(collector) => collector,
        Err(error) => return Some(format!("nothing was pushed: {error}")),
    };
    let mut failed = None;
    while let Some(request) = requests.recv().await {
        failed = match collector.post(path, request.to_string()).await {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!(
                "the collector refused the figures: {}",
                answer.status.as_u16()
            )),
            Err(error) => Some(format!("the collector could not be reached: {error}")),
        };
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_of_the_protocol() {
        let request = request(
            "run-1",
            "smoke",
            &[("sluice.load.rate", "{arrival}/s", 499.5)],
            1_700_000_000_000_001,
        );
        let metric = &request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0];
        assert_eq!(metric["name"], "sluice.load.rate");
        let point = &metric["gauge"]["dataPoints"][0];
        assert_eq!(point["asDouble"], 499.5);
        // A 64-bit number is text in the protocol's JSON.
        assert_eq!(point["timeUnixNano"], "1700000000000001000");
        assert_eq!(point["attributes"][1]["value"]["stringValue"], "smoke");
    }
}

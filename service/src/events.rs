//! Events to and from the other instances, over Redis. A view, not the record: what is told while
//! Redis is out of reach, or in a flood, reaches this instance's own listeners alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::snapshot::Event;
use crate::task;

/// Events of one message.
const BATCH_LEN_MAX: usize = 256;
/// Time in which events gather.
const GATHER: Duration = Duration::from_millis(20);

/// What one instance tells the others.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    from: String,
    events: Vec<Event>,
}

/// Starts the exchange; it lasts as long as the process.
pub(crate) fn exchange(queue: &Queue, metrics: &Arc<Metrics>, instance: &str) {
    task::spawn(
        "events out",
        send(queue.clone(), Arc::clone(metrics), instance.to_owned()),
    );
    task::spawn(
        "events in",
        receive(queue.clone(), Arc::clone(metrics), instance.to_owned()),
    );
}

async fn send(queue: Queue, metrics: Arc<Metrics>, instance: String) {
    let Some(mut outgoing) = metrics.outgoing() else {
        return;
    };
    loop {
        let mut events = Vec::new();
        if outgoing.recv_many(&mut events, BATCH_LEN_MAX).await == 0 {
            return;
        }
        let letter = Letter {
            from: instance.clone(),
            events,
        };
        let text = serde_json::to_string(&letter).expect("plain data serialises");
        if let Err(error) = queue.publish(&text).await {
            tracing::debug!(%error, "the other instances miss some events");
        }
        tokio::time::sleep(GATHER).await;
    }
}

async fn receive(queue: Queue, metrics: Arc<Metrics>, instance: String) {
    let mut backoff = Backoff::default();
    loop {
        match queue.subscribe().await {
            Ok(letters) => {
                backoff.reset();
                let mut letters = std::pin::pin!(letters);
                while let Some(letter) = letters.next().await {
                    // Another version may tell what this one does not know.
                    let Ok(letter) = serde_json::from_slice::<Letter>(&letter) else {
                        continue;
                    };
                    if letter.from != instance {
                        letter
                            .events
                            .into_iter()
                            .for_each(|event| metrics.hear(event));
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no events of other instances"),
        }
        backoff.wait().await;
    }
}

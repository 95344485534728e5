//! What each minute came to, in the collection `history`. All instances note the same minutes: sums and latencies by the
//! highest, what happened once.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::options::{IndexOptions, WriteConcern};

use super::{READ_TIMEOUT, Store, whole, within};
use crate::error::ServiceError;
use crate::history::Minute;
use crate::snapshot::{Event, History, Point};

/// Minutes are kept this long.
const MINUTES_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Store {
    /// Makes the index of minutes. Safe to repeat.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn prepare_history(&self) -> Result<(), ServiceError> {
        let kept = IndexOptions::builder().expire_after(MINUTES_KEPT).build();
        let index = IndexModel::builder()
            .keys(doc! { "at": 1 })
            .options(kept)
            .build();
        let create = self.history.create_index(index);
        within(READ_TIMEOUT, create.into_future()).await.map(drop)
    }

    /// Notes what a minute came to. Safe to repeat, also by other instances.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn note_minute(&self, minute: &Minute) -> Result<(), ServiceError> {
        let point = &minute.point;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let update = doc! {
            "$max": {
                "atMs": number(point.at_ms),
                "received": number(point.received),
                "admitted": number(point.admitted),
                "processed": number(point.processed),
                "recorded": number(point.recorded),
                "failed": number(point.failed),
                "admitP50Us": number(point.admit_p50_us),
                "admitP99Us": number(point.admit_p99_us),
                "endToEndP50Us": number(point.end_to_end_p50_us),
                "endToEndP99Us": number(point.end_to_end_p99_us),
            },
            "$set": {
                "at": DateTime::from_millis(number(minute.from_ms)),
                "queueDepth": number(point.queue_depth),
                "inFlight": number(point.in_flight),
                "unrecorded": number(point.unrecorded),
                "workers": number(point.workers),
            },
            "$addToSet": { "events": { "$each": &minute.events } },
        };
        let update = self
            .history
            .update_one(doc! { "_id": number(minute.from_ms) }, update)
            .upsert(true)
            // It is noted again within seconds.
            .write_concern(WriteConcern::nodes(1));
        within(READ_TIMEOUT, update.into_future()).await.map(drop)
    }

    /// The minutes that began at `from_ms` or later, oldest first.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn minutes(&self, from_ms: u64) -> Result<History, ServiceError> {
        let find = async {
            let mut found = self
                .history
                .find(doc! { "_id": { "$gte": from_ms as i64 } })
                .sort(doc! { "_id": 1 })
                .max_time(READ_TIMEOUT)
                .await?;
            let mut history = History::default();
            while let Some(minute) = found.try_next().await? {
                history.points.push(point(&minute));
                let events = minute.get_array("events").into_iter().flatten();
                // Another version may have noted what this one does not know.
                history.events.extend(
                    events
                        .filter_map(|event| event.as_str())
                        .filter_map(|event| serde_json::from_str::<Event>(event).ok()),
                );
            }
            history.events.sort_by_key(|event| event.at_ms);
            Ok(history)
        };
        within(READ_TIMEOUT, find).await
    }
}

fn point(minute: &Document) -> Point {
    let number = |key: &str| whole(minute.get(key)).unwrap_or_default().max(0) as u64;
    Point {
        at_ms: number("atMs"),
        received: number("received"),
        admitted: number("admitted"),
        processed: number("processed"),
        recorded: number("recorded"),
        failed: number("failed"),
        queue_depth: number("queueDepth"),
        in_flight: number("inFlight"),
        unrecorded: number("unrecorded"),
        workers: number("workers"),
        admit_p50_us: number("admitP50Us"),
        admit_p99_us: number("admitP99Us"),
        end_to_end_p50_us: number("endToEndP50Us"),
        end_to_end_p99_us: number("endToEndP99Us"),
    }
}

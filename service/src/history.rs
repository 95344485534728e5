//! History beyond half an hour: what each minute came to, kept in MongoDB for a month.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::now_ms;
use crate::monitor::Monitor;
use crate::snapshot::{Event, EventKind, Point, RunMarkerKind};
use crate::store::Store;

/// The minute that it is, is noted so often.
const NOTE_INTERVAL: Duration = Duration::from_secs(10);
/// Minutes that wait for MongoDB: a day.
const WAITING_MAX: usize = 24 * 60;
/// Events that are kept of a minute.
const EVENTS_MAX: usize = 20;
/// A minute, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;

/// What one minute came to, as one instance has seen it.
#[derive(Clone, Debug, PartialEq)]
pub struct Minute {
    /// When it began, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Sums of its end, gauges as their mean, latencies as the highest.
    pub point: Point,
    /// What happened, as JSON.
    pub events: Vec<String>,
}

/// Notes what each minute comes to, as long as the process lives.
pub(crate) async fn keep(monitor: Monitor, store: Store) {
    let mut waiting: BTreeMap<u64, Minute> = BTreeMap::new();
    let mut is_prepared = false;
    loop {
        tokio::time::sleep(NOTE_INTERVAL).await;
        // The minute before may have ended since the last look.
        let history = monitor.history(Duration::from_millis(MINUTE_MS) + NOTE_INTERVAL);
        let now = now_ms() / MINUTE_MS;
        for minute in [now.saturating_sub(1), now] {
            let from_ms = minute * MINUTE_MS;
            let is_in = |at_ms: u64| at_ms / MINUTE_MS == minute;
            let points: Vec<_> = history
                .points
                .iter()
                .filter(|point| is_in(point.at_ms))
                .collect();
            // Of the minute before only its end is known here: its sums and latencies can only grow.
            let Some(point) = roll_up(&points) else {
                continue;
            };
            let events = history.events.iter().filter(|event| is_in(event.at_ms));
            let events = events.filter(|event| is_kept(event)).take(EVENTS_MAX);
            let events = events
                .map(|event| serde_json::to_string(event).expect("plain data serialises"))
                .collect();
            waiting.insert(
                from_ms,
                Minute {
                    from_ms,
                    point,
                    events,
                },
            );
        }
        while waiting.len() > WAITING_MAX {
            waiting.pop_first();
        }
        let noted = async {
            if !is_prepared {
                store.prepare_history().await?;
                is_prepared = true;
            }
            while let Some((from_ms, minute)) = waiting.first_key_value() {
                store.note_minute(minute).await?;
                let from_ms = *from_ms;
                waiting.remove(&from_ms);
            }
            Ok::<_, crate::error::ServiceError>(())
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "history waits for MongoDB");
        }
    }
}

/// What stands as a mark in a chart of days.
fn is_kept(event: &Event) -> bool {
    match &event.kind {
        EventKind::Failure { .. } | EventKind::Scale { .. } => false,
        EventKind::Run { marker, .. } => *marker != RunMarkerKind::Latency,
        _ => true,
    }
}

/// Points of one stretch as one point: sums of its end, gauges as their mean, latencies as the highest.
pub fn roll_up(points: &[&Point]) -> Option<Point> {
    let last = points.last()?;
    let count = points.len() as u64;
    let mean = |of: fn(&Point) -> u64| {
        points
            .iter()
            .map(|point| of(point))
            .sum::<u64>()
            .div_ceil(count)
    };
    let most = |of: fn(&Point) -> u64| {
        points
            .iter()
            .map(|point| of(point))
            .max()
            .unwrap_or_default()
    };
    Some(Point {
        at_ms: last.at_ms,
        received: last.received,
        admitted: last.admitted,
        processed: last.processed,
        recorded: last.recorded,
        failed: last.failed,
        queue_depth: mean(|point| point.queue_depth),
        in_flight: mean(|point| point.in_flight),
        unrecorded: mean(|point| point.unrecorded),
        workers: mean(|point| point.workers),
        admit_p50_us: most(|point| point.admit_p50_us),
        admit_p99_us: most(|point| point.admit_p99_us),
        end_to_end_p50_us: most(|point| point.end_to_end_p50_us),
        end_to_end_p99_us: most(|point| point.end_to_end_p99_us),
    })
}

/// Points with so many milliseconds between, of points in the order of their time.
pub fn thinned(points: &[Point], step_ms: u64) -> Vec<Point> {
    points
        .chunk_by(|a, b| a.at_ms / step_ms == b.at_ms / step_ms)
        .filter_map(|chunk| roll_up(&chunk.iter().collect::<Vec<_>>()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_ms: u64, admitted: u64, queue_depth: u64, admit_p99_us: u64) -> Point {
        Point {
            at_ms,
            admitted,
            queue_depth,
            admit_p99_us,
            ..Point::default()
        }
    }

    #[test]
    fn a_minute_is_one_point() {
        let points = [point(1, 5, 10, 700), point(2, 9, 0, 900), point(3, 9, 3, 0)];
        let all: Vec<_> = points.iter().collect();
        assert_eq!(roll_up(&all), Some(point(3, 9, 5, 900)));
        assert_eq!(roll_up(&[]), None);
        // One loan that waited for a second is not nothing.
        let points = [point(1, 0, 0, 0), point(2, 0, 1, 0)];
        assert_eq!(
            roll_up(&points.iter().collect::<Vec<_>>())
                .unwrap()
                .queue_depth,
            1
        );
    }

    #[test]
    fn points_are_thinned_by_their_time() {
        let points: Vec<_> = (0..10).map(|n| point(n * MINUTE_MS, n, n, n)).collect();
        let thin = thinned(&points, 5 * MINUTE_MS);
        assert_eq!(
            thin,
            [point(4 * MINUTE_MS, 4, 2, 4), point(9 * MINUTE_MS, 9, 7, 9)]
        );
        assert_eq!(thinned(&points, MINUTE_MS), points);
    }
}

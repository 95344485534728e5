//! After the load: until nothing is left, and until the figures stand still.

use std::time::Duration;

use record::clock::RunClock;
use record::result::run::Drain;
use snapshot::Snapshot;

use crate::follow;
use crate::stores::Stores;

/// How often Redis is asked whether it is empty.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// How long Redis may take to give memory back after the drain.
const MEMORY_SETTLE: Duration = Duration::from_secs(5);
/// How long the live counters may take to catch up after the drain.
const COUNTERS_SETTLE: Duration = Duration::from_secs(5);
/// Memory at the end that is close enough to the start to stop waiting.
const MEMORY_SETTLED_RATIO: f64 = 1.02;
/// How often memory is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Others' loans are looked past while Redis holds no more than this in all.
const LOOKED_PAST_MAX: u64 = 5_000;

/// Waits until nothing is left in Redis, or nothing of the loans whose ids begin with `ours`; tells how many are left.
pub async fn drain(
    stores: &Stores,
    ours: Option<&str>,
    clock: RunClock,
    last_sent: Duration,
    timeout: Duration,
    mut tell: impl FnMut(Duration, u64),
) -> Drain {
    let deadline = clock.now() + timeout;
    loop {
        // While Redis is away nobody can say that it is empty.
        let mut left = stores.backlog().await.ok();
        if let (Some(prefix), Some(1..=LOOKED_PAST_MAX)) = (ours, left)
            && stores.backlog_of(prefix).await.is_ok_and(|ours| ours == 0)
        {
            left = Some(0);
        }
        let now = clock.now();
        if left == Some(0) {
            return Drain {
                backlog_peak: None,
                backlog_peak_at_seconds: None,
                seconds_to_empty: Some(now.saturating_sub(last_sent).as_secs_f64()),
                left_over: Some(0),
            };
        }
        if now >= deadline {
            return Drain {
                backlog_peak: None,
                backlog_peak_at_seconds: None,
                seconds_to_empty: None,
                left_over: left,
            };
        }
        if let Some(left) = left {
            tell(now, left);
        }
        tokio::time::sleep(DRAIN_TICK).await;
    }
}

/// Redis's memory once it has settled: freed buffers are given back a little later.
pub async fn settle_memory(stores: &Stores, start_bytes: Option<u64>) -> Option<u64> {
    let start_bytes = start_bytes?;
    let mut lowest: Option<u64> = None;
    let deadline = tokio::time::Instant::now() + MEMORY_SETTLE;
    while tokio::time::Instant::now() < deadline {
        if let Ok(Some(bytes)) = stores.redis_memory_bytes().await {
            lowest = Some(lowest.map_or(bytes, |lowest| lowest.min(bytes)));
            if bytes as f64 <= start_bytes as f64 * MEMORY_SETTLED_RATIO {
                break;
            }
        }
        tokio::time::sleep(TICK).await;
    }
    lowest
}

/// The live metrics once they no longer change, asked for with the token of whoever may read, where one is known.
pub async fn settle_counters(url: &str, token: Option<&str>) -> Option<Snapshot> {
    let deadline = tokio::time::Instant::now() + COUNTERS_SETTLE;
    let mut last = follow::snapshot(url, token).await.ok();
    while tokio::time::Instant::now() < deadline {
        // Longer than the service takes between two readings of Redis.
        tokio::time::sleep(TICK * 10).await;
        let next = follow::snapshot(url, token).await.ok();
        let same = match (&last, &next) {
            (Some(last), Some(next)) => last.counters == next.counters,
            _ => false,
        };
        last = next;
        if same {
            break;
        }
    }
    last
}

//! A Redis with the data of a while before takes over.
//!
//! What was admitted since and is not recorded is gone then: no service can help that. So clients are kept waiting until all
//! that was taken stands in MongoDB, and nothing is lost by the change itself.

use std::collections::BTreeMap;
use std::time::Duration;

use plan::faults::StoreName;
use record::clock::RunClock;
use snapshot::Counters;
use testbed::Signal;
use tokio::sync::RwLock;
use tokio::time::Instant;

use super::{COMMAND_TIMEOUT, END_WITHIN, Effect, Field, LOOK_EVERY, StrikeError};
use crate::stores::{self, Stores};

/// How often in a row everything must be the same, to stand still.
const LOOKS: u32 = 4;
/// How many loans the first Redis takes after the copy, of those whose names the second one gives again.
const LOANS_IN_HAND: u64 = 10;
/// How late MongoDB's answers are meanwhile: in this time the recorder is caught.
const ANSWERS_LATE: Duration = Duration::from_millis(400);
/// How often the recorder is stopped until it is caught.
const CATCHES_MAX: u32 = 20;

impl Field {
    /// Everything of a moment before is put back.
    pub(super) async fn put_older_back(
        &self,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
        door: &RwLock<()>,
    ) -> Result<Effect, StrikeError> {
        let single = self.single()?;
        let stores = self.stores().await?;
        let told_before = super::cluster::declared(&self.addresses).await;
        let kept = {
            let _shut = door.write().await;
            let kept = settled(&stores).await?;
            single.redis.lock().await.keep_data()?;
            kept
        };
        tokio::time::sleep(lasts).await;
        let shut = door.write().await;
        let gone = settled(&stores).await?;
        *hit = clock.now();
        let mut redis = single.redis.lock().await;
        redis.restart_with_kept_data().await?;
        drop(redis);
        let back = self.stores().await?.counters().await?;
        drop(shut);
        let begun = Instant::now();
        let mut told = 0;
        while told == 0 && begun.elapsed() < COMMAND_TIMEOUT {
            tokio::time::sleep(LOOK_EVERY).await;
            told = super::cluster::declared(&self.addresses)
                .await
                .saturating_sub(told_before);
        }
        let recorded = |counters: &Counters| counters.recorded_loans + counters.recorded_failures;
        let unknown = recorded(&gone) - recorded(&back);
        let words = format!(
            "it does not know {unknown} loans that are recorded; the service told of {told} admissions"
        );
        let mut effect =
            Effect::new(unknown > 0, words).figure("recorded_unknown_to_redis", unknown);
        if told == 0 {
            effect.wrong = Some("the service did not tell that Redis went back in time".to_owned());
        }
        effect.forgotten = forgotten(&gone, &kept);
        Ok(effect)
    }

    /// A second Redis counts on from where the first one stood, while a recorder has bundles of the first one in hand.
    pub(super) async fn second_redis(
        &self,
        instance: usize,
        clock: RunClock,
        hit: &mut Duration,
        door: &RwLock<()>,
    ) -> Result<Effect, StrikeError> {
        let single = self.single()?;
        let recorder = self.instances[instance].lock().await;
        let stores = self.stores().await?;
        let (kept, recorded_before) = {
            let _shut = door.write().await;
            let kept = settled(&stores).await?;
            single.redis.lock().await.keep_data()?;
            (kept, stores.records_count().await?)
        };
        let proxy = single.proxy(StoreName::Mongo);
        proxy.slow(ANSWERS_LATE, Duration::ZERO);
        let begun = Instant::now();
        while stores.counters().await?.admitted < kept.admitted + LOANS_IN_HAND
            && begun.elapsed() < COMMAND_TIMEOUT
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let shut = door.write().await;
        // MongoDB holds all of them, and the recorder has not heard of the last.
        let all_held = async || -> Result<u64, StrikeError> {
            let left = stores.backlog().await?;
            let admitted = stores.counters().await?.admitted - kept.admitted;
            let recorded = stores.records_count().await? - recorded_before;
            Ok(if recorded == admitted { left } else { 0 })
        };
        let (mut held, mut catches) = (0, 0);
        let begun = Instant::now();
        while held == 0 && catches < CATCHES_MAX && begun.elapsed() < COMMAND_TIMEOUT {
            tokio::time::sleep(LOOK_EVERY).await;
            if all_held().await? == 0 {
                continue;
            }
            catches += 1;
            recorder.signal(Signal::SIGSTOP)?;
            // What it had sent before it was stopped has arrived by then.
            tokio::time::sleep(LOOK_EVERY * 5).await;
            held = all_held().await?;
            if held == 0 {
                recorder.signal(Signal::SIGCONT)?;
            }
        }
        proxy.clear();
        if held == 0 {
            return Ok(Effect::new(
                false,
                "the recorder was not caught with bundles in hand",
            ));
        }
        let gone = stores.counters().await?;
        let named = self.admissions().await?;
        *hit = clock.now();
        let mut redis = single.redis.lock().await;
        redis.restart_with_kept_data().await?;
        drop(redis);
        drop(shut);
        let stores = self.stores().await?;
        let is_named_again = async || -> Result<bool, StrikeError> {
            let now = self.admissions().await?;
            Ok(named.iter().all(|(tag, count)| now.get(tag) >= Some(count)))
        };
        let begun = Instant::now();
        let mut is_again = false;
        while !is_again && begun.elapsed() < END_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
            is_again = is_named_again().await?;
        }
        // These are decided before the recorder goes on: nothing else would keep them from being freed.
        let admitted = stores.counters().await?.admitted;
        let decided =
            |counters: &Counters| counters.accepted + counters.failed.values().sum::<u64>();
        let begun = Instant::now();
        let mut there = stores.counters().await?;
        while decided(&there) < admitted && begun.elapsed() < END_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
            there = stores.counters().await?;
        }
        let in_line =
            decided(&there).saturating_sub(there.recorded_loans + there.recorded_failures);
        recorder.signal(Signal::SIGCONT)?;
        // It frees what it has in hand before it takes anything else.
        let begun = Instant::now();
        let mut is_freed = false;
        while !is_freed && begun.elapsed() < END_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = stores.counters().await?;
            is_freed = now.recorded_loans > there.recorded_loans;
        }
        let words = format!(
            "{held} loans in hand that the first one had not freed; {in_line} decided in the second, whose numbers {} those of the first; the recorder {}",
            if is_again { "reach" } else { "do not reach" },
            if is_freed { "went on" } else { "did not go on" },
        );
        let took_effect = is_again && is_freed && in_line > 0;
        let mut effect = Effect::new(took_effect, words).figure("in_hand_of_the_first", held);
        effect.forgotten = forgotten(&gone, &kept);
        Ok(effect)
    }

    /// The admissions to each partition so far.
    async fn admissions(&self) -> Result<BTreeMap<String, u64>, StrikeError> {
        self.ask(async |redis| stores::counter_at(redis, &["admissions"]).await)
            .await
    }
}

/// Waits until all that was taken is recorded and nothing moves, while nobody sends anything. Answers the counters.
async fn settled(stores: &Stores) -> Result<Counters, StrikeError> {
    let begun = Instant::now();
    let (mut last, mut looks) = (Counters::default(), 0);
    while begun.elapsed() < END_WITHIN {
        let now = stores.counters().await?;
        looks = if stores.backlog().await? == 0 && now == last {
            looks + 1
        } else {
            0
        };
        if looks == LOOKS {
            return Ok(now);
        }
        last = now;
        tokio::time::sleep(LOOK_EVERY * 5).await;
    }
    Err(StrikeError::Restless)
}

/// What the counters lost when they became again what they were. All that was admitted stands in MongoDB by then.
fn forgotten(gone: &Counters, kept: &Counters) -> Counters {
    let failed: BTreeMap<String, u64> = gone
        .failed
        .iter()
        .map(|(category, count)| {
            let before = kept.failed.get(category).copied().unwrap_or_default();
            (category.clone(), count - before)
        })
        .collect();
    Counters {
        admitted: gone.admitted - kept.admitted,
        replayed: gone.replayed - kept.replayed,
        accepted: gone.accepted - kept.accepted,
        recorded_loans: gone.accepted - kept.accepted,
        recorded_failures: failed.values().sum(),
        failed,
        ..Counters::default()
    }
}

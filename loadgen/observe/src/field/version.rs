//! Another version of the service, or one that is set otherwise, beside the instances.

use std::time::Duration;

use record::clock::RunClock;
use testbed::{ServiceProcess, TestbedError};
use tokio::time::Instant;

use super::{Effect, Field, LOOK_EVERY, StrikeError, UNTIL_SEEN_MAX, environment, terminate};
use crate::{follow, stores};

/// What gives a process functions of another text.
const OTHER_FUNCTIONS: &str = "other-functions=return";

impl Field {
    /// It has to end with one line that says what to do, and to leave everything as it is.
    pub(super) async fn start_with_other_partitions(
        &self,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let stores = self.stores().await?;
        let mut options = self.options.clone();
        let other = self.partitions + 1;
        options.arguments.push(format!("--partitions={other}"));
        let (shape, before) = (stores.shape().await?, stores.counters().await?.admitted);
        *hit = clock.now();
        let (status, log) = match ServiceProcess::start(options).await {
            Err(TestbedError::EarlyExit { status, log, .. }) => (status, log),
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut effect = Effect::new(true, format!("it serves {other} partitions"));
                effect.wrong =
                    Some("a service with another number of partitions serves".to_owned());
                return Ok(effect);
            }
        };
        let mut admitted = stores.counters().await?.admitted - before;
        let begun = Instant::now();
        while admitted == 0 && begun.elapsed() < UNTIL_SEEN_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            admitted = stores.counters().await?.admitted - before;
        }
        let words = format!("it ended with {status}: {log:?}; {admitted} loans admitted beside it");
        let mut effect = Effect::new(admitted > 0, words).figure("starts_refused", 1);
        let right = format!("--partitions {}", self.partitions);
        let is_told = log.contains(&right) && log.contains("--repartition");
        if status.code() != Some(2) || !is_told || log.lines().count() != 1 {
            effect.wrong = Some(format!("it ended with {status} and said {log:?}"));
        } else if stores.shape().await? != shape {
            effect.wrong = Some("it changed what the stores say of the queue".to_owned());
        }
        Ok(effect)
    }

    /// One instance passes for another version. Both versions' functions are in use, side by side.
    pub(super) async fn run_other_functions(
        &self,
        instance: usize,
        lasts: Duration,
        clock: RunClock,
        hit: &mut Duration,
    ) -> Result<Effect, StrikeError> {
        let mut service = self.instances[instance].lock().await;
        *hit = clock.now();
        terminate(&mut service).await?;
        let failpoints = format!("{};{OTHER_FUNCTIONS}", self.failpoints);
        service.restart_with(environment(&failpoints)).await?;
        let url = service.url();
        let begun = Instant::now();
        let (mut libraries, mut admissions) = (0, 0);
        while begun.elapsed() < lasts
            || ((libraries < 2 || admissions == 0) && begun.elapsed() < lasts + UNTIL_SEEN_MAX)
        {
            tokio::time::sleep(LOOK_EVERY * 5).await;
            // Redis, or the instance, may be away for a moment, by another fault.
            if let Ok(there) = self.ask(async |redis| stores::libraries(redis).await).await {
                libraries = libraries.max(there.len() as u64);
            }
            if let Ok(snapshot) = follow::snapshot(&url, None).await {
                admissions = admissions.max(snapshot.latency_us.admit.count);
            }
        }
        terminate(&mut service).await?;
        service.restart_with(environment(&self.failpoints)).await?;
        let kept = self.ask(async |redis| stores::libraries(redis).await).await;
        let kept = kept.map_or(0, |kept| kept.len() as u64);
        let words = format!(
            "{libraries} libraries side by side, {admissions} loans admitted by the other one; {kept} are kept"
        );
        Ok(Effect::new(libraries > 1 && admissions > 0, words)
            .figure("admitted_by_other_functions", admissions)
            .figure("libraries_kept", kept))
    }
}

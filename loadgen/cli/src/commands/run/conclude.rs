//! After the load: everything is recorded, every loan looked up, and the run judged.

use std::path::Path;
use std::time::{Duration, Instant};

use drive::stop;
use judge::account::{Account, account};
use judge::audit::Audited;
use observe::drain::{drain, settle_counters, settle_memory};
use observe::provenance;
use plan::payload::Payloads;
use plan::schedule::Schedule;
use record::folder::{Unwritable, in_words, rfc3339, write_whole};
use record::followed::ServiceClock;
use record::interval;
use record::latencies::hgrm;
use record::recorder::Recorder;
use record::result::run::{Drain, Report};
use snapshot::Counters;
use time::OffsetDateTime;

use super::ready::{Ready, asked_again, now_ms, weakened};
use super::{Options, RunError, Sent, Show, unless_stopped};
use crate::audit::{self, Question};

/// The drain of a run that ended early or was stopped.
const DRAIN_ABORTED: Duration = Duration::from_secs(5);

/// Waits until everything is recorded, audits, and judges.
pub(super) async fn conclude(
    options: &Options,
    ready: Ready,
    sent: Sent,
    schedule: &Schedule,
    started: (OffsetDateTime, Instant),
    folder: &Path,
    progress: &mut Show,
) -> Result<(Report, Vec<String>), RunError> {
    let scenario = &options.scenario;
    let Ready {
        target,
        reading,
        stores,
        snapshot_before,
        snapshot_before_ms,
        builds,
        redis_memory_start_bytes,
        records_before,
        mut provenance,
        ..
    } = ready;
    let reading = reading.as_deref();
    provenance.run_id.clone_from(&sent.run_tag);
    let mut recorder = sent.recorder;
    let payloads = Payloads::new(scenario.seed, &sent.run_tag, &scenario.mix);
    let mut warnings = sent.warnings;
    let prefix = payloads.prefix();
    let mut drain = match (&stores, sent.drained) {
        (None, _) => Drain::default(),
        (Some(_), Some(drained)) => drained,
        (Some(stores), None) => {
            let timeout = if sent.aborted.is_some() || sent.ended_early.is_some() {
                DRAIN_ABORTED
            } else {
                scenario.drain_timeout
            };
            progress.doing("waiting until everything is recorded");
            let ours = (!target.private).then_some(prefix.as_str());
            let last_sent = recorder.total.last_sent;
            let draining = drain(stores, ours, sent.clock, last_sent, timeout, |now, left| {
                progress.draining(now, left);
            });
            unless_stopped(draining).await.unwrap_or_default()
        }
    };
    if !options.merge.is_empty() {
        // It may have been empty long before the shards were joined; they looked at it.
        drain.seconds_to_empty = sent
            .empty_at
            .map(|at| at.saturating_sub(recorder.total.last_sent).as_secs_f64())
            .filter(|_| drain.left_over == Some(0));
    }
    let requests = match unless_stopped(sent.requests.counted()).await {
        Some(counted) => counted?,
        None => (0, 0),
    };

    let mut redis_memory_end_bytes = None;
    let mut snapshot_after = None;
    if let Some(stores) = &stores {
        progress.doing("auditing every loan");
        let settling = settle_memory(stores, redis_memory_start_bytes);
        redis_memory_end_bytes = unless_stopped(settling).await.flatten();
        let settling = settle_counters(&target.url, reading);
        snapshot_after = unless_stopped(settling).await.flatten();
    }
    let mut followed = sent.watched.followed();
    followed.clock.finish();
    if let (true, 1.., Some(after)) = (
        followed.points.is_empty(),
        snapshot_before_ms,
        &snapshot_after,
    ) {
        followed.clock = ServiceClock::of_two(
            (snapshot_before.at_ms, snapshot_before_ms),
            (after.at_ms, now_ms()),
        );
    }
    let mut changed = Vec::new();
    if let Some(stores) = &stores {
        let (after, builds_after) = if options.merge.is_empty() {
            let before = (&provenance, &builds[..]);
            asked_again(before, stores, (&target, reading), snapshot_after.as_ref()).await
        } else {
            // The run may have ended long ago.
            (provenance.clone(), builds.clone())
        };
        // What was not durable before the load is told already.
        let weak_at_ms = followed
            .weak_at_ms
            .filter(|_| snapshot_before.redis.durable);
        let weak_at_seconds = weak_at_ms.map(|at_ms| sent.clock.offset_seconds(at_ms).max(0.0));
        let before = (&provenance, &builds[..]);
        for (what, allowed) in weakened(before, (&after, &builds_after[..]), weak_at_seconds) {
            if options.allow.contains(&allowed) {
                provenance.overrides.push(what);
            } else {
                changed.push(what);
            }
        }
        if after.appendfsync != provenance.appendfsync {
            provenance.appendfsync =
                format!("{}, then {}", provenance.appendfsync, after.appendfsync);
        }
    }
    let clocks_agree = followed.clock.agrees();
    recorder.finish();
    let requests_unknown = recorder.resent + recorder.total.failed;
    let ledger = std::mem::take(&mut recorder.ledger);
    let mut audited = Audited::none(schedule.phases().len());
    let mut audit_failed = None;
    let mut foreign_records = 0;
    if let Some(stores) = &stores {
        let counters: Option<(&Counters, &Counters)> = snapshot_after
            .as_ref()
            .map(|after| (&snapshot_before.counters, &after.counters));
        let question = Question {
            stores,
            payloads: &payloads,
            ledger: &ledger,
            clock: sent.clock,
            schedule,
            counters,
            requests_unknown,
            pauses: &recorder.pauses,
            clocks_agree,
            private: target.private,
        };
        match unless_stopped(audit::audit(&question)).await {
            Some(Ok(done)) => audited = done,
            Some(Err(error)) => {
                progress.say(&format!("the audit could not be made: {error}"));
                audit_failed = Some(error.to_string());
            }
            None => {}
        }
        // In a database of its own every record is judged one by one.
        if let (false, true, Some(before)) =
            (target.private, audited.audit.complete, records_before)
            && let Some(Ok(after)) = unless_stopped(stores.records_estimated()).await
        {
            foreign_records = after.saturating_sub(before + audited.records);
        }
    }
    let mut generators = sent.generators;
    if !options.merge.is_empty() && snapshot_after.is_none() {
        // It may have ended long ago, and in order.
        audited.counters.clear();
        generators.notes.push(
            "The service does not tell its live counters any more, so they are not compared with the audit.".to_owned(),
        );
    }
    let aborted = sent.aborted.or_else(|| stop::asked().map(str::to_owned));

    for (latencies, end_to_end) in recorder.phases.iter_mut().zip(&audited.end_to_end.all) {
        latencies.end_to_end.clone_from(end_to_end);
    }
    for end_to_end in &audited.end_to_end.all {
        recorder
            .total
            .end_to_end
            .add(end_to_end)
            .expect("both histograms have the same bounds");
    }
    warnings.extend(end_samples(&mut recorder));
    if let Some(mut log) = recorder.log.take() {
        for (phase, end_to_end) in audited.end_to_end.all.iter().enumerate() {
            log.end_to_end(phase as u16, end_to_end, schedule.duration());
        }
        if let Err(error) = log.finish() {
            let path = folder.join(interval::FILE);
            // Half a log would be taken for a whole one.
            let _ = std::fs::remove_file(&path);
            warnings.push(Unwritable { path, error }.to_string());
        }
    }
    drain.backlog_peak = followed.backlog_peak;
    let finished = OffsetDateTime::now_utc();
    let (started_at, duration) = if options.merge.is_empty() {
        (started.0, started.1.elapsed())
    } else {
        // The run itself was over long before its shards were joined.
        let began = started.0 - sent.clock.now();
        let sending = if aborted.is_none() && sent.ended_early.is_none() {
            recorder.total.last_sent.max(schedule.duration())
        } else {
            recorder.total.last_sent
        };
        let emptied = Duration::from_secs_f64(drain.seconds_to_empty.unwrap_or_default());
        (began, sending + emptied)
    };
    let report = account(&Account {
        scenario,
        scenario_path: &options.scenario_path,
        schedule,
        payloads: &payloads,
        recorder: &recorder,
        heard: &ledger.heard,
        followed: &followed,
        clock: sent.clock,
        audited,
        audit_failed: audit_failed.as_deref(),
        changed: &changed,
        drain,
        provenance,
        started_at: rfc3339(started_at),
        finished_at: rfc3339(finished),
        duration,
        redis_memory_start_bytes,
        redis_memory_end_bytes,
        loadgen_rss_bytes_peak: sent
            .loadgen_rss_bytes_peak
            .max(provenance::rss_bytes_peak()),
        aborted: aborted.as_deref(),
        ended_early: sent.ended_early.as_deref(),
        held_back: sent.held_back,
        users: sent.users,
        reached: sent.reached,
        set_ahead_us: sent.set_ahead_us,
        foreign_records,
        is_private: target.private,
        instances: 1 + target.other_urls.len(),
        stores: stores.is_some(),
        snapshots: snapshot_after
            .as_ref()
            .map(|after| (&snapshot_before, after)),
        requests,
        crowd: sent.crowd,
        generators,
    });
    if let Err(error) = write_histograms(folder, &recorder) {
        warnings.push(error.to_string());
    }
    warnings.extend(sent.watched.end(report.verdict).await);
    Ok((report, warnings))
}

/// Ends the file of all samples, if there is one; a warning when it is not whole.
pub(super) fn end_samples(recorder: &mut Recorder) -> Option<String> {
    let (raw, _) = recorder.raw.take()?;
    let path = raw.path().to_path_buf();
    let source = raw.finish().err()?;
    Some(format!(
        "the samples cannot be written to {}, so they are not kept: {}",
        path.display(),
        in_words(&source)
    ))
}

fn write_histograms(folder: &Path, recorder: &Recorder) -> Result<(), RunError> {
    for (name, histogram) in [
        ("response", &recorder.total.response),
        ("service", &recorder.total.service),
        ("send-lag", &recorder.total.send_lag),
        ("end-to-end", &recorder.total.end_to_end),
    ] {
        let path = folder.join(format!("{name}.hgrm"));
        write_whole(&path, hgrm(histogram).as_bytes())
            .map_err(|error| Unwritable { path, error })?;
    }
    Ok(())
}

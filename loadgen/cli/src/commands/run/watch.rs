//! Who looks on while a load is sent: the service's live figures are followed, its dashboard is told where the run is, and a
//! collector is told how it goes.

use std::path::Path;
use std::sync::MutexGuard;
use std::time::Duration;

use observe::follow::Follower;
use observe::markers::Markers;
use observe::otlp::Pusher;
use plan::schedule::Schedule;
use record::followed::Followed;
use record::recorder::Recorder;
use record::result::run::Verdict;

use super::Options;
use super::ready::Ready;

/// Who looks on at one run. Dropping it ends that, without the last words.
pub(super) struct Watch {
    follower: Follower,
    /// A part of a run tells the dashboard nothing: its verdict is that of the whole.
    markers: Option<Markers>,
    pusher: Option<Pusher>,
}

impl Watch {
    /// From now on, for the whole run that is kept in `folder`.
    pub(super) fn of_run(
        options: &Options,
        ready: &mut Ready,
        schedule: &Schedule,
        folder: &Path,
    ) -> Self {
        let scenario = &options.scenario;
        let run_id = folder.file_name().unwrap_or_default().to_string_lossy();
        let phases = schedule
            .phases()
            .iter()
            .zip(&scenario.phases)
            .map(|(planned, phase)| (planned.start, phase.name.get_ref().clone()))
            .collect();
        let (url, token) = (&ready.target.url, ready.token.take());
        let markers = Markers::start(url, token, &run_id, scenario.name.get_ref(), phases);
        Self {
            markers: Some(markers),
            ..Self::of_part(options, ready, folder)
        }
    }

    /// From now on, for a part of a run.
    pub(super) fn of_part(options: &Options, ready: &Ready, folder: &Path) -> Self {
        let run_id = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = options.scenario.name.get_ref();
        Self {
            follower: Follower::start(&ready.target.url, ready.reading.as_deref()),
            markers: None,
            pusher: options
                .otlp
                .as_ref()
                .map(|url| Pusher::start(url, &run_id, name)),
        }
    }

    /// The service's live figures so far.
    pub(super) fn followed(&self) -> MutexGuard<'_, Followed> {
        self.follower.followed()
    }

    /// Tells how the load is at `now` after its start, if it is time for that.
    pub(super) fn look(&mut self, now: Duration, recorder: &Recorder) {
        if let Some(markers) = &mut self.markers {
            markers.look(now, recorder);
        }
        if let Some(pusher) = &mut self.pusher {
            pusher.look(now, recorder, &self.follower.followed());
        }
    }

    /// Tells how the load was when it had ended.
    pub(super) fn last(&mut self, now: Duration, recorder: &Recorder) {
        if let Some(pusher) = &mut self.pusher {
            pusher.last(now, recorder, &self.follower.followed());
        }
    }

    /// Tells the verdict, if there is one. Answers what could not be told, one line each.
    pub(super) async fn end(self, verdict: Option<Verdict>) -> Vec<String> {
        if let (Some(markers), Some(verdict)) = (self.markers, verdict) {
            markers.end(verdict.name()).await;
        }
        let Some(pusher) = self.pusher else {
            return Vec::new();
        };
        let untold = pusher.end(verdict.map(Verdict::exit_code)).await;
        untold
            .map(|why| format!("--otlp: {why}"))
            .into_iter()
            .collect()
    }
}

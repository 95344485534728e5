//! What MongoDB has to have before records come: collections that keep what is written, and their indexes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::store::{Store, is_refusal};

/// Collections and indexes are looked at this often: somebody may have dropped the database meanwhile, with its indexes.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// It is made once for all recorders of this process. In a replica set an index is a decision of all its members: when each
/// of many recorders asked for all of them at once, seconds passed before the first record.
#[derive(Debug)]
pub(super) struct Preparation {
    store: Store,
    metrics: Arc<Metrics>,
    made: Mutex<Option<Instant>>,
}

impl Preparation {
    pub(super) fn new(store: &Store, metrics: &Arc<Metrics>) -> Self {
        Self {
            store: store.clone(),
            metrics: Arc::clone(metrics),
            made: Mutex::default(),
        }
    }

    /// Returns when MongoDB has what it has to have; who comes while another makes it waits for that.
    ///
    /// # Errors
    /// MongoDB out of reach, or a collection that would lose records.
    pub(super) async fn made(&self) -> Result<(), ServiceError> {
        let mut made = self.made.lock().await;
        if made.is_some_and(|at| at.elapsed() < INTERVAL) {
            return Ok(());
        }
        let unfit = self.store.unfit_collections().await;
        // Who may not ask is no worse off than before.
        if let Ok(unfit) = unfit
            && !unfit.is_empty()
        {
            return Err(ServiceError::UnfitCollection(unfit.join("; ")));
        }
        match self.store.prepare().await {
            Ok(()) => self.metrics.note_indexes(None),
            // Another hand's index, or a right that is lacking: records are written without, and found slowly.
            Err(error) if is_refusal(&error) => self.metrics.note_indexes(Some(&error)),
            Err(error) => return Err(error),
        }
        *made = Some(Instant::now());
        Ok(())
    }
}

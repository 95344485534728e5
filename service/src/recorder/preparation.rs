//! What MongoDB has to have before records come: collections that keep what is written, and their indexes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Recorders;
use crate::error::ServiceError;
use crate::metrics::Metrics;
use crate::pairing::{Move, pair};
use crate::queue::Queue;
use crate::queue::bundle::Instance;
use crate::store::{Store, is_answer};

/// Indexes are looked at this often: somebody may have dropped the database meanwhile, with its indexes.
const INDEX_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Whether the record is the queue's, and keeps what is written, is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// It is made once for all recorders of this process. In a replica set an index is a decision of all its members: when each
/// of many recorders asked for all of them at once, seconds passed before the first record.
#[derive(Debug)]
pub(super) struct Preparation {
    queue: Queue,
    store: Store,
    metrics: Arc<Metrics>,
    instance: Instance,
    made: Mutex<Made>,
}

/// What is made, and when it was looked at last.
#[derive(Debug, Default)]
struct Made {
    looked_at: Option<Instant>,
    indexes_at: Option<Instant>,
    /// The name of the pair that queue and record were found to be.
    pair: Option<String>,
    /// Why nothing may be recorded, as a later look has found.
    wrong: Option<ServiceError>,
}

impl Preparation {
    pub(super) fn new(recorders: &Recorders) -> Self {
        Self {
            queue: recorders.queue.clone(),
            store: recorders.store.clone(),
            metrics: Arc::clone(&recorders.metrics),
            instance: recorders.instance,
            made: Mutex::default(),
        }
    }

    /// Returns when MongoDB has what it has to have; who comes while another makes it waits for that. Later looks hold up
    /// nobody: a part of Redis may stand still meanwhile.
    ///
    /// # Errors
    /// A store out of reach, a collection that would lose records, or the record of another queue.
    pub(super) async fn made(self: &Arc<Self>) -> Result<(), ServiceError> {
        let mut made = self.made.lock().await;
        if let Some(wrong) = made.wrong.take() {
            made.looked_at = None;
            return Err(wrong);
        }
        match made.looked_at {
            None => {
                self.look(&mut made).await?;
                made.looked_at = Some(Instant::now());
            }
            Some(at) if at.elapsed() >= LOOK_INTERVAL => {
                made.looked_at = Some(Instant::now());
                let known = Made {
                    looked_at: made.looked_at,
                    indexes_at: made.indexes_at,
                    pair: made.pair.clone(),
                    wrong: None,
                };
                tokio::spawn(Arc::clone(self).look_again(known));
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn look_again(self: Arc<Self>, mut made: Made) {
        match self.look(&mut made).await {
            Ok(()) => {}
            Err(wrong @ (ServiceError::UnfitCollection(_) | ServiceError::OtherRecord(_))) => {
                made.wrong = Some(wrong);
            }
            // Who records finds out that MongoDB does not answer.
            Err(error) => tracing::debug!(%error, "the record is not looked at"),
        }
        *self.made.lock().await = made;
    }

    async fn look(&self, made: &mut Made) -> Result<(), ServiceError> {
        let known = made.pair.as_deref();
        let pair = pair(&self.queue, &self.store, self.instance, known, Move::AtRest);
        made.pair = Some(pair.await?);
        let unfit = self.store.unfit_collections().await;
        // Who may not ask is no worse off than before.
        if let Ok(unfit) = unfit
            && !unfit.is_empty()
        {
            return Err(ServiceError::UnfitCollection(unfit.join("; ")));
        }
        if made
            .indexes_at
            .is_some_and(|at| at.elapsed() < INDEX_INTERVAL)
        {
            return Ok(());
        }
        match self.store.prepare().await {
            Ok(()) => {
                self.metrics.note_indexes(None);
                made.indexes_at = Some(Instant::now());
            }
            // Another hand's index, or a right that is lacking: records are written without, and found slowly, until a
            // later look has made it.
            Err(error) if is_answer(&error) => self.metrics.note_indexes(Some(&error)),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

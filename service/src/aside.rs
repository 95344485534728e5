//! A bundle that nobody can read, or that MongoDB refuses whole, leaves the line: Redis keeps it with the reason, and the
//! log of errors tells it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::ServiceError;
use crate::loan::Category;
use crate::metrics::Metrics;
use crate::queue::bundle::Ticket;
use crate::queue::claim::SetAside;
use crate::queue::{Partition, Queue};
use crate::snapshot::EventKind;
use crate::store::Store;

/// What other processes set aside is looked for this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Takes a bundle out of the line, unless somebody has ended it meanwhile or too many stand aside.
///
/// # Errors
/// Redis out of reach or silent; a repetition is safe.
pub(crate) async fn set_aside(
    partition: &mut Partition,
    metrics: &Arc<Metrics>,
    ticket: &Ticket,
    reason: &str,
) -> Result<(), ServiceError> {
    let (name, loans) = (ticket.name.to_string(), ticket.len);
    match partition.set_aside(ticket, reason).await? {
        SetAside::Done => {}
        SetAside::Gone => return Ok(()),
        SetAside::Full => {
            tracing::warn!(
                bundle = name,
                loans,
                reason,
                "loans should be set aside, and too many are"
            );
            return Ok(());
        }
    }
    tracing::error!(bundle = name, loans, reason, "loans are set aside");
    metrics.tell(EventKind::Failure {
        loan_id: format!("bundle:{name}"),
        error_type: Category::Unreadable.name().to_owned(),
        attempt: 1,
        applicant: None,
    });
    Ok(())
}

/// Writes into the log of errors what stands aside in Redis, whoever put it there and when: as soon as MongoDB answers.
pub(crate) async fn tell(queue: Queue, store: Store) {
    let mut told = HashSet::new();
    let mut backoff = Backoff::default();
    loop {
        if let Err(error) = tell_untold(&queue, &store, &mut told).await {
            tracing::debug!(%error, "the log of errors does not know all that stands aside");
            backoff.wait().await;
            continue;
        }
        backoff.reset();
        // A bundle that leaves the line here is told at once.
        let _ = tokio::time::timeout(LOOK_INTERVAL, queue.set_aside_here()).await;
    }
}

/// Tells what is not in `told` yet, which then has all that stands aside. A partition that does not answer keeps no other
/// from it.
async fn tell_untold(
    queue: &Queue,
    store: &Store,
    told: &mut HashSet<Vec<u8>>,
) -> Result<(), ServiceError> {
    let mut failed = Ok(());
    let mut there = HashSet::new();
    for number in 0..queue.partitions() {
        let mut partition = queue.reader(number);
        let telling = async {
            for name in partition.names_aside().await? {
                if !told.contains(&name)
                    && let Some(aside) = partition.aside(&name).await?
                {
                    store
                        .log_set_aside(&aside.name, aside.loans, &aside.reason)
                        .await?;
                }
                there.insert(name);
            }
            Ok(())
        };
        failed = telling.await.and(failed);
    }
    // What has left is forgotten, unless somebody could not be asked.
    match &failed {
        Ok(()) => *told = there,
        Err(_) => told.extend(there),
    }
    failed
}

//! A bundle that nobody can read, or that MongoDB refuses whole, leaves the line: Redis keeps it with the reason, and the
//! log of errors tells it.

use std::sync::Arc;

use crate::backoff::Backoff;
use crate::error::ServiceError;
use crate::loan::Category;
use crate::metrics::Metrics;
use crate::queue::Partition;
use crate::queue::bundle::Ticket;
use crate::queue::claim::SetAside;
use crate::snapshot::EventKind;
use crate::store::Store;

/// Takes a bundle out of the line, unless somebody has ended it meanwhile or too many stand aside. The log of errors hears of it as soon as MongoDB
/// answers.
///
/// # Errors
/// Redis out of reach or silent; a repetition is safe.
pub(crate) async fn set_aside(
    partition: &mut Partition,
    store: &Store,
    metrics: &Arc<Metrics>,
    ticket: &Ticket,
    reason: &str,
) -> Result<(), ServiceError> {
    let (name, loans, reason) = (ticket.name.to_string(), ticket.len, reason.to_owned());
    match partition.set_aside(ticket, &reason).await? {
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
    let store = store.clone();
    tokio::spawn(async move {
        let mut backoff = Backoff::default();
        while let Err(error) = store.log_set_aside(&name, loans, &reason).await {
            tracing::debug!(%error, bundle = name, "the log of errors does not know yet");
            backoff.wait().await;
        }
    });
    Ok(())
}

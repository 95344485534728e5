//! Redis's queue and MongoDB's record belong together: both bear the name of the pair, and the number of partitions. Two
//! records behind one queue would share its loans between them, and each would call the other's unknown.

use uuid::Uuid;

use crate::error::ServiceError;
use crate::limits::INSTANCE_KEPT;
use crate::queue::Queue;
use crate::queue::bundle::Instance;
use crate::store::Store;

/// Under which conditions a queue may go on with another record than it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// When it holds no loan and nobody else works with it.
    AtRest,
    /// As an operator has said: with the loans in it, and when nobody else works with it.
    Told,
}

/// Finds out that queue and record belong together, or makes a pair of them if they are new. Answers the pair's name.
///
/// `known` is the name that this process has found before: a record that was emptied since gets it again.
///
/// # Errors
/// A store out of reach, or [`ServiceError::OtherRecord`].
pub(crate) async fn pair(
    queue: &Queue,
    store: &Store,
    instance: Instance,
    known: Option<&str>,
    may_move: Move,
) -> Result<String, ServiceError> {
    let partitions = queue.partitions() as u32;
    let note = store.queue_note().await?;
    if let Some(noted) = note.partitions
        && noted != partitions
    {
        return Err(ServiceError::OtherRecord(format!(
            "--partitions is {partitions}, and MongoDB's record belongs to a queue of {noted}: start with --partitions {noted}, or drain the queue and start once with --repartition; where Redis holds a queue of {partitions}, start once with --partitions {partitions} --repartition"
        )));
    }
    let names = queue.pair_names().await?;
    let others: Vec<_> = names
        .iter()
        .filter(|name| Some(*name) != note.pair.as_ref())
        .collect();
    let is_emptied = note.pair.is_none() && known.is_some_and(|known| others == [known]);
    if !others.is_empty() && !is_emptied {
        let loans = queue.unrecorded().await?;
        let alive = queue.others_alive(instance, INSTANCE_KEPT).await?;
        if alive > 0 || (loans > 0 && may_move == Move::AtRest) {
            return Err(ServiceError::OtherRecord(format!(
                "Redis's queue belongs to another record in MongoDB than {} ({loans} loans in it are not recorded, {alive} other instances work with it): start with the former --mongodb-uri and --mongodb-database, or, to go on with this one, stop the others and drain the queue; where the former record is gone for good, start once with --repartition",
                store.place()
            )));
        }
    }
    // A record without a name may hold anything, so its queue gets a new one, and new filters.
    let known = known.filter(|_| is_emptied).map(str::to_owned);
    let name = match (note.pair, note.partitions) {
        (Some(name), Some(_)) => name,
        (name, _) => {
            let name = name.or(known);
            let name = name.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
            // Of two that make a pair at once one is first.
            store.note_queue(partitions, &name).await?
        }
    };
    if queue.note_pair(&name).await? {
        tracing::info!(
            record = store.place(),
            "the queue goes on with another record: its filters are made anew"
        );
    }
    Ok(name)
}

//! `service forget --applicant`: removes the personal data of one person, wherever it stands, and records that it did.
//!
//! Loans that are on their way are waited for: once they are recorded they are found like the others. Failed loans that
//! wait are discarded, since nobody could correct them without their content.

use std::time::{Duration, Instant};

use bson::DateTime;

use crate::activity::Entry;
use crate::config::Config;
use crate::discard::{Discard, Order};
use crate::error::ServiceError;
use crate::queue::Queue;
use crate::store::Store;
use crate::store::failures::{Bodies, Place, Which};
use crate::store::forgetting::Forgotten;

/// Loans on their way are waited for this long.
const AWAITED: Duration = Duration::from_secs(60);
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// Failed loans that are discarded in one step.
const STEP_LEN: usize = 500;
/// Why failed loans are discarded.
const REASON: &str = "the applicant is forgotten";
/// Who does it, in the record.
const BY: &str = "service forget";

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Records that something was removed from.
    pub records: Forgotten,
    /// Failed loans that waited, and are discarded.
    pub discarded: u64,
    /// Bundles in Redis that still hold the address: some are on their way, some stand aside.
    pub left: (u64, u64),
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// No address.
    #[error(
        "--applicant must be an e-mail address of 3 to 254 characters, such as ada@example.org"
    )]
    NoAddress,
    /// The addresses of Redis or MongoDB cannot be understood.
    #[error(transparent)]
    Settings(#[from] crate::StartError),
    /// Redis or MongoDB cannot be reached. It is safe to try again.
    #[error("{0}; nothing is half done that cannot be done again: run it again")]
    Service(#[from] ServiceError),
}

/// Forgets the applicant with this address.
///
/// # Errors
/// [`ForgetError`].
pub async fn forget(config: &Config, address: &str) -> Result<Done, ForgetError> {
    let address = address.trim();
    let is_address = (3..=254).contains(&address.len())
        && address.contains('@')
        && !address.contains(|c: char| c.is_control() || c.is_whitespace() || c == '"');
    if !is_address {
        return Err(ForgetError::NoAddress);
    }
    let queue = crate::queue_of(config)?;
    let store = crate::store_of(config).await?;
    store.prepare().await?;
    let mut done = Done {
        left: until_recorded(&queue, address).await?,
        ..Done::default()
    };
    store.note_applicant(address).await?;
    done.discarded = discard(&queue, &store, address).await?;
    done.records = store.forget(address).await?;
    for number in 0..queue.partitions() {
        let mut partition = queue.partition(number);
        partition.forget_applicant(address).await?;
        // What Redis has forgotten stands in its file until that is written anew. Partitions may share a node, which is at it then.
        if let Err(error) = partition.rewrite_file().await {
            tracing::debug!(%error, partition = number, "Redis does not begin to write its file anew");
        }
    }
    record(&store, &done).await?;
    Ok(done)
}

/// Waits until no loan on its way is the applicant's, not for ever. Answers what is left.
async fn until_recorded(queue: &Queue, address: &str) -> Result<(u64, u64), ServiceError> {
    let started = Instant::now();
    loop {
        let mut left = (0, 0);
        for number in 0..queue.partitions() {
            let held = queue.partition(number).bundles_with(address).await?;
            left = (left.0 + held.bundles, left.1 + held.aside);
        }
        if left.0 == 0 || started.elapsed() > AWAITED {
            return Ok(left);
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

async fn discard(queue: &Queue, store: &Store, address: &str) -> Result<u64, ServiceError> {
    let task = format!("forget-{}", uuid::Uuid::new_v4().simple());
    let discard = Discard { queue, store };
    let mut sum = 0;
    let mut step = 0;
    let mut after: Option<Place> = None;
    loop {
        let which = Which::OfApplicant(address);
        let waiting = store
            .waiting(&which, after.as_ref(), STEP_LEN, Bodies::Left)
            .await?;
        let Some(last) = waiting.last else {
            break;
        };
        let order = Order {
            task: &task,
            step,
            by: BY,
            reason: REASON,
        };
        let discarded = discard.step(waiting.failures, &order).await?;
        if discarded.is_busy {
            // A retry is at some of them.
            tokio::time::sleep(ASK_INTERVAL).await;
            continue;
        }
        sum += discarded.done;
        step += 1;
        after = Some(last);
    }
    for number in 0..queue.partitions() {
        queue.partition(number).discard_over(&task).await?;
    }
    Ok(sum)
}

/// Records that it was done, without saying whom it concerned.
async fn record(store: &Store, done: &Done) -> Result<(), ServiceError> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let entry = Entry {
        id: bson::oid::ObjectId::new(),
        at: DateTime::now(),
        name: BY.to_owned(),
        address: host.trim().to_owned(),
        action: "forget".to_owned(),
        effect: format!(
            "an applicant's data was removed from {} loans and {} failures; {} failed loans discarded",
            done.records.loans, done.records.failures, done.discarded
        ),
        reason: None,
        request_id: String::new(),
    };
    let collection = store.database().collection("activity");
    collection.insert_one(entry).await?;
    Ok(())
}

//! Whether the service, Redis and MongoDB belong together: a marker that one wrote is read by another.

use std::time::Duration;

use call::{CallError, Remote};
use hyper::StatusCode;
use snapshot::Snapshot;

use crate::markers::random_token;
use crate::stack::Target;
use crate::stores::{StoreError, Stores};

/// How long a service that has just begun may take until it says in Redis that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How often Redis is asked for it.
const TICK: Duration = Duration::from_millis(100);

/// Why the stores are not those of the service.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Redis is another one's.
    #[error(
        "this Redis is not the one of the service at {url}: instance {instance} is not alive in it; check --redis"
    )]
    OtherRedis {
        /// The service.
        url: String,
        /// How it calls itself.
        instance: String,
    },
    /// MongoDB, or the database, is another one's.
    #[error(
        "the database {database} is not the one of the service at {url}: it does not find there what was written; check --mongodb and --mongodb-database"
    )]
    OtherDatabase {
        /// The service.
        url: String,
        /// The database.
        database: String,
    },
    /// A store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service did not answer.
    #[error("the service at {url} does not say what it knows of a loan")]
    Service {
        /// The service.
        url: String,
        /// Why not.
        source: CallError,
    },
}

/// Proves that `stores` are those of the service at `target`, whose snapshot is given. A service that does not say its
/// name, such as a stand-in, cannot be proven: the answer is false then.
///
/// # Errors
/// When they are not.
pub async fn belong_together(
    target: &Target,
    snapshot: &Snapshot,
    stores: &Stores,
) -> Result<bool, ProofError> {
    if snapshot.instance.is_empty() {
        return Ok(false);
    }
    let alive = async {
        loop {
            match stores.has_instance(&snapshot.instance).await {
                Ok(false) => tokio::time::sleep(TICK).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(ALIVE_WITHIN, alive).await {
        Ok(answer) => answer.map(drop)?,
        Err(_) => {
            return Err(ProofError::OtherRedis {
                url: target.shown_url(),
                instance: snapshot.instance.clone(),
            });
        }
    }
    let unheard = |source| ProofError::Service {
        url: target.shown_url(),
        source,
    };
    let mut service = Remote::at(&target.url).map_err(unheard)?;
    let loan_id = format!("loadgen-marker-{}", random_token());
    stores.put_marker(&loan_id).await?;
    let asked = service.get(&format!("/api/loans/{loan_id}")).await;
    stores.take_marker(&loan_id).await?;
    match asked.map_err(unheard)?.status {
        StatusCode::NOT_FOUND => Err(ProofError::OtherDatabase {
            url: target.shown_url(),
            database: target.mongodb_database.clone(),
        }),
        _ => Ok(true),
    }
}

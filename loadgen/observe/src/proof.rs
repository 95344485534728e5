//! Whether the service, Redis and MongoDB belong together: a marker that one wrote is read by another.

use std::time::Duration;

use call::{Answer, CallError, Remote};
use hyper::StatusCode;
use snapshot::Snapshot;
use tokio::sync::{RwLock, oneshot};

use crate::follow::{needs_token, reader};
use crate::markers::{TOKEN_VARIABLE, random_token};
use crate::stack::Target;
use crate::stores::{StoreError, Stores};

/// How long a service that has just begun may take until it says in Redis that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How often Redis is asked for it.
const TICK: Duration = Duration::from_millis(100);
/// How long whoever ends the process waits for markers that are out.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Read by each marker while it is out.
static OUT: RwLock<()> = RwLock::const_new(());

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
    /// The service tells whoever has no token nothing. The token is not told.
    #[error(
        "the service at {url} does not say what it knows of a loan: reading needs a token: set {} to one that the service knows",
        TOKEN_VARIABLE
    )]
    Token {
        /// The service.
        url: String,
    },
    /// The service answered something else.
    #[error("the service at {url} does not say what it knows of a loan (status {status})")]
    Status {
        /// The service.
        url: String,
        /// What it answered.
        status: u16,
    },
}

/// Proves that `stores` are those of the service at `target`, whose snapshot is given; it is asked with the token of whoever may
/// read, where one is known. A service that does not say its name, such as a stand-in, cannot be proven: the answer is false then.
///
/// # Errors
/// When they are not.
pub async fn belong_together(
    target: &Target,
    token: Option<&str>,
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
    let url = target.shown_url();
    let service = reader(&target.url, token).map_err(|source| ProofError::Service {
        url: url.clone(),
        source,
    })?;
    let answer = asked_of_marker(stores.clone(), service, url.clone()).await?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Err(ProofError::OtherDatabase {
            url,
            database: target.mongodb_database.clone(),
        }),
        status if needs_token(status) => Err(ProofError::Token { url }),
        status => Err(ProofError::Status {
            url,
            status: status.as_u16(),
        }),
    }
}

/// What the service at `url` says of a loan that nobody sent, whose record is put into the stores for that and taken back. It is taken
/// back also where whoever asked is dropped meanwhile: [`taken_back`] waits for it.
async fn asked_of_marker(
    stores: Stores,
    mut service: Remote,
    url: String,
) -> Result<Answer, ProofError> {
    let out = OUT.read().await;
    let (mut told, answer) = oneshot::channel();
    tokio::spawn(async move {
        let _out = out;
        let loan_id = format!("loadgen-marker-{}", random_token());
        let path = format!("/api/loans/{loan_id}");
        let heard = match stores.put_marker(&loan_id).await {
            Ok(()) => tokio::select! {
                heard = service.get(&path) => {
                    Some(heard.map_err(|source| ProofError::Service { url, source }))
                }
                // Nobody waits for it any more.
                () = told.closed() => None,
            },
            Err(error) => Some(Err(error.into())),
        };
        // Whether one that could not be put is there nobody knows.
        let taken = stores.take_marker(&loan_id).await;
        if let Some(heard) = heard {
            let _ = told.send(taken.map_err(ProofError::from).and(heard));
        }
    });
    answer.await.unwrap_or_else(|_| {
        let why = "the look at it broke off".to_owned();
        Err(StoreError::Mongo(why).into())
    })
}

/// Waits a little until no marker is out. For whoever ends the process after a proof was dropped.
pub async fn taken_back() {
    let _ = tokio::time::timeout(TAKEN_BACK_WITHIN, OUT.write()).await;
}

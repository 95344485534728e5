//! Waiting for a state that servers come into together.

use std::time::{Duration, Instant};

use crate::error::TestbedError;

/// How long a state may take. Generous: elections and replays take longer on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` answers `Ok`. Its `Err` says what was seen instead.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, TestbedError> {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(reached) => return Ok(reached),
            Err(last) if begun.elapsed() > WITHIN => {
                return Err(TestbedError::NotReached {
                    what: what.into(),
                    waited: WITHIN,
                    last,
                });
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// An error with what caused it, as what was seen instead.
pub(crate) fn seen(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

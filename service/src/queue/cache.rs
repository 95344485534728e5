//! Bundles that this process knows already. A bundle's content never changes, so what stands here is always true; what
//! does not stand here is read from Redis.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bundle::{Bundle, Name};

/// A bounded number of bytes; the oldest goes first.
#[derive(Debug)]
pub(super) struct Cache {
    len_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bundles: HashMap<Name, Bundle>,
    order: VecDeque<Name>,
    len: usize,
}

impl Cache {
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            len_max,
            inner: Mutex::default(),
        }
    }

    /// Keeps a bundle, and drops the oldest ones beyond the bound.
    pub(super) fn keep(&self, bundle: Bundle) {
        let mut inner = self.lock();
        inner.len += bundle.memory_len();
        inner.order.push_back(bundle.name);
        inner.bundles.insert(bundle.name, bundle);
        while inner.len > self.len_max || inner.order.len() > 2 * inner.bundles.len() + 64 {
            let Some(oldest) = inner.order.pop_front() else {
                break;
            };
            if let Some(bundle) = inner.bundles.remove(&oldest) {
                inner.len -= bundle.memory_len();
            }
        }
    }

    /// Takes a bundle out: whoever claimed it is its only reader.
    pub(super) fn take(&self, name: Name) -> Option<Bundle> {
        let mut inner = self.lock();
        let bundle = inner.bundles.remove(&name)?;
        inner.len -= bundle.memory_len();
        Some(bundle)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::bundle::QueuedLoan;
    use super::*;
    use crate::loan::Fingerprint;

    fn bundle() -> Bundle {
        Bundle {
            name: Name::random(),
            queued_ms: 1,
            loans: vec![QueuedLoan {
                loan_id: "A".into(),
                fingerprint: Fingerprint::from_bytes(&[0; 16]).expect("16 bytes"),
                received_us: 1,
                attempt: 1,
                trace: None,
                body: Bytes::from_static(&[b'x'; 1_000]),
            }],
        }
    }

    #[test]
    fn it_is_bounded_and_drops_the_oldest() {
        let cache = Cache::new(10_000);
        let bundles: Vec<_> = (0..100).map(|_| bundle()).collect();
        for bundle in &bundles {
            cache.keep(bundle.clone());
        }
        assert!(cache.lock().len <= 10_000);
        assert_eq!(cache.take(bundles[0].name), None);
        assert_eq!(cache.take(bundles[99].name).as_ref(), bundles.last());
        assert_eq!(cache.take(bundles[99].name), None, "it is taken once");
    }

    #[test]
    fn what_is_taken_leaves_nothing_behind() {
        let cache = Cache::new(10_000);
        for _ in 0..1_000 {
            let bundle = bundle();
            cache.keep(bundle.clone());
            cache.take(bundle.name);
        }
        let inner = cache.lock();
        assert_eq!(inner.len, 0);
        assert!(inner.order.len() <= 66, "{}", inner.order.len());
    }
}

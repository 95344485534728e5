//! Spans, and those that are not sent yet: bounded in bytes, whatever the collector does.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::context::{Context, SpanId};

/// Spans in one request.
const BATCH_LEN_MAX: usize = 512;
/// Bytes of spans that wait.
const UNSENT_LEN_MAX: usize = 4 * 1024 * 1024;
/// Links of one span; more are counted.
pub(super) const LINKS_MAX: usize = 128;

/// What part a span has in a call or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Within the service.
    Internal = 1,
    /// Answers a request.
    Server = 2,
    /// Asks another.
    Client = 3,
    /// Puts a message in a queue.
    Producer = 4,
    /// Takes a message from a queue.
    Consumer = 5,
}

/// What is said of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// An integer.
    Whole(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(number as i64)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

/// Something that was done, from when to when. Instants in microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its trace and its id.
    pub context: Context,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: &'static str,
    /// What part it has.
    pub kind: Kind,
    /// From when.
    pub started_us: u64,
    /// Until when.
    pub ended_us: u64,
    /// What there is to say of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that it belongs with.
    pub links: Vec<Context>,
    /// Links that there was no room for.
    pub links_dropped: usize,
    /// Whether it failed.
    pub is_error: bool,
}

impl Span {
    /// Adds links, as many as there is room for.
    pub(super) fn link(&mut self, links: impl IntoIterator<Item = Context>) {
        for link in links {
            if self.links.len() < LINKS_MAX {
                self.links.push(link);
            } else {
                self.links_dropped += 1;
            }
        }
    }

    /// Bytes that it takes.
    fn memory_len(&self) -> usize {
        let texts: usize = self
            .attributes
            .iter()
            .map(|(_, value)| match value {
                Value::Text(text) => text.len(),
                Value::Whole(_) => 0,
            })
            .sum();
        size_of::<Self>()
            + self.attributes.capacity() * size_of::<(&str, Value)>()
            + self.links.capacity() * size_of::<Context>()
            + texts
    }
}

/// Spans that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    inner: Mutex<Inner>,
    much: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    spans: Vec<Span>,
    len: usize,
}

impl Unsent {
    /// Adds spans; those that there is no room for are dropped.
    pub(super) fn add(&self, spans: Vec<Span>) {
        let mut inner = self.lock();
        for span in spans {
            let len = span.memory_len();
            if inner.len + len > UNSENT_LEN_MAX {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                inner.len += len;
                inner.spans.push(span);
            }
        }
        if inner.spans.len() >= BATCH_LEN_MAX {
            self.much.notify_one();
        }
    }

    /// Takes as many as one request has, the oldest first.
    pub(super) fn take(&self) -> Vec<Span> {
        let mut inner = self.lock();
        let len = inner.spans.len().min(BATCH_LEN_MAX);
        let batch: Vec<_> = inner.spans.drain(..len).collect();
        inner.len -= batch.iter().map(Span::memory_len).sum::<usize>();
        if inner.spans.is_empty() {
            // What a time without a collector has grown is given back.
            inner.spans = Vec::new();
        }
        batch
    }

    /// Waits until there is a request's worth.
    pub(super) async fn is_much(&self) {
        self.much.notified().await;
    }

    /// Counts spans that were taken and that the collector has not.
    pub(super) fn note_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// How many nobody will see: there was no room for them, or the collector has not taken them.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each critical section leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span {
            context: Context {
                trace_id: [1; 16],
                span_id: [2; 8],
            },
            parent: None,
            name: "admit",
            kind: Kind::Internal,
            started_us: 1,
            ended_us: 2,
            attributes: vec![("sluice.loan_id", "x".repeat(64).into())],
            links: Vec::new(),
            links_dropped: 0,
            is_error: false,
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let unsent = Unsent::default();
        for _ in 0..1_000 {
            unsent.add(vec![span(); 100]);
        }
        let len = unsent.lock().len;
        assert!(len <= UNSENT_LEN_MAX, "{len}");
        let mut kept = 0;
        loop {
            let batch = unsent.take();
            if batch.is_empty() {
                break;
            }
            assert!(batch.len() <= BATCH_LEN_MAX);
            kept += batch.len() as u64;
        }
        assert!(kept > 1_000);
        assert_eq!(kept + unsent.dropped(), 100_000);
        assert_eq!(unsent.lock().len, 0);
        // There is room again.
        unsent.add(vec![span()]);
        assert_eq!(unsent.take().len(), 1);
    }

    #[test]
    fn links_are_bounded() {
        let mut span = span();
        let link = span.context;
        span.link(std::iter::repeat_n(link, LINKS_MAX + 7));
        assert_eq!((span.links.len(), span.links_dropped), (LINKS_MAX, 7));
    }
}

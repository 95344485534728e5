//! The body of an answer, handed to hyper in small parts: of memory, or as they are made.
//!
//! hyper copies what it is given into the buffer of the connection, and a client that reads slowly keeps it there. So it
//! is given a little at a time; the rest is shared by all who are sent the same, and what is one client's own counts
//! towards a bound on the sum.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::limits::{ANSWER_TIMEOUT, PART_LEN_MAX};

/// A body.
#[derive(Debug, Default)]
pub(super) struct Parts {
    rest: VecDeque<Bytes>,
    len: usize,
    /// Whether others are sent the same bytes.
    is_shared: bool,
    /// For a body of more than one part.
    deadline: Option<Instant>,
    held: Option<Share>,
    /// For a body that is made while it is sent: what comes next.
    coming: Option<mpsc::Receiver<io::Result<Bytes>>>,
}

impl Parts {
    /// A body of one client's own.
    pub(super) fn new(bytes: Bytes) -> Self {
        Self::of([bytes].into(), false)
    }

    /// A body whose bytes others are sent, too.
    pub(super) fn shared(parts: VecDeque<Bytes>) -> Self {
        Self::of(parts, true)
    }

    /// A body that is made while it is sent. Its sender learns that nobody takes it any more by the channel's end.
    pub(super) fn stream(coming: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            coming: Some(coming),
            ..Self::default()
        }
    }

    fn of(mut rest: VecDeque<Bytes>, is_shared: bool) -> Self {
        rest.retain(|part| !part.is_empty());
        let len = rest.iter().map(Bytes::len).sum();
        Self {
            deadline: (len > PART_LEN_MAX).then(|| Instant::now() + ANSWER_TIMEOUT),
            rest,
            len,
            is_shared,
            held: None,
            coming: None,
        }
    }

    /// Counts a large body towards the sum of all, until it is sent.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub(super) fn hold(&mut self, unsent: &Arc<Sum>) -> Result<(), NoRoom> {
        if self.is_shared || self.len <= PART_LEN_MAX {
            return Ok(());
        }
        let mut share = Share::new(unsent);
        share.set(self.len)?;
        self.held = Some(share);
        Ok(())
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty()
            && let Some(coming) = &mut self.coming
        {
            match ready!(coming.poll_recv(cx)) {
                Some(Ok(part)) => {
                    self.len += part.len();
                    self.rest.push_back(part);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.coming = None;
                    return Poll::Ready(None);
                }
            }
        }
        let Some(first) = self.rest.front_mut() else {
            return Poll::Ready(None);
        };
        let part = first.split_to(first.len().min(PART_LEN_MAX));
        if first.is_empty() {
            self.rest.pop_front();
        }
        self.len -= part.len();
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() > deadline)
        {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.coming.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.coming.is_some() {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.len as u64)
    }
}

/// What slow clients keep here, all of them together, within a bound.
#[derive(Debug)]
pub(crate) struct Sum {
    len: AtomicUsize,
    len_max: usize,
}

impl Sum {
    /// Nothing yet, of at most so many bytes.
    pub(crate) fn of(len_max: usize) -> Arc<Self> {
        Arc::new(Self {
            len: AtomicUsize::new(0),
            len_max,
        })
    }
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// What one of them keeps.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Sum>,
    len: usize,
}

impl Share {
    pub(super) fn new(all: &Arc<Sum>) -> Self {
        Self {
            all: Arc::clone(all),
            len: 0,
        }
    }

    /// Notes how much it is now.
    ///
    /// # Errors
    /// Where it has become more and the sum is too large.
    pub(super) fn set(&mut self, len: usize) -> Result<(), NoRoom> {
        let before = std::mem::replace(&mut self.len, len);
        if len <= before {
            // As a rule nothing is left and nothing was.
            if len < before {
                self.all.len.fetch_sub(before - len, Ordering::Relaxed);
            }
            return Ok(());
        }
        let sum = self.all.len.fetch_add(len - before, Ordering::Relaxed) + (len - before);
        if sum > self.all.len_max {
            return Err(NoRoom);
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.len.fetch_sub(self.len, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn it_comes_in_small_parts_and_whole() {
        let text = Bytes::from("x".repeat(3 * PART_LEN_MAX + 1));
        let mut body = Parts::shared([text.slice(..10), text.slice(10..)].into());
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        let mut came = Vec::new();
        while let Some(frame) = body.frame().await {
            let part = frame.unwrap().into_data().unwrap();
            assert!(part.len() <= PART_LEN_MAX);
            came.extend_from_slice(&part);
            assert_eq!(
                body.size_hint().exact(),
                Some((text.len() - came.len()) as u64)
            );
        }
        assert_eq!(came, text);
        assert!(body.is_end_stream());
        assert!(Parts::new(Bytes::new()).is_end_stream());
    }

    #[test]
    fn the_sum_is_bounded() {
        let all = Sum::of(4 * PART_LEN_MAX);
        let large = || Parts::new(Bytes::from(vec![0; PART_LEN_MAX + 1]));
        let mut held: Vec<_> = (0..3).map(|_| large()).collect();
        for body in &mut held {
            assert_eq!(body.hold(&all), Ok(()));
        }
        assert_eq!(large().hold(&all), Err(NoRoom));
        // What is shared or small takes no room.
        assert_eq!(Parts::new(Bytes::from("small")).hold(&all), Ok(()));
        held.pop();
        assert_eq!(large().hold(&all), Ok(()), "there is room again");
        drop(held);
        assert_eq!(all.len.load(Ordering::Relaxed), 0);
    }
}

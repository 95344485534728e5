//! The open connections: bounded in number, and none may be held for nothing.
//!
//! Beyond the bound, those that wait longest for their client to say something are closed, so that
//! idle clients and slow ones cannot keep the others out.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::limits::{SHED_ANSWERING_AFTER, SHED_WAITING_AFTER, WRITE_TIMEOUT};

/// How often a full house is looked through.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// All open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    len_max: usize,
    started: Instant,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
    shed: AtomicU64,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Seat {
    /// Milliseconds since the start, doubled; plus one while a request is being answered.
    state: AtomicU64,
    close: Notify,
}

/// A seat while it is taken.
#[derive(Debug)]
pub(super) struct Taken {
    connections: Arc<Connections>,
    number: u64,
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(len_max: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(len_max)),
            len_max,
            started: Instant::now(),
            seats: Mutex::default(),
            next: AtomicU64::default(),
            shed: AtomicU64::default(),
        })
    }

    /// Waits for a free seat; makes one free where that can be.
    pub(super) async fn take(self: &Arc<Self>) -> Taken {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break permit;
            }
            self.shed();
            let waited =
                tokio::time::timeout(LOOK_INTERVAL, Arc::clone(&self.free).acquire_owned());
            if let Ok(Ok(permit)) = waited.await {
                break permit;
            }
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            state: AtomicU64::new(self.now_ms() << 1),
            close: Notify::new(),
        });
        self.seats().insert(number, Arc::clone(&seat));
        Taken {
            connections: Arc::clone(self),
            number,
            seat,
            _permit: permit,
        }
    }

    /// Asks the connections that have waited longest to close: one in ten at once.
    fn shed(&self) {
        let now_ms = self.now_ms();
        let mut idle: Vec<_> = {
            let seats = self.seats();
            seats
                .values()
                .filter_map(|seat| Some((seat.idle(now_ms)?, Arc::clone(seat))))
                .collect()
        };
        idle.sort_unstable_by_key(|(waited_ms, _)| std::cmp::Reverse(*waited_ms));
        idle.truncate((self.len_max / 10).max(8));
        self.shed.fetch_add(idle.len() as u64, Ordering::Relaxed);
        for (_, seat) in idle {
            seat.close.notify_one();
        }
    }

    /// How many connections were closed for others.
    pub(super) fn shed_count(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Waits until every seat is free.
    pub(super) async fn ended(&self) {
        let all = u32::try_from(self.len_max).unwrap_or(u32::MAX);
        let _ = self.free.acquire_many(all).await;
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn seats(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        // Each critical section leaves the map whole.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// For how long it has done nothing, if that is too long in a full house.
    fn idle(&self, now_ms: u64) -> Option<u64> {
        let state = self.state.load(Ordering::Relaxed);
        let bound = if state & 1 == 1 {
            SHED_ANSWERING_AFTER
        } else {
            SHED_WAITING_AFTER
        };
        let waited_ms = now_ms.saturating_sub(state >> 1);
        (u128::from(waited_ms) >= bound.as_millis()).then_some(waited_ms)
    }
}

impl Taken {
    /// A request has come.
    pub(super) fn answering(&self) {
        let now_ms = self.connections.now_ms();
        self.seat.state.store(now_ms << 1 | 1, Ordering::Relaxed);
    }

    /// It is answered.
    pub(super) fn waiting(&self) {
        let now_ms = self.connections.now_ms();
        self.seat.state.store(now_ms << 1, Ordering::Relaxed);
    }

    /// Returns when the seat is needed.
    pub(super) async fn is_needed(&self) {
        self.seat.close.notified().await;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.connections.seats().remove(&self.number);
    }
}

/// A stream whose peer is let go when it takes nothing for `WRITE_TIMEOUT`: hyper would wait for
/// ever.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            stalled: None,
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

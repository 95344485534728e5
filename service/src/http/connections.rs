//! The open connections: bounded in number, and none may be held for nothing.
//!
//! A client that does not send a request's head in time is let go. Where there is no room for another connection, those
//! that have waited longest for their client to say something are closed, so that idle clients and slow ones cannot keep
//! the others out.
//!
//! No request reads a clock or sets a timer for this. Each connection counts what it does, and one look at all of them,
//! once a second, sees which have done nothing since the last. So a wait is never taken for longer than it was.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, Sleep};

use super::parts::{NoRoom, Share, Sum};
use crate::limits::{
    LINGER_LEN_MAX, LINGER_TIME, SHED_ANSWERING_AFTER, SHED_WAITING_AFTER, WRITE_TIMEOUT,
};

/// How often all connections are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that are read at once of what is thrown away.
const LINGER_READ_LEN: usize = 8 * 1024;
/// How often they are while another one waits for room.
const LOOK_INTERVAL_WITHOUT_ROOM: Duration = Duration::from_millis(100);

/// All open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    len_max: usize,
    keep_alive: Duration,
    open: Mutex<HashMap<u64, Observed>>,
    next: AtomicU64,
    shed: AtomicU64,
}

/// One open connection, as its own task tells of it.
#[derive(Debug)]
pub(super) struct Slot {
    /// How often it has done something, doubled; plus one while a request is being answered.
    activity: AtomicU64,
    /// A [`Close`], or 0.
    close: AtomicU8,
    task: AtomicWaker,
}

/// One open connection, as the last look saw it.
#[derive(Debug)]
struct Observed {
    slot: Arc<Slot>,
    activity: u64,
    /// The first look that saw this activity.
    since: Instant,
}

/// How a connection is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Close {
    /// After the request that it is in.
    Answered = 1,
    /// At once.
    Now = 2,
}

/// A slot while a connection has it.
#[derive(Debug)]
pub(super) struct HeldSlot {
    connections: Arc<Connections>,
    number: u64,
    slot: Arc<Slot>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// An idle connection is kept for `keep_alive`, and a client may take as long to send a request's head.
    pub(crate) fn new(len_max: usize, keep_alive: Duration) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(len_max)),
            len_max,
            keep_alive,
            open: Mutex::default(),
            next: AtomicU64::default(),
            shed: AtomicU64::default(),
        })
    }

    /// Waits for a free slot; makes one free where that can be.
    pub(super) async fn take(self: &Arc<Self>) -> HeldSlot {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break permit;
            }
            self.look(Instant::now());
            self.shed(Instant::now());
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_INTERVAL_WITHOUT_ROOM, free).await {
                break permit;
            }
        };
        self.held(permit, Instant::now())
    }

    fn held(self: &Arc<Self>, permit: OwnedSemaphorePermit, now: Instant) -> HeldSlot {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot {
            activity: AtomicU64::default(),
            close: AtomicU8::default(),
            task: AtomicWaker::new(),
        });
        let observed = Observed {
            slot: Arc::clone(&slot),
            activity: 0,
            since: now,
        };
        self.open().insert(number, observed);
        HeldSlot {
            connections: Arc::clone(self),
            number,
            slot,
            _permit: permit,
        }
    }

    /// Lets go those whose client takes too long; never returns.
    pub(super) async fn watch(&self) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(Instant::now());
        }
    }

    /// Sees which have done something since the last look, and closes those that have waited too long for a head.
    fn look(&self, now: Instant) {
        for observed in self.open().values_mut() {
            let activity = observed.slot.activity.load(Ordering::Relaxed);
            if observed.activity != activity {
                observed.activity = activity;
                observed.since = now;
            } else if !observed.is_answering() && observed.idle(now) >= self.keep_alive {
                observed.slot.ask(Close::Now);
            }
        }
    }

    /// Asks the connections that have waited longest to close: one in a hundred at once, so that it is not done for each that
    /// comes, nor so many that come back together get in the way of the others.
    fn shed(&self, now: Instant) {
        let mut idle: Vec<_> = self
            .open()
            .values()
            .filter(|observed| observed.is_idle_without_room(now))
            .map(|observed| (observed.since, Arc::clone(&observed.slot)))
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        idle.truncate((self.len_max / 100).max(8));
        self.shed.fetch_add(idle.len() as u64, Ordering::Relaxed);
        for (_, slot) in idle {
            slot.ask(Close::Now);
        }
    }

    /// How many connections were closed for others.
    pub(super) fn shed_count(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Asks each to end after the request that it is in, and waits until all have.
    pub(super) async fn end(&self) {
        for observed in self.open().values() {
            observed.slot.ask(Close::Answered);
        }
        let all = u32::try_from(self.len_max).unwrap_or(u32::MAX);
        let _ = self.free.acquire_many(all).await;
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Observed>> {
        // Each critical section leaves the map whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observed {
    fn is_answering(&self) -> bool {
        self.activity & 1 == 1
    }

    /// For how long it has done nothing, at least.
    fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether that is too long while others wait for room.
    fn is_idle_without_room(&self, now: Instant) -> bool {
        let bound = if self.is_answering() {
            SHED_ANSWERING_AFTER
        } else {
            SHED_WAITING_AFTER
        };
        self.idle(now) >= bound
    }
}

impl Slot {
    /// A request has come, or is answered.
    fn turn(&self, is_answering: bool) {
        self.act(|activity| (activity | 1).wrapping_add(1) | u64::from(is_answering));
    }

    /// The client has taken a part of an answer.
    fn progress(&self) {
        self.act(|activity| activity.wrapping_add(2));
    }

    /// Only the connection's own task acts: no count is lost.
    fn act(&self, next: impl FnOnce(u64) -> u64) {
        let activity = self.activity.load(Ordering::Relaxed);
        self.activity.store(next(activity), Ordering::Relaxed);
    }

    fn ask(&self, close: Close) {
        self.close.fetch_max(close as u8, Ordering::Release);
        self.task.wake();
    }

    fn asked(&self) -> Option<Close> {
        match self.close.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Close::Answered),
            _ => Some(Close::Now),
        }
    }
}

impl HeldSlot {
    /// A request has come.
    pub(super) fn answering(&self) {
        self.slot.turn(true);
    }

    /// It is answered.
    pub(super) fn waiting(&self) {
        self.slot.turn(false);
    }

    /// Returns when the connection is to end.
    pub(super) async fn close(&self) -> Close {
        poll_fn(|cx| {
            if let Some(close) = self.slot.asked() {
                return Poll::Ready(close);
            }
            self.slot.task.register(cx.waker());
            self.slot.asked().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The slot, for the connection's stream.
    pub(super) fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.slot)
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

/// A stream whose peer is let go when it takes nothing for `WRITE_TIMEOUT`: hyper would wait for
/// ever. One that takes something is not idle.
///
/// After the last answer it reads on for a while: a client that is still sending what was refused would lose the answer, since
/// the kernel resets a connection that is closed with something unread.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    slot: Arc<Slot>,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Nothing more comes from the client.
    has_ended: bool,
    lingering: Option<Lingering>,
    /// What the client has not taken of what was to be written.
    unsent: Share,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, slot: Arc<Slot>, unsent: &Arc<Sum>) -> Self {
        Self {
            stream,
            slot,
            stalled: None,
            has_ended: false,
            lingering: None,
            unsent: Share::new(unsent),
        }
    }

    /// Notes what is left of `len` bytes. A client that keeps what there is no room for is let go.
    fn note_unsent(&mut self, len: usize, written: &Poll<io::Result<usize>>) -> io::Result<()> {
        let left = match written {
            Poll::Ready(Ok(written)) => len - written,
            Poll::Ready(Err(_)) => 0,
            Poll::Pending => len,
        };
        let noted = self.unsent.set(left);
        noted.map_err(|NoRoom| io::ErrorKind::OutOfMemory.into())
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before {
            self.has_ended = true;
        }
        read
    }
}

/// What is left of the time and of the bytes for which a client is heard out.
#[derive(Debug)]
struct Lingering {
    over: Pin<Box<Sleep>>,
    len_left: usize,
}

impl Lingering {
    /// Throws away what still comes, until nothing more does.
    fn poll(&mut self, stream: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<()> {
        let mut stream = stream;
        while self.len_left > 0 {
            let mut bytes = [MaybeUninit::uninit(); LINGER_READ_LEN];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match stream.as_mut().poll_read(cx, &mut buffer) {
                Poll::Pending => return self.over.as_mut().poll(cx),
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) => match buffer.filled().len() {
                    0 => break,
                    len => self.len_left = self.len_left.saturating_sub(len),
                },
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.slot.progress();
        }
        self.note_unsent(bytes.len(), &written)?;
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            // Who is asked to make room does so at once.
            if this.has_ended || this.slot.asked().is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(|| Lingering {
            over: Box::pin(tokio::time::sleep(LINGER_TIME)),
            len_left: LINGER_LEN_MAX,
        });
        lingering.poll(Pin::new(&mut this.stream), cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(30);

    fn take(connections: &Arc<Connections>, now: Instant) -> HeldSlot {
        let permit = Arc::clone(&connections.free).try_acquire_owned().unwrap();
        connections.held(permit, now)
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn who_sends_no_head_in_time_is_let_go() {
        let connections = Connections::new(8, KEEP_ALIVE);
        let start = Instant::now();
        let [silent, talking, slow_reader, answered] = [(); 4].map(|()| take(&connections, start));
        let bound_s = KEEP_ALIVE.as_secs();
        answered.answering();
        answered.slot.progress();
        for second in 1..bound_s {
            talking.answering();
            talking.waiting();
            slow_reader.slot.progress();
            connections.look(after(start, second));
            for held in [&silent, &talking, &slow_reader, &answered] {
                assert_eq!(held.slot.asked(), None, "after {second} s");
            }
        }
        connections.look(after(start, bound_s));
        assert_eq!(silent.slot.asked(), Some(Close::Now));
        // A request that takes its time is bounded elsewhere.
        for held in [&talking, &slow_reader, &answered] {
            assert_eq!(held.slot.asked(), None);
        }
        answered.waiting();
        connections.look(after(start, bound_s + 1));
        connections.look(after(start, 2 * bound_s));
        assert_eq!(answered.slot.asked(), None);
        connections.look(after(start, 2 * bound_s + 1));
        assert_eq!(answered.slot.asked(), Some(Close::Now));
    }

    #[test]
    fn who_has_waited_longest_makes_room_first() {
        let connections = Connections::new(32, KEEP_ALIVE);
        let start = Instant::now();
        // One in a hundred would be none; at least 8 are asked.
        let held: Vec<_> = (0..10)
            .map(|age| take(&connections, after(start, age)))
            .collect();
        connections.shed(after(start, 10));
        let asked = |held: &HeldSlot| held.slot.asked().is_some();
        assert!(held[..8].iter().all(asked));
        assert!(!held[8..].iter().any(asked));
        assert_eq!(connections.shed_count(), 8);
    }

    #[test]
    fn a_request_has_longer_than_an_idle_client() {
        let connections = Connections::new(8, KEEP_ALIVE);
        let start = Instant::now();
        let [idle, answering] = [(); 2].map(|()| take(&connections, start));
        answering.answering();
        connections.look(start);
        connections.shed(start + SHED_WAITING_AFTER);
        assert_eq!(idle.slot.asked(), Some(Close::Now));
        assert_eq!(answering.slot.asked(), None);
        connections.shed(start + SHED_ANSWERING_AFTER);
        assert_eq!(answering.slot.asked(), Some(Close::Now));
    }

    #[tokio::test]
    async fn the_end_waits_for_each() {
        let connections = Connections::new(2, KEEP_ALIVE);
        let held = connections.take().await;
        let answered = async {
            assert_eq!(held.close().await, Close::Answered);
            // What is asked for more than once is the stronger.
            held.slot.ask(Close::Now);
            held.slot.ask(Close::Answered);
            assert_eq!(held.close().await, Close::Now);
            drop(held);
        };
        tokio::join!(connections.end(), answered);
    }
}

//! A small TCP proxy in front of a server, which spoils the connections on demand.
//!
//! | fault | what both ends see |
//! |---|---|
//! | [`Proxy::black_hole`] | nothing arrives and nothing fails, as when a network drops packets; what was sent arrives once it is over |
//! | [`Proxy::slow`] | everything arrives late, in order |
//! | [`Proxy::reset`] | every open connection breaks (RST); a new one is as good as ever |
//! | [`Proxy::half_open`] | every open connection stays open and dead, as when the other machine was unplugged; a new one is good |
//! | [`Proxy::part`] | as a black hole, for the clients of one address only; a connection made meanwhile breaks once it is over |
//!
//! It counts what it does to each, so that a run can show that a fault took effect.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::error::TestbedError;
use crate::port;

/// Chunks under way in one direction of one connection. Beyond them the proxy stops reading, as a full pipe does.
const CHUNKS_MAX: usize = 256;
const CHUNK_LEN: usize = 16 * 1024;
/// How many ports are tried.
const PORT_ATTEMPTS: usize = 10;

/// A proxy in front of one server. Dropping it breaks its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a proxy has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections that reached the server.
    pub connections: u64,
    /// Connections that were closed at once, since the server was not there.
    pub refused: u64,
    /// Chunks that a black hole held back.
    pub held: u64,
    /// Chunks that were delayed.
    pub delayed: u64,
    /// Connections that were reset.
    pub resets: u64,
    /// Connections that were left half open.
    pub forgotten: u64,
    /// Bytes that vanished in half-open connections.
    pub swallowed_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Clear,
    Slow { delay: Duration, jitter: Duration },
    BlackHole,
}

/// What holds for all connections, open and new ones.
#[derive(Debug)]
struct Conditions {
    weather: Weather,
    /// Clients of these addresses are parted from the server.
    parted: BTreeSet<IpAddr>,
}

impl Conditions {
    fn hold_back(&self, client: IpAddr) -> bool {
        self.weather == Weather::BlackHole || self.parted.contains(&client)
    }
}

/// How often all open connections have been struck. A connection compares with the counts at its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Strikes {
    resets: u64,
    forgets: u64,
}

struct Shared {
    target: SocketAddr,
    conditions: watch::Sender<Conditions>,
    strikes: watch::Sender<Strikes>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    refused: AtomicU64,
    held: AtomicU64,
    delayed: AtomicU64,
    resets: AtomicU64,
    forgotten: AtomicU64,
    swallowed_bytes: AtomicU64,
}

impl Proxy {
    /// Listens on a free loopback port and passes everything on to `target`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(target: SocketAddr) -> Result<Self, TestbedError> {
        let mut attempt = 1;
        let listener = loop {
            let address = (Ipv4Addr::LOCALHOST, port::free(Ipv4Addr::LOCALHOST)?);
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) if attempt < PORT_ATTEMPTS => attempt += 1,
                Err(error) => return Err(TestbedError::io("listen for a proxy")(error)),
            }
        };
        Self::serve(listener, target)
    }

    /// Listens on `address` and passes everything on to `target`.
    ///
    /// # Errors
    /// When the address is taken.
    pub(crate) async fn start_at(
        address: SocketAddr,
        target: SocketAddr,
    ) -> Result<Self, TestbedError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(TestbedError::io(format!("listen on {address}")))?;
        Self::serve(listener, target)
    }

    fn serve(listener: TcpListener, target: SocketAddr) -> Result<Self, TestbedError> {
        let address = listener
            .local_addr()
            .map_err(TestbedError::io("learn the port of a proxy"))?;
        let shared = Arc::new(Shared {
            target,
            conditions: watch::Sender::new(Conditions {
                weather: Weather::Clear,
                parted: BTreeSet::new(),
            }),
            strikes: watch::Sender::new(Strikes::default()),
            counters: Counters::default(),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, in either direction, until [`Proxy::clear`]. What is sent waits.
    pub fn black_hole(&self) {
        self.set_weather(Weather::BlackHole);
    }

    /// From now on everything passes `delay` later, and up to `jitter` later still.
    pub fn slow(&self, delay: Duration, jitter: Duration) {
        self.set_weather(Weather::Slow { delay, jitter });
    }

    /// Everything passes again.
    pub fn clear(&self) {
        self.set_weather(Weather::Clear);
    }

    fn set_weather(&self, weather: Weather) {
        self.shared
            .conditions
            .send_modify(|conditions| conditions.weather = weather);
    }

    /// From now on nothing passes between the server and clients of this address, until [`Proxy::join`].
    pub fn part(&self, client: IpAddr) {
        self.shared.conditions.send_modify(|conditions| {
            conditions.parted.insert(client);
        });
    }

    /// Everything passes again for clients of all addresses that were parted.
    pub fn join(&self) {
        self.shared
            .conditions
            .send_modify(|conditions| conditions.parted.clear());
    }

    /// Breaks every open connection.
    pub fn reset(&self) {
        self.shared
            .strikes
            .send_modify(|strikes| strikes.resets += 1);
    }

    /// Forgets every open connection without a word: neither end learns of it, and what it sends vanishes.
    pub fn half_open(&self) {
        self.shared
            .strikes
            .send_modify(|strikes| strikes.forgets += 1);
    }

    /// What it has done so far.
    pub fn counts(&self) -> ProxyCounts {
        let counters = &self.shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProxyCounts {
            connections: count(&counters.connections),
            refused: count(&counters.refused),
            held: count(&counters.held),
            delayed: count(&counters.delayed),
            resets: count(&counters.resets),
            forgotten: count(&counters.forgotten),
            swallowed_bytes: count(&counters.swallowed_bytes),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are tasks of this one's set, and end with it.
        self.task.abort();
    }
}

impl Shared {
    fn count(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// How much later a chunk that comes now is passed on. `salt` spreads the jitter.
    fn delay(&self, salt: u64) -> Duration {
        match self.conditions.borrow().weather {
            Weather::Slow { delay, jitter } => {
                // A Weyl sequence: spread evenly, and no crate for it.
                let part = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                delay + jitter.mul_f64(part as f64 / f64::from(u32::MAX))
            }
            Weather::Clear | Weather::BlackHole => Duration::ZERO,
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, address)) = accepted {
                    connections.spawn(serve(client, address.ip(), Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection from its start to its end.
async fn serve(client: TcpStream, address: IpAddr, shared: Arc<Shared>) {
    let mut strikes = shared.strikes.subscribe();
    let at_start = *strikes.borrow();
    let is_parted = |now: &Conditions| now.parted.contains(&address);
    if is_parted(&shared.conditions.borrow()) {
        // It never reached the server. The client may have given up on it long before this is over.
        Shared::count(&shared.counters.held, 1);
        let mut conditions = shared.conditions.subscribe();
        let _ = conditions.wait_for(|now| !is_parted(now)).await;
        break_off(client);
        return;
    }
    let Ok(server) = connect(address, shared.target).await else {
        Shared::count(&shared.counters.refused, 1);
        break_off(client);
        return;
    };
    Shared::count(&shared.counters.connections, 1);
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut client, mut server) = (client, server);
    let is_reset = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let flows = async {
            tokio::try_join!(
                flow(
                    client_read,
                    server_write,
                    &shared,
                    address,
                    at_start.forgets
                ),
                flow(
                    server_read,
                    client_write,
                    &shared,
                    address,
                    at_start.forgets
                ),
            )
        };
        let struck = async {
            let _ = strikes.wait_for(|now| now.resets > at_start.resets).await;
        };
        let forgotten = async {
            let mut strikes = shared.strikes.subscribe();
            let _ = strikes.wait_for(|now| now.forgets > at_start.forgets).await;
            Shared::count(&shared.counters.forgotten, 1);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = flows => false,
            () = struck => true,
            () = forgotten => false,
        }
    };
    if is_reset {
        Shared::count(&shared.counters.resets, 1);
        break_off(client);
        break_off(server);
    }
}

/// Connects from the client's own address, so that the server knows who it is.
async fn connect(client: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    if client == Ipv4Addr::LOCALHOST {
        return TcpStream::connect(server).await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((client, 0).into())?;
    socket.connect(server).await
}

/// Closes a connection with RST: its peer sees an error, not an end.
fn break_off(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// One direction of one connection: a reader and a writer with chunks on their way between them.
async fn flow(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    client: IpAddr,
    forgets_at_start: u64,
) -> io::Result<()> {
    let is_forgotten = || shared.strikes.borrow().forgets > forgets_at_start;
    let swallow = |len: usize| Shared::count(&shared.counters.swallowed_bytes, len as u64);
    let (queue, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let reader = async move {
        let mut buffer = vec![0; CHUNK_LEN];
        let mut number = 0;
        loop {
            let len = from.read(&mut buffer).await?;
            if len == 0 {
                return Ok::<_, io::Error>(());
            }
            if is_forgotten() {
                swallow(len);
                continue;
            }
            number += 1;
            let delay = shared.delay(number);
            if !delay.is_zero() {
                Shared::count(&shared.counters.delayed, 1);
            }
            let chunk = (Instant::now() + delay, buffer[..len].to_vec());
            if queue.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    };
    let writer = async move {
        let mut conditions = shared.conditions.subscribe();
        while let Some((due, chunk)) = chunks.recv().await {
            // Most chunks are due already; a timer would round them up to a whole millisecond.
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            if conditions.borrow_and_update().hold_back(client) {
                Shared::count(&shared.counters.held, 1);
                let _ = conditions.wait_for(|now| !now.hold_back(client)).await;
            }
            if is_forgotten() {
                swallow(chunk.len());
            } else {
                to.write_all(&chunk).await?;
            }
        }
        if !is_forgotten() {
            to.shutdown().await?;
        }
        Ok(())
    };
    // A broken peer ends the connection; an end of one direction leaves the other open.
    tokio::try_join!(reader, writer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                });
            }
        });
        address
    }

    async fn connected() -> (Proxy, TcpStream) {
        let proxy = Proxy::start(echo().await).await.expect("it starts");
        let stream = TcpStream::connect(proxy.address())
            .await
            .expect("it listens");
        (proxy, stream)
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        stream.write_all(b"loan").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// Whether nothing comes: the time only bounds how long the test looks.
    async fn is_silent(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte))
            .await
            .is_err()
    }

    #[tokio::test]
    async fn passes_everything_and_the_end_of_a_direction() {
        let (proxy, mut stream) = connected().await;
        let sent = vec![7; 300_000];
        let (mut read, mut write) = stream.split();
        let write_all = async {
            write.write_all(&sent).await?;
            write.shutdown().await
        };
        let mut got = Vec::new();
        let (written, read) = tokio::join!(write_all, read.read_to_end(&mut got));
        written.expect("written");
        read.expect("read");
        assert_eq!(got, sent);
        assert_eq!(proxy.counts().connections, 1);
    }

    #[tokio::test]
    async fn a_black_hole_holds_back_and_loses_nothing() {
        let (proxy, mut stream) = connected().await;
        assert_eq!(&ask(&mut stream).await.expect("open"), b"loan");
        proxy.black_hole();
        stream.write_all(b"held").await.expect("nothing fails");
        assert!(is_silent(&mut stream).await);
        proxy.clear();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.expect("it is over");
        assert_eq!(&answer, b"held");
        assert!(proxy.counts().held > 0);
    }

    #[tokio::test]
    async fn clients_of_one_address_are_parted_and_the_others_are_not() {
        let (proxy, mut stream) = connected().await;
        let other: IpAddr = [127, 0, 0, 9].into();
        let mut of_other = connect(other, proxy.address()).await.expect("it listens");
        assert_eq!(&ask(&mut of_other).await.expect("open"), b"loan");
        proxy.part(other);
        of_other.write_all(b"held").await.expect("nothing fails");
        let mut made_meanwhile = connect(other, proxy.address()).await.expect("it listens");
        made_meanwhile
            .write_all(b"lost")
            .await
            .expect("nothing fails");
        assert!(is_silent(&mut of_other).await);
        assert!(is_silent(&mut made_meanwhile).await);
        assert_eq!(&ask(&mut stream).await.expect("not parted"), b"loan");
        proxy.join();
        let mut answer = [0; 4];
        of_other.read_exact(&mut answer).await.expect("it is over");
        assert_eq!(&answer, b"held");
        let error = made_meanwhile.read_exact(&mut answer).await;
        assert_eq!(
            error.expect_err("it breaks").kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[tokio::test]
    async fn a_reset_breaks_the_open_ones_only() {
        let (proxy, mut stream) = connected().await;
        ask(&mut stream).await.expect("open");
        proxy.reset();
        let mut byte = [0];
        let error = stream.read(&mut byte).await.expect_err("it breaks");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut next = TcpStream::connect(proxy.address())
            .await
            .expect("a new one");
        assert_eq!(&ask(&mut next).await.expect("good"), b"loan");
        assert_eq!(proxy.counts().resets, 1);
    }

    #[tokio::test]
    async fn a_half_open_connection_swallows_without_a_word() {
        let (proxy, mut stream) = connected().await;
        ask(&mut stream).await.expect("open");
        proxy.half_open();
        stream.write_all(b"gone").await.expect("nothing fails");
        assert!(is_silent(&mut stream).await);
        let mut next = TcpStream::connect(proxy.address())
            .await
            .expect("a new one");
        assert_eq!(&ask(&mut next).await.expect("good"), b"loan");
        assert!(is_silent(&mut stream).await, "it stays dead");
        let counts = proxy.counts();
        assert_eq!((counts.forgotten, counts.swallowed_bytes), (1, 4));
    }

    #[tokio::test]
    async fn a_slow_one_is_late_and_in_order() {
        let (proxy, mut stream) = connected().await;
        ask(&mut stream).await.expect("open");
        let delay = Duration::from_millis(60);
        proxy.slow(delay, delay);
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(&ask(&mut stream).await.expect("late"), b"loan");
        }
        // Both directions, three times. A lower bound: a busy machine only adds to it.
        assert!(begun.elapsed() >= delay * 6);
        assert!(proxy.counts().delayed >= 6);
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gone = listener.local_addr().expect("bound");
        drop(listener);
        let proxy = Proxy::start(gone).await.expect("it starts");
        let mut stream = TcpStream::connect(proxy.address())
            .await
            .expect("it listens");
        assert!(ask(&mut stream).await.is_err());
        assert_eq!(proxy.counts().refused, 1);
    }
}

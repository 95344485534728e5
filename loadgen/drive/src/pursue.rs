//! Clients that send each loan until they have a definite answer, and write down every request.
//!
//! The load is an open model: an arrival is sent when it is due, whatever became of those before it. Each arrival is a
//! task of its own, since in an outage thousands wait at once; connections are shared through a pool.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use plan::faults;
use plan::kind::Kind;
use plan::payload::{Arrival, Payloads};
use plan::random::mix64;
use plan::schedule::Schedule;
use record::clock::RunClock;
use record::history::History;
use record::sample::{Answer, Unknown};
use tokio::net::TcpStream;
use tokio::sync::{RwLock, Semaphore};
use tokio::task::JoinSet;

use crate::answer::read;
use crate::wire::{ANSWER_BYTES_MAX, on_the_wire};

/// Where loans are sent.
const PATH: &str = "/api/loans/request";
/// The most connections at once. Each is a file of this process and of the service.
const CONNECTIONS_MAX: usize = 2_000;
/// How long a client waits before it sends a request again; it waits twice as long each time, up to the last.
const RESEND_PAUSE: Duration = Duration::from_millis(40);
const RESEND_PAUSE_MAX: Duration = Duration::from_millis(320);

/// How many loans are sent again before the next pause.
const AGAIN_AT_ONCE: u32 = 20;
/// The pause: 1,000 a second.
const AGAIN_PAUSE: Duration = Duration::from_millis(20);

/// The loan of a client that panics would not be pursued, and nobody would know.
const NO_PANIC: &str = "no client panics, and none is stopped";

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// The first arrivals of the schedule.
    pub arrivals: u32,
    /// How long that took.
    pub lasted: Duration,
}

/// What the clients share.
pub struct Clients {
    /// Where the instances listen.
    pub addresses: Vec<SocketAddr>,
    /// What is sent.
    pub payloads: Payloads,
    /// What is written down.
    pub history: History,
    /// The clock of the run.
    pub clock: RunClock,
    /// After this long a request is given up.
    pub request_timeout: Duration,
    /// Every how many loans one is sent by several clients at once; 0 for none.
    pub herd_every: u32,
    /// By how many.
    pub herd: u32,
    /// Set when nobody sends anything again.
    pub is_over: AtomicBool,
    /// Set when all faults are over: then the load ends, if it has lasted long enough.
    pub is_healed: AtomicBool,
    /// Every request passes it. Who holds it for writing has no request under way, and keeps new ones waiting.
    pub door: RwLock<()>,
    lasts: Duration,
    requests: AtomicU64,
    next_client: AtomicU64,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

struct Connection {
    client: u64,
    instance: usize,
    sender: SendRequest<Full<Bytes>>,
}

impl Clients {
    /// Clients that have not begun.
    pub fn new(
        addresses: Vec<SocketAddr>,
        payloads: Payloads,
        history: History,
        clock: RunClock,
        load: &faults::Load,
    ) -> Self {
        Self {
            addresses,
            payloads,
            history,
            clock,
            request_timeout: load.request_timeout,
            herd_every: load.herd_every,
            herd: load.herd,
            is_over: AtomicBool::new(false),
            is_healed: AtomicBool::new(false),
            door: RwLock::new(()),
            lasts: load.lasts,
            requests: AtomicU64::new(0),
            next_client: AtomicU64::new(0),
            idle: Mutex::new(Vec::new()),
            free: Semaphore::new(CONNECTIONS_MAX),
        }
    }

    /// Sends the schedule, and returns when every loan has a definite answer or the clients were told to stop. Beyond the
    /// time that the load lasts it goes on until the faults are over. Answers what was sent.
    pub async fn send_all(self: Arc<Self>, schedule: Schedule) -> Load {
        let mut tasks = JoinSet::new();
        let mut load = Load::default();
        for slot in schedule.slots() {
            tokio::time::sleep(self.clock.until(slot.offset)).await;
            if slot.offset > self.lasts && self.is_healed.load(Ordering::Relaxed) {
                break;
            }
            load.arrivals = slot.number + 1;
            load.lasted = slot.offset.max(self.lasts);
            let is_herded = self.herd_every > 0 && slot.number.is_multiple_of(self.herd_every);
            let is_herded = is_herded && self.payloads.kind_and_owner(slot.number).0 == Kind::Valid;
            let copies = if is_herded { self.herd.max(1) } else { 1 };
            let arrival = Arc::new(self.payloads.arrival(slot.number));
            for _ in 0..copies {
                tasks.spawn(Arc::clone(&self).pursue(Arc::clone(&arrival)));
            }
            while let Some(client) = tasks.try_join_next() {
                client.expect(NO_PANIC);
            }
        }
        all_of(tasks).await;
        load
    }

    /// Sends the first `arrivals` of the schedule once more, as they were, and returns as `send_all` does.
    pub async fn send_again(self: Arc<Self>, arrivals: u32) {
        let mut tasks = JoinSet::new();
        for number in 0..arrivals {
            if number.is_multiple_of(AGAIN_AT_ONCE) {
                tokio::time::sleep(AGAIN_PAUSE).await;
            }
            let arrival = Arc::new(self.payloads.arrival(number));
            tasks.spawn(Arc::clone(&self).pursue(arrival));
            while let Some(client) = tasks.try_join_next() {
                client.expect(NO_PANIC);
            }
        }
        all_of(tasks).await;
    }

    /// Sends one loan again and again until the answer is definite.
    async fn pursue(self: Arc<Self>, arrival: Arc<Arrival>) {
        let mut drop_after =
            (arrival.kind == Kind::Retry).then(|| self.payloads.drop_after(arrival.number));
        let mut pause = RESEND_PAUSE;
        let mut turn = mix64(u64::from(arrival.number)) as usize;
        while !self.is_over.load(Ordering::Relaxed) {
            let instance = turn % self.addresses.len();
            let limit = drop_after.take();
            if !self.request(&arrival, instance, limit).await.is_unknown() {
                return;
            }
            turn += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RESEND_PAUSE_MAX);
        }
    }

    /// One request and its two lines of history. With `drop_after` the client goes away after that long.
    async fn request(
        &self,
        arrival: &Arrival,
        instance: usize,
        drop_after: Option<Duration>,
    ) -> Answer {
        let _permit = self.free.acquire().await.expect("never closed");
        let _passage = self.door.read().await;
        let idle = self.take_idle(instance);
        let client = idle.as_ref().map_or_else(
            || self.next_client.fetch_add(1, Ordering::Relaxed) + 1,
            |connection| connection.client,
        );
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.history.invoke(
            client,
            request,
            arrival.number,
            &arrival.loan_id,
            &arrival.body,
        );
        let limit = drop_after.unwrap_or(self.request_timeout);
        let body = Bytes::copy_from_slice(&arrival.body);
        let talk = self.talk(idle, client, instance, (&arrival.loan_id, body));
        let (answer, error_type) = match tokio::time::timeout(limit, talk).await {
            Ok(answered) => answered,
            Err(_) if drop_after.is_some() => (Answer::Unknown(Unknown::Dropped), None),
            Err(_) => (Answer::Unknown(Unknown::Timeout), None),
        };
        self.history
            .answer(client, request, answer, error_type.as_deref());
        answer
    }

    async fn talk(
        &self,
        idle: Option<Connection>,
        client: u64,
        instance: usize,
        (loan_id, body): (&str, Bytes),
    ) -> (Answer, Option<String>) {
        let address = self.addresses[instance];
        let mut connection = match idle {
            Some(connection) => connection,
            None => match connect(address, client, instance).await {
                Ok(connection) => connection,
                Err(error) => {
                    return (Answer::Unknown(on_the_wire(error.as_ref(), true)), None);
                }
            },
        };
        let request = Request::post(PATH)
            .header("host", address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(body))
            .expect("the parts are valid");
        let response = match connection.sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return (Answer::Unknown(on_the_wire(&error, false)), None),
        };
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = match body.await {
            Ok(body) => body,
            Err(error) if error.is::<LengthLimitError>() => {
                return (Answer::Unknown(Unknown::Garbled), None);
            }
            Err(error) => return (Answer::Unknown(on_the_wire(error.as_ref(), false)), None),
        };
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        read(status, &body.to_bytes(), loan_id)
    }

    fn take_idle(&self, instance: usize) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.sender.is_closed());
        let place = idle.iter().rposition(|connection| {
            connection.instance == instance && connection.sender.is_ready()
        })?;
        Some(idle.swap_remove(place))
    }
}

/// Waits for every client.
async fn all_of(mut clients: JoinSet<()>) {
    while let Some(client) = clients.join_next().await {
        client.expect(NO_PANIC);
    }
}

async fn connect(
    address: SocketAddr,
    client: u64,
    instance: usize,
) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let _ = stream.set_nodelay(true);
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Connection {
        client,
        instance,
        sender,
    })
}

#[cfg(test)]
mod tests {
    use plan::mix::Mix;
    use plan::scenario::Scenario;
    use std::path::Path;

    use super::*;

    /// Clients that know no instance, and so break down over their first request.
    fn broken() -> Arc<Clients> {
        let load = faults::Load {
            rate: 1.0,
            lasts: Duration::from_secs(1),
            lasts_at_most: Duration::ZERO,
            sends_again: false,
            request_timeout: Duration::from_secs(1),
            patience: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(1),
            herd_every: 0,
            herd: 1,
            mix: Mix::default(),
        };
        let clock = RunClock::starting_in(Duration::ZERO);
        let history = History::create(Path::new("/dev/null"), clock).expect("it takes anything");
        let payloads = Payloads::new(1, "GC-1", &load.mix);
        Arc::new(Clients::new(Vec::new(), payloads, history, clock, &load))
    }

    #[tokio::test]
    async fn whoever_waits_for_clients_hears_of_one_that_breaks_down() {
        let phase = "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"1ms\"\nrate = 1000\n";
        let scenario = Scenario::parse(phase, Path::new("t.toml")).expect("a scenario");
        let schedule = Schedule::new(&scenario.phases, 1);
        let sent = tokio::spawn(broken().send_all(schedule)).await;
        assert!(sent.is_err_and(|error| error.is_panic()));
        let sent_again = tokio::spawn(broken().send_again(1)).await;
        assert!(sent_again.is_err_and(|error| error.is_panic()));
    }
}

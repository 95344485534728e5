//! What the integration tests share: a private stack, loans, clients that keep trying, the audit.
#![allow(
    dead_code,
    unused_macros,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

pub mod neighbours;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bson::{Document, doc};
use futures_util::TryStreamExt;
use redis::FromRedisValue;
use serde_json::{Value, json};
use service::snapshot::Snapshot;
use testbed::http::{self, Answer};
use testbed::{MongoServer, RedisServer, ServiceOptions, ServiceProcess, Stack, StackOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub const REQUEST: &str = "/api/loans/request";
/// Nothing is proved by time: this only ends a test that would never end.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Settings under which what happens by time-out happens soon.
pub fn quick() -> Vec<String> {
    ["--record-interval", "20ms", "--claim-timeout", "500ms"]
        .map(String::from)
        .to_vec()
}

pub const ADMIN_TOKEN: &str = "token-of-the-tests";

pub fn service_options(arguments: Vec<String>) -> ServiceOptions {
    ServiceOptions {
        binary: Some(env!("CARGO_BIN_EXE_service").into()),
        arguments,
        environment: vec![("SLUICE_ADMIN_TOKEN".into(), ADMIN_TOKEN.into())],
        ..ServiceOptions::default()
    }
}

pub async fn start() -> Stack {
    start_with(service_options(quick())).await
}

/// Its filters are complete. Until then MongoDB is asked for every id, and a test that stops it at once would see a refusal or
/// not by luck.
pub async fn start_with(service: ServiceOptions) -> Stack {
    let stack = Stack::start(StackOptions {
        service,
        ..StackOptions::default()
    })
    .await
    .expect("the stack starts");
    wait_until("the filters are complete", async || {
        let about: Vec<String> = redis(&stack.redis, &["KEYS", "{l:*}:about"]).await;
        for about in &about {
            let counters = about.replace(":about", ":counters");
            if !redis(&stack.redis, &["HEXISTS", &counters, "filter_complete"]).await {
                return false;
            }
        }
        !about.is_empty()
    })
    .await;
    stack
}

/// Another instance on the same servers.
pub async fn second_instance(stack: &Stack) -> ServiceProcess {
    ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(quick())
    })
    .await
    .expect("the second instance starts")
}

/// Waits until `holds` answers true.
#[track_caller]
pub fn wait_until<F>(what: &str, mut holds: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        while !holds().await {
            assert!(
                started.elapsed() < PATIENCE,
                "{caller}: waited in vain until {what}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits until one line of a service's log has all these words. Lines are written by a thread of their own, after what they
/// tell of: whoever has an answer may look before its line is there.
#[track_caller]
pub fn logged(service: &ServiceProcess, words: &[&str]) -> impl Future<Output = ()> {
    wait_until("the log tells it", async move || {
        let log = service.log();
        log.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    })
}

pub fn loan_id(number: u64) -> String {
    format!("GC-{number:06}")
}

/// Whether the loan of this number breaks a rule.
pub fn is_invalid(number: u64) -> bool {
    number % 10 == 9
}

/// The loan of a number: valid, but for every tenth.
pub fn loan(number: u64) -> Value {
    json!({
        "loanId": loan_id(number), "amount": 1169.5 + number as f64, "currency": "DEM",
        "termMonths": 6, "purpose": "radio/television",
        "creditScore": if is_invalid(number) { 100 } else { 712 },
        "applicant": { "name": "Ada", "email": format!("ada{number}@example.org"), "ageYears": 67,
                       "annualIncome": 42000.0 },
    })
}

pub async fn post(address: SocketAddr, loan: &Value) -> Answer {
    http::post(address, REQUEST, loan.to_string())
        .await
        .expect("the service answers")
}

/// A call with the administrator's token.
pub async fn admin(address: SocketAddr, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [
        ("Authorization", &*bearer),
        ("Content-Type", "application/json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    http::request(address, method, path, &headers, body.as_bytes())
        .await
        .expect("the service answers")
}

#[track_caller]
pub fn assert_problem(answer: &Answer, status: u16, error_type: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem = body(answer);
    assert_eq!(problem["status"], status, "{answer:?}");
    assert_eq!(problem["errorType"], error_type, "{answer:?}");
    for key in ["type", "title", "detail"] {
        assert!(problem[key].is_string(), "{key} of {answer:?}");
    }
}

pub fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Sends bytes as they are, with `half_close` also the end of the stream, and takes what comes
/// back until the service closes or resets. `None`: not an HTTP answer.
pub async fn exchange(address: SocketAddr, message: &[u8], half_close: bool) -> Option<Answer> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // The service may answer and close before it has taken everything.
        let _ = stream.write_all(message).await;
        if half_close {
            let _ = stream.shutdown().await;
        }
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut part).await {
            bytes.extend_from_slice(&part[..len]);
        }
        bytes
    };
    let bytes = tokio::time::timeout(PATIENCE, talk)
        .await
        .expect("the service closes the connection");
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// One command to Redis on a connection of its own.
pub async fn redis<T: FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let client = redis::Client::open(server.url()).expect("a Redis URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("Redis is up");
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command
        .query_async(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// A key of the first partition. `None` while nobody has set the partition up.
pub async fn find_key(server: &RedisServer, name: &str) -> Option<String> {
    let about: Vec<String> = redis(server, &["KEYS", "{l:0:*}:about"]).await;
    let tag = about.first()?.strip_suffix("about")?;
    Some(format!("{tag}{name}"))
}

/// A key of the first partition.
pub async fn key(server: &RedisServer, name: &str) -> String {
    find_key(server, name)
        .await
        .expect("the partition is set up")
}

/// Loans that no worker has decided; accepted loans and failures that are not recorded.
pub async fn lengths(server: &RedisServer) -> [u64; 3] {
    let Some(results) = find_key(server, "results").await else {
        return [0; 3];
    };
    let counters = redis_counters(server).await;
    let count = |name: &str| counters.get(name).copied().unwrap_or_default();
    let results: Vec<Vec<u8>> = redis(server, &["HVALS", &results]).await;
    let (mut accepted, mut failed) = (0, 0);
    for decisions in results.iter().map(|results| &results[17..]) {
        let mut at = 0;
        while at < decisions.len() {
            if decisions[at] == 0 {
                accepted += 1;
                at += 19;
            } else {
                failed += 1;
                let len = decisions[at + 1..at + 5].try_into().expect("four bytes");
                at += 5 + u32::from_be_bytes(len) as usize;
            }
        }
    }
    [count("queued") + count("claimed"), accepted, failed]
}

/// What is held: loans of workers, bundles of workers, bundles of recorders.
pub async fn pending(server: &RedisServer) -> [u64; 3] {
    let Some(claimed) = find_key(server, "claimed").await else {
        return [0; 3];
    };
    let decided = key(server, "decided").await;
    let counters = redis_counters(server).await;
    [
        counters.get("claimed").copied().unwrap_or_default(),
        redis(server, &["ZCARD", &claimed]).await,
        // What nobody holds may be taken since the instant 0.
        redis(server, &["ZCOUNT", &decided, "(0", "+inf"]).await,
    ]
}

/// Waits until every loan in Redis is recorded: by what is counted, and by what is there.
pub async fn drained(server: &RedisServer) {
    wait_until("all is recorded", async || {
        let counters = redis_counters(server).await;
        for state in ["queued", "claimed", "decided"] {
            if counters.get(state).is_some_and(|&count| count > 0) {
                return false;
            }
        }
        for (word, name) in [
            ("HLEN", "bundles"),
            ("HLEN", "tickets"),
            ("HLEN", "results"),
            ("LLEN", "waiting"),
            ("ZCARD", "claimed"),
            ("ZCARD", "decided"),
        ] {
            if let Some(key) = find_key(server, name).await {
                let len: u64 = redis(server, &[word, &key]).await;
                if len > 0 {
                    return false;
                }
            }
        }
        // A look-up's marker is no loan, and what stands aside stays known.
        let mut loans = 0;
        if let Some(ids) = find_key(server, "ids").await {
            let held: Vec<Vec<u8>> = redis(server, &["HVALS", &ids]).await;
            loans = held.iter().filter(|held| held.len() == 29).count() as u64;
        }
        loans <= counters.get("set_aside").copied().unwrap_or_default()
    })
    .await;
}

/// The counters that stand in Redis.
pub async fn redis_counters(server: &RedisServer) -> BTreeMap<String, u64> {
    match find_key(server, "counters").await {
        Some(counters) => redis(server, &["HGETALL", &counters]).await,
        None => BTreeMap::new(),
    }
}

/// The ids under which Redis holds loans, or look-ups of them.
pub async fn held_ids(server: &RedisServer) -> Vec<String> {
    match find_key(server, "ids").await {
        Some(ids) => redis(server, &["HKEYS", &ids]).await,
        None => Vec::new(),
    }
}

pub async fn metrics(address: SocketAddr) -> Snapshot {
    let answer = http::get(address, "/api/metrics").await.expect("metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("a snapshot")
}

pub async fn documents(server: &MongoServer, collection: &str) -> Vec<Document> {
    documents_at(&server.uri(), collection).await
}

pub async fn documents_at(uri: &str, collection: &str) -> Vec<Document> {
    let client = mongodb::Client::with_uri_str(uri)
        .await
        .expect("a MongoDB URI");
    let documents = client
        .database("sluice")
        .collection::<Document>(collection)
        .find(doc! {})
        .await
        .expect("MongoDB is up")
        .try_collect()
        .await
        .expect("MongoDB stays up");
    client.shutdown().await;
    documents
}

/// The strings under `key`.
pub fn strings(documents: &[Document], key: &str) -> Vec<String> {
    documents
        .iter()
        .map(|document| document.get_str(key).expect("a string").to_owned())
        .collect()
}

/// Clients that post the loans 0, 1, 2 ... Each repeats its loan, unchanged, until it is answered
/// 202, whatever happens to the service meanwhile.
pub struct Load {
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(addresses: &[SocketAddr], clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|client| {
                let (stop, next, acknowledged) = (
                    Arc::clone(&stop),
                    Arc::clone(&next),
                    Arc::clone(&acknowledged),
                );
                let addresses = addresses.to_vec();
                tokio::spawn(async move {
                    let mut turn = client;
                    while !stop.load(Ordering::SeqCst) {
                        let loan = loan(next.fetch_add(1, Ordering::SeqCst)).to_string();
                        loop {
                            turn += 1;
                            let address = addresses[turn % addresses.len()];
                            match http::post(address, REQUEST, &loan).await {
                                Ok(answer) if answer.status == 202 => break,
                                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                                Err(_) => {}
                            }
                            tokio::time::sleep(LOOK_EVERY).await;
                        }
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        Self {
            stop,
            next,
            acknowledged,
            clients,
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until `more` loans than now are acknowledged.
    pub async fn goes_on(&self, more: u64) {
        let goal = self.acknowledged() + more;
        wait_until("loans are acknowledged", async || {
            self.acknowledged() >= goal || self.clients.iter().any(JoinHandle::is_finished)
        })
        .await;
        assert!(self.acknowledged() >= goal, "a client has failed");
    }

    /// Begins no further loan, waits until each begun one is acknowledged, and answers how many
    /// there are.
    pub async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            tokio::time::timeout(PATIENCE, client)
                .await
                .expect("every loan is acknowledged in the end")
                .expect("clients see 202 and 503 only");
        }
        assert_eq!(
            self.next.load(Ordering::SeqCst),
            self.acknowledged.load(Ordering::SeqCst)
        );
        self.next.load(Ordering::SeqCst)
    }
}

/// Drains, then checks that the loans `0..count` are each recorded once, that nothing else is,
/// that Redis holds none of them, and that the counters tell the same.
pub async fn audit(stack: &Stack, count: u64) -> Snapshot {
    drained(&stack.redis).await;
    audit_at(stack.service.address(), &stack.mongodb.uri(), count).await
}

/// Waits until as many are recorded by the service's own count, then checks MongoDB as [`audit`] does.
pub async fn audit_at(address: SocketAddr, mongodb_uri: &str, count: u64) -> Snapshot {
    wait_until("all is recorded", async || {
        let snapshot = metrics(address).await;
        let counters = snapshot.counters;
        counters.recorded_loans + counters.recorded_failures == count
            && snapshot.redis.trouble.is_none()
    })
    .await;
    let loans = documents_at(mongodb_uri, "loans").await;
    let failures = documents_at(mongodb_uri, "failures").await;
    let (valid, invalid): (BTreeSet<_>, BTreeSet<_>) = (
        (0..count)
            .filter(|&n| !is_invalid(n))
            .map(loan_id)
            .collect(),
        (0..count).filter(|&n| is_invalid(n)).map(loan_id).collect(),
    );
    assert_eq!(loans.len(), valid.len(), "recorded loans");
    assert_eq!(failures.len(), invalid.len(), "recorded failures");
    assert_eq!(BTreeSet::from_iter(strings(&loans, "_id")), valid);
    assert_eq!(BTreeSet::from_iter(strings(&failures, "loanId")), invalid);

    let snapshot = metrics(address).await;
    let counters = &snapshot.counters;
    assert_eq!(counters.admitted, count);
    assert_eq!(counters.processed, count);
    assert_eq!(counters.accepted, valid.len() as u64);
    assert_eq!(counters.recorded_loans, valid.len() as u64);
    assert_eq!(counters.recorded_failures, invalid.len() as u64);
    snapshot
}

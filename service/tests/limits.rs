//! Clients that misbehave do not keep the others out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bson::{Document, doc};
use serde_json::json;
use service::limits::{WEB_SOCKET_CLIENTS_KEPT, WEB_SOCKET_CLIENTS_MAX};
use support::{
    PATIENCE, REQUEST, assert_problem, audit, body, exchange, held_ids, lengths, loan, loan_id,
    metrics, post, quick, redis, redis_counters, second_instance, service_options, start,
    start_with, wait_until,
};
use testbed::{RedisOptions, Signal, Stack, StackOptions, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

async fn start_for(connections_max: usize) -> Stack {
    let mut arguments = quick();
    arguments.extend(["--connections-max".to_owned(), connections_max.to_string()]);
    start_with(service_options(arguments)).await
}

/// A figure of `/metrics`.
async fn figure(address: SocketAddr, name: &str) -> f64 {
    let text = http::get(address, "/metrics").await.unwrap().body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {text}"))
        .parse()
        .unwrap()
}

/// Posts the loans 0 to `count`, each on a connection of its own.
async fn good_loans(address: SocketAddr, count: u64) {
    for number in 0..count {
        let answer = post(address, &loan(number)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

/// 1. As many clients as there may be connections are connected, have had an answer, and idle.
/// 2. Others come: they are served, and idle ones are closed for them, in an orderly way.
#[tokio::test]
async fn idle_clients_make_room() {
    let stack = start_for(40).await;
    let address = stack.service.address();
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut part = [0; 1024];
        assert!(stream.read(&mut part).await.unwrap() > 0);
        idle.push(stream);
    }
    good_loans(address, 60).await;
    assert!(figure(address, "sluice_connections_shed_total").await >= 1.0);
    let mut closed = 0;
    for stream in &mut idle {
        let mut part = [0; 16];
        if let Ok(Ok(0)) =
            tokio::time::timeout(std::time::Duration::from_millis(1), stream.read(&mut part)).await
        {
            closed += 1;
        }
    }
    assert!(closed >= 1, "a closed connection ends without an error");
    audit(&stack, 60).await;
}

/// Four times as many clients as there may be connections send heads and bodies by the byte, and
/// come back when they are let go. Good clients get through.
#[tokio::test]
async fn slow_clients_keep_nobody_out() {
    let stack = start_for(20).await;
    let address = stack.service.address();
    let stop = Arc::new(AtomicBool::new(false));
    let slow: Vec<_> = (0..80)
        .map(|number| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let head = if number % 2 == 0 {
                    "GET /healthz HTTP/1.1\r\nX-Slow: ".to_owned()
                } else {
                    format!("POST {REQUEST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n")
                };
                while !stop.load(Ordering::SeqCst) {
                    let Ok(mut stream) = TcpStream::connect(address).await else {
                        continue;
                    };
                    let mut is_open = stream.write_all(head.as_bytes()).await.is_ok();
                    while is_open && !stop.load(Ordering::SeqCst) {
                        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                        is_open = stream.write_all(b"x").await.is_ok();
                    }
                }
            })
        })
        .collect();
    wait_until("the slow ones hold every connection", async || {
        figure(address, "sluice_connections_shed_total").await >= 1.0
    })
    .await;
    let good: Vec<_> = (0..20)
        .map(|number| {
            tokio::spawn(async move {
                // A connection that the kernel has held back may be closed for another one.
                while !matches!(http::post(address, REQUEST, loan(number).to_string()).await,
                    Ok(answer) if answer.status == 202)
                {}
            })
        })
        .collect();
    for client in good {
        tokio::time::timeout(PATIENCE, client)
            .await
            .expect("it gets through")
            .unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for client in slow {
        tokio::time::timeout(PATIENCE, client)
            .await
            .unwrap()
            .unwrap();
    }
    audit(&stack, 20).await;
}

/// A client that asks and asks, on one connection, and never reads, is let go; so is a WebSocket
/// client that never reads. Meanwhile others are served.
#[tokio::test]
async fn who_never_reads_is_let_go() {
    let stack = start().await;
    let address = stack.service.address();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    wait_until("the WebSocket is open", async || {
        metrics(address).await.gauges.web_socket_clients == 1
    })
    .await;

    let pipelined = tokio::spawn(async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let asks = "GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        // Ends with an error once the service has let go.
        while stream.write_all(asks.as_bytes()).await.is_ok() {}
    });
    good_loans(address, 20).await;
    tokio::time::timeout(PATIENCE, pipelined)
        .await
        .expect("it is let go")
        .unwrap();
    wait_until("the WebSocket is let go", async || {
        metrics(address).await.gauges.web_socket_clients == 0
    })
    .await;
    drop(stream);
    audit(&stack, 20).await;
}

/// 1. 120 clients send a million bytes of a body each, and not its end: those for whom there is no room are told so.
/// 2. Others are served meanwhile, and one whose body is as long is when some of them have gone.
#[tokio::test]
async fn slow_senders_share_what_they_send() {
    let mut arguments = quick();
    arguments.extend(["--body-max".to_owned(), "1MiB".to_owned()]);
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    let begin = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {REQUEST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000001\r\n\r\n"
        );
        // Whoever is refused in the middle may be let go before all is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&vec![b' '; 1_000_000]).await;
        stream
    };
    let mut slow = Vec::new();
    let refused = "sluice_requests_rejected_total{error_type=\"too_many_slow_senders\"}";
    for _ in 0..120 {
        slow.push(begin().await);
    }
    wait_until("some are refused", async || {
        let told = http::get(address, "/metrics").await.unwrap().body;
        told.contains(refused)
    })
    .await;
    good_loans(address, 20).await;
    drop(slow);
    wait_until("there is room again", async || {
        let mut stream = begin().await;
        let _ = stream.write_all(b" ").await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.is_ok() && answer.ends_with(b" 400")
    })
    .await;
    audit(&stack, 20).await;
}

/// 1. 600 clients ask for all of a history and read it by the byte: together they keep little of it.
/// 2. Others are served meanwhile, and one that reads gets the whole of it.
#[tokio::test]
async fn slow_readers_share_what_they_read() {
    let stack = start().await;
    let address = stack.service.address();
    // Markers make the history long at once.
    let marker = json!({ "runId": "r".repeat(128), "scenario": "s".repeat(128), "kind": "phase", "name": "n".repeat(128) });
    for _ in 0..800 {
        let answer = support::admin(address, "POST", "/api/runs", &marker).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let whole = async || http::get(address, "/api/history").await.unwrap().body;
    wait_until("the history is long", async || {
        whole().await.len() > 300_000
    })
    .await;
    let before = metrics(address).await.process.rss_bytes;
    let mut slow = Vec::new();
    for _ in 0..600 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let ask = b"GET /api/history HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        slow.push(stream);
    }
    wait_until("a snapshot is of now", async || {
        metrics(address).await.gauges.connections >= 600
    })
    .await;
    let grown = metrics(address)
        .await
        .process
        .rss_bytes
        .saturating_sub(before);
    // A copy for each would be 180 MB.
    assert!(grown < 90_000_000, "{grown}");
    good_loans(address, 20).await;
    let body = whole().await;
    assert!(body.ends_with("]}"), "it is whole");
    drop(slow);
    audit(&stack, 20).await;
}

/// Clients of one address have no more connections than they may, and are told so; another address is served.
#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let mut arguments = quick();
    arguments.extend(["--connections-per-client-max", "4"].map(String::from));
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    let from = async |last: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket
            .bind((std::net::Ipv4Addr::new(127, 0, 0, last), 0).into())
            .unwrap();
        socket.connect(address).await.unwrap()
    };
    let ask = async |stream: &mut TcpStream| {
        let _ = stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut part = [0; 1024];
        let len = stream.read(&mut part).await.unwrap_or(0);
        String::from_utf8_lossy(&part[..len]).into_owned()
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = from(2).await;
        assert!(ask(&mut stream).await.contains("200 OK"));
        held.push(stream);
    }
    let mut part = Vec::new();
    let mut fifth = from(2).await;
    let _ = fifth.read_to_end(&mut part).await;
    let told = String::from_utf8_lossy(&part).into_owned();
    assert!(
        told.contains("503") && told.contains("too_many_connections"),
        "{told}"
    );
    assert!(ask(&mut from(3).await).await.contains("200 OK"));
    held.pop();
    wait_until("there is room again", async || {
        ask(&mut from(2).await).await.contains("200 OK")
    })
    .await;
}

/// More WebSocket clients than there is room for come at once: none is let in beyond the bound.
#[tokio::test]
async fn web_socket_clients_are_counted_before_they_are_in() {
    let stack = start().await;
    let address = stack.service.address();
    let clients: Vec<_> = (0..300)
        .map(|_| {
            tokio::spawn(async move {
                let url = format!("ws://{address}/ws");
                tokio_tungstenite::connect_async(url).await.ok()
            })
        })
        .collect();
    let mut open = Vec::new();
    for client in clients {
        open.extend(client.await.unwrap());
    }
    let (max, kept) = (WEB_SOCKET_CLIENTS_MAX, WEB_SOCKET_CLIENTS_KEPT);
    assert_eq!(open.len(), max - kept);
    // Places are left for whoever has a token, and for nobody else.
    let follow = async |token: &str| {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let token = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", token);
        tokio_tungstenite::connect_async(request).await
    };
    for _ in 0..kept {
        open.push(follow(support::ADMIN_TOKEN).await.unwrap());
    }
    assert!(follow(support::ADMIN_TOKEN).await.is_err());
}

/// Nonsense from many clients at once leaves the good loans whole.
#[tokio::test]
async fn a_flood_of_nonsense_harms_nobody() {
    let stack = start().await;
    let address = stack.service.address();
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..8)
        .map(|number| {
            let stop = Arc::clone(&stop);
            let message = match number % 4 {
                0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
                1 => format!("POST {REQUEST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{{\"loanId\"").into_bytes(),
                2 => format!("POST {REQUEST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n").into_bytes(),
                _ => b"GET /api/errors?limit=-1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
            };
            tokio::spawn(async move {
                let mut count = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    if let Some(answer) = exchange(address, &message, number % 4 == 2).await {
                        assert!((400..500).contains(&answer.status), "{answer:?}");
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    good_loans(address, 200).await;
    stop.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for flood in floods {
        refused += flood.await.unwrap();
    }
    assert!(refused > 100, "{refused}");
    audit(&stack, 200).await;
    let log = stack.service.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// 1. Redis fills up, and nobody drains it: new loans are refused while there is room left, known
///    ones are still answered.
/// 2. An instance with workers comes: all that was admitted goes its way, and new loans are taken.
#[tokio::test]
async fn a_redis_that_fills_up_refuses_in_time() {
    let stack = Stack::start(StackOptions {
        redis: RedisOptions {
            memory_bytes_max: Some(24 * 1024 * 1024),
            ..RedisOptions::default()
        },
        service: service_options(vec!["--role".into(), "api".into()]),
        ..StackOptions::default()
    })
    .await
    .unwrap();
    let address = stack.service.address();
    let large = |number: u64| {
        let mut loan = loan(number * 10);
        loan["comment"] = json!("x".repeat(16 * 1024));
        loan
    };
    let mut count = 0;
    let refusal = loop {
        let answer = post(address, &large(count)).await;
        if answer.status != 202 {
            break answer;
        }
        count += 1;
        assert!(count < 5_000, "Redis takes everything");
    };
    assert_problem(&refusal, 503, "overloaded");
    assert!(refusal.header("retry-after").is_some());
    let state = metrics(address).await.redis;
    assert!(
        state.used_memory_bytes < state.max_memory_bytes,
        "{state:?}"
    );
    assert_eq!(post(address, &large(0)).await.status, 202, "it is known");
    assert_eq!(lengths(&stack.redis).await[0], count);
    assert_eq!(redis_counters(&stack.redis).await["admitted"], count);

    let _worker = second_instance(&stack).await;
    wait_until("it drains", async || lengths(&stack.redis).await == [0; 3]).await;
    wait_until("new loans are taken again", async || {
        post(address, &large(count)).await.status == 202
    })
    .await;
    wait_until("all are recorded once", async || {
        redis_counters(&stack.redis).await.get("recorded_loans") == Some(&(count + 1))
    })
    .await;
    assert_eq!(
        support::documents(&stack.mongodb, "loans").await.len() as u64,
        count + 1
    );
}

/// What Prometheus reads can be read, and tells what the snapshot tells.
#[tokio::test]
async fn the_figures_can_be_read() {
    let stack = start().await;
    let address = stack.service.address();
    good_loans(address, 20).await;
    let refused = http::post(address, REQUEST, "[]").await.unwrap();
    assert_eq!(refused.status, 400);
    audit(&stack, 20).await;
    wait_until("the slow figures have come", async || {
        metrics(address).await.counters.failed_by_applicant.len() == 2
    })
    .await;
    let answer = http::get(address, "/metrics").await.unwrap();
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(answer.body.ends_with("# EOF\n"));
    for line in [
        "sluice_cluster_loans_admitted_total 20",
        "sluice_cluster_loans_failed_total{error_type=\"out_of_range\"} 2",
        "sluice_requests_rejected_total{error_type=\"not_an_object\"} 1",
        "sluice_redis_durable 1.0",
        "sluice_latency_seconds_count{step=\"end_to_end\"} 20",
        "sluice_latency_seconds_bucket{le=\"+Inf\",step=\"end_to_end\"} 20",
    ] {
        assert!(
            answer.body.lines().any(|other| other == line),
            "{line} is not in {}",
            answer.body
        );
    }
}

/// How often MongoDB was asked for documents.
async fn queries(stack: &Stack) -> i64 {
    let client = mongodb::Client::with_uri_str(stack.mongodb.uri())
        .await
        .unwrap();
    let status: Document = client
        .database("admin")
        .run_command(doc! { "serverStatus": 1 })
        .await
        .unwrap();
    let counters = status.get_document("opcounters").unwrap();
    let count = counters.get("query").unwrap();
    count
        .as_i64()
        .or_else(|| count.as_i32().map(i64::from))
        .unwrap()
}

/// 1. Recorded loans are sent again, by many clients at once, while MongoDB stands still: all have to be looked up.
/// 2. When it goes on, all are answered as replays, and it was asked a few times, not once for each.
#[tokio::test]
async fn replays_are_looked_up_together() {
    const LOANS: u64 = 300;
    let mut arguments = quick();
    arguments.extend(["--admission-timeout", "60s", "--mongodb-timeout", "60s"].map(String::from));
    let stack = start_with(service_options(arguments)).await;
    let address = stack.service.address();
    good_loans(address, LOANS).await;
    audit(&stack, LOANS).await;
    wait_until("the ids leave Redis", async || {
        held_ids(&stack.redis).await.is_empty()
    })
    .await;

    let asked = queries(&stack).await;
    let admitted = metrics(address).await.latency_us.admit.count;
    stack.mongodb.signal(Signal::SIGSTOP).unwrap();
    let clients: Vec<_> = (0..LOANS)
        .map(|number| tokio::spawn(async move { post(address, &loan(number)).await }))
        .collect();
    wait_until("Redis has told of each that it may be known", async || {
        metrics(address).await.latency_us.admit.count >= admitted + LOANS
    })
    .await;
    stack.mongodb.signal(Signal::SIGCONT).unwrap();
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(body(&answer)["replayed"], true, "{answer:?}");
    }
    let asked = queries(&stack).await - asked;
    assert!(asked < 50, "{asked} queries for {LOANS} replays");
    assert_eq!(redis_counters(&stack.redis).await["replayed"], LOANS);
}

/// 1. A thousand clients ask at once what has become of a loan.
/// 2. All are answered, and none of them cost Redis a connection.
#[tokio::test]
async fn look_ups_of_loans_share_their_connections() {
    let stack = start().await;
    let address = stack.service.address();
    good_loans(address, 10).await;
    audit(&stack, 10).await;
    let path = |number: u64| format!("/api/loans/{}", loan_id(number % 10));
    assert_eq!(http::get(address, &path(0)).await.unwrap().status, 200);
    let connections = async || {
        let told: String = redis(&stack.redis, &["INFO", "stats"]).await;
        let count = told
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        count.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = connections().await;
    let clients: Vec<_> = (0..1_000)
        .map(|number| tokio::spawn(async move { http::get(address, &path(number)).await }))
        .collect();
    assert_eq!(post(address, &loan(10)).await.status, 202);
    for client in clients {
        assert_eq!(client.await.unwrap().unwrap().status, 200);
    }
    // This test asks over connections of its own; a worker or a recorder may have begun one.
    let made = connections().await - before;
    assert!(made < 20, "{made} connections for 1,000 look-ups");
}

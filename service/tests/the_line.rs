//! The line goes on: what nobody can read leaves it alone, and no valid loan fails by what happens around it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[cfg(feature = "failpoints")]
use std::cell::{Cell, RefCell};
use std::time::Duration;

use support::{
    audit, body, documents, drained, key, loan, loan_id, logged, metrics, post, quick, redis,
    redis_counters, service_options, start, start_with, wait_until,
};
use testbed::{Proxy, ServiceOptions, ServiceProcess, TestbedError, http};

/// 1. Entries of unknown form stand in front of the line: in the list of bundles that wait, among the decided ones, and as
///    content and results of bundles.
/// 2. Loans that come behind them are recorded. What cannot be read is set aside, counted and told.
#[tokio::test]
async fn what_nobody_can_read_leaves_the_line() {
    let stack = start_with(service_options(vec!["--role".into(), "api".into()])).await;
    let api = stack.service.address();
    // A good loan whose content a hand has spoilt, before any worker is there.
    assert_eq!(post(api, &loan(1_000)).await.status, 202);
    let bundles = key(&stack.redis, "bundles").await;
    let names: Vec<Vec<u8>> = redis(&stack.redis, &["HKEYS", &bundles]).await;
    let client = redis::Client::open(stack.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("HSET");
    set.arg(&bundles).arg(&names[0][..]).arg("junk");
    let _: i64 = set.query_async(&mut connection).await.unwrap();
    // Places that no bundle has.
    let waiting = key(&stack.redis, "waiting").await;
    for junk in ["junk", "0123456789012345678901", ""] {
        let _: i64 = redis(&stack.redis, &["LPUSH", &waiting, junk]).await;
    }
    // Decided ones that nobody decided.
    let decided = key(&stack.redis, "decided").await;
    for junk in ["junk", "012345678901"] {
        let _: i64 = redis(&stack.redis, &["ZADD", &decided, "0", junk]).await;
    }
    let results = key(&stack.redis, "results").await;
    let _: i64 = redis(&stack.redis, &["HSET", &results, "012345678901", "junk"]).await;

    let worker = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(quick())
    })
    .await
    .unwrap();
    for number in 0..10 {
        assert_eq!(post(worker.address(), &loan(number)).await.status, 202);
    }
    wait_until("those behind are recorded", async || {
        documents(&stack.mongodb, "loans").await.len() == 9
    })
    .await;
    wait_until("the spoilt one is set aside and counted", async || {
        metrics(worker.address()).await.counters.set_aside >= 1
    })
    .await;
    wait_until("the log of errors tells it", async || {
        let answer = http::get(worker.address(), "/api/errors?limit=100")
            .await
            .unwrap();
        body(&answer)["errors"]
            .as_array()
            .unwrap()
            .iter()
            .any(|error| error["errorType"] == "unreadable")
    })
    .await;
    let found = http::get(worker.address(), &format!("/api/loans/{}", loan_id(1_000)))
        .await
        .unwrap();
    assert_eq!(body(&found)["status"], "failed", "{found:?}");
    logged(&worker, &["set aside"]).await;
}

/// A bundle was set aside, and the process ended before MongoDB answered: the next one writes it into the log of errors.
#[tokio::test]
async fn what_stood_aside_before_the_start_is_told() {
    let mut stack = start().await;
    stack.service.terminate().await.unwrap();
    let aside = key(&stack.redis, "aside").await;
    let mut entry = b"it has no end\n1700000000000\n\0\0\0\x0b".to_vec();
    // A content of a later version, with two loans.
    entry.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0\0\x02");
    let client = redis::Client::open(stack.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("HSET");
    set.arg(&aside).arg("0123456789ab").arg(entry);
    set.arg("no bundle").arg("an entry of unknown form");
    let _: i64 = set.query_async(&mut connection).await.unwrap();
    let service = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(quick())
    })
    .await
    .unwrap();
    let errors = async || {
        let answer = http::get(service.address(), "/api/errors?limit=100").await;
        body(&answer.unwrap())["errors"].as_array().unwrap().clone()
    };
    wait_until("the log of errors tells both", async || {
        errors().await.len() == 2
    })
    .await;
    let errors = errors().await;
    let told = errors
        .iter()
        .find(|error| error["loanId"] == "bundle:303132333435363738396162")
        .unwrap();
    assert_eq!(told["errorType"], "unreadable");
    let text = told.to_string();
    assert!(text.contains("it has no end"), "{text}");
    let noted = documents(&stack.mongodb, "failures").await;
    assert!(
        noted
            .iter()
            .any(|noted| noted.to_string().contains("2 loans"))
    );
    assert!(
        errors
            .iter()
            .any(|error| error.to_string().contains("unknown form"))
    );
}

/// Redis answers late, and does answer: what it takes is processed, and nobody says that it is away.
#[tokio::test]
async fn a_slow_redis_stops_nobody() {
    let stack = start().await;
    let proxy = Proxy::start(([127, 0, 0, 1], stack.redis.port()).into())
        .await
        .unwrap();
    let service = ServiceProcess::start(ServiceOptions {
        redis_url: format!("redis://{}/", proxy.address()),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options(quick())
    })
    .await
    .unwrap();
    let address = service.address();
    // Nobody is there but the one that is far away, with all its links.
    drop(stack.service);
    assert_eq!(post(address, &loan(0)).await.status, 202);
    drained(&stack.redis).await;
    proxy.slow(Duration::from_millis(600), Duration::ZERO);
    for number in 1..3 {
        wait_until("it is taken", async || {
            post(address, &loan(number)).await.status == 202
        })
        .await;
    }
    wait_until("they are recorded", async || {
        documents(&stack.mongodb, "loans").await.len() == 3
    })
    .await;
    assert!(metrics(address).await.redis.up);
    assert_eq!(http::get(address, "/readyz").await.unwrap().status, 200);
}

/// Redis loses the list of bundles that wait, and then that of the decided ones: they are put into line again, and that is told.
#[tokio::test]
async fn a_line_that_is_lost_is_made_again() {
    let stack = start_with(service_options(vec!["--role".into(), "api".into()])).await;
    for number in 0..9 {
        let answer = post(stack.service.address(), &loan(number)).await;
        assert_eq!(answer.status, 202);
    }
    let waiting = key(&stack.redis, "waiting").await;
    let _: i64 = redis(&stack.redis, &["DEL", &waiting]).await;
    logged(&stack.service, &["in no line"]).await;
    let worker = ["--role", "worker", "--role", "dashboard"].map(str::to_owned);
    let worker = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..service_options([quick(), worker.to_vec()].concat())
    })
    .await
    .unwrap();
    wait_until("all are decided", async || {
        metrics(worker.address()).await.gauges.unrecorded == 9
    })
    .await;
    let decided = key(&stack.redis, "decided").await;
    let _: i64 = redis(&stack.redis, &["DEL", &decided]).await;
    let _recorder = support::second_instance(&stack).await;
    audit(&stack, 9).await;
}

/// Has loans wait that five workers in a row had in their hands when they died, none of which runs any more.
#[cfg(feature = "failpoints")]
async fn left_by_dying_workers(loans: u64) -> testbed::Stack {
    let dying = || vec![("FAILPOINTS".to_owned(), "claim-after=return".to_owned())];
    let stack = start_with(ServiceOptions {
        environment: [
            dying(),
            vec![("SLUICE_ADMIN_TOKEN".into(), support::ADMIN_TOKEN.into())],
        ]
        .concat(),
        ..service_options(vec!["--role".into(), "api".into()])
    })
    .await;
    for number in 0..loans {
        assert_eq!(
            post(stack.service.address(), &loan(number)).await.status,
            202
        );
    }
    for _ in 0..5 {
        let started = ServiceProcess::start(ServiceOptions {
            redis_url: stack.redis.url(),
            mongodb_uri: stack.mongodb.uri(),
            environment: dying(),
            ..service_options(quick())
        })
        .await;
        // It may die before it has said that it listens.
        match started {
            Ok(mut worker) => drop(worker.wait(support::PATIENCE).await.unwrap()),
            Err(error) => assert!(matches!(error, TestbedError::EarlyExit { .. }), "{error}"),
        }
    }
    stack
}

/// 1. A worker dies between claim and decision, five times in a row, with the same loans in its hands.
/// 2. The sixth finishes them: no loan did anything wrong, and none fails.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn dying_workers_make_no_loan_poison() {
    let mut stack = left_by_dying_workers(9).await;
    stack.service.restart_with(Vec::new()).await.unwrap();
    let _worker = support::second_instance(&stack).await;
    let snapshot = audit(&stack, 9).await;
    assert!(
        snapshot.counters.redelivered >= 9,
        "{:?}",
        snapshot.counters
    );
    assert!(
        snapshot.counters.failed.is_empty(),
        "{:?}",
        snapshot.counters
    );
}

/// To try a loan apart takes several times as long as a lease, and two instances want it: it is finished all the same. One
/// loan alone: whoever has lost it is free at once to take it away from the other.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn what_takes_longer_than_a_lease_is_finished() {
    let mut stack = left_by_dying_workers(1).await;
    let slow = ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        environment: vec![("FAILPOINTS".to_owned(), "try-loan=sleep(1500)".to_owned())],
        ..service_options(quick())
    };
    stack.service = ServiceProcess::start(slow.clone()).await.unwrap();
    let _other = ServiceProcess::start(slow).await.unwrap();
    let snapshot = audit(&stack, 1).await;
    assert!(snapshot.counters.failed.is_empty(), "{snapshot:?}");
}

/// 1. One of nine loans ends each process that processes it, so one worker after the other dies.
/// 2. When they have been given out too often all nine are tried apart. That one loan is poison, and the others are recorded.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn only_what_ends_a_process_is_poison() {
    let stack = start_with(service_options(vec!["--role".into(), "api".into()])).await;
    for number in 0..9 {
        let answer = post(stack.service.address(), &loan(number)).await;
        assert_eq!(answer.status, 202);
    }
    let poison = format!("poison=return({})", loan_id(5));
    let mut deaths = 0;
    loop {
        let started = ServiceProcess::start(ServiceOptions {
            redis_url: stack.redis.url(),
            mongodb_uri: stack.mongodb.uri(),
            environment: vec![("FAILPOINTS".to_owned(), poison.clone())],
            ..service_options(quick())
        })
        .await;
        let worker = match started {
            Ok(worker) => worker,
            // It may die before it has said that it listens.
            Err(TestbedError::EarlyExit { .. }) => {
                deaths += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let worker = RefCell::new(worker);
        let is_dead = Cell::new(false);
        wait_until("all are recorded, or the worker is dead", async || {
            is_dead.set(worker.borrow_mut().try_wait().unwrap().is_some());
            is_dead.get()
                || documents(&stack.mongodb, "loans").await.len()
                    + documents(&stack.mongodb, "failures").await.len()
                    == 9
        })
        .await;
        if !is_dead.get() {
            break;
        }
        deaths += 1;
    }
    assert_eq!(deaths, 3);
    let failures = documents(&stack.mongodb, "failures").await;
    let failures: Vec<_> = failures
        .iter()
        .map(|failure| {
            (
                failure.get_str("loanId").unwrap().to_owned(),
                failure.get_str("errorType").unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(failures, [(loan_id(5), "poison".to_owned())]);
    drained(&stack.redis).await;
}

/// The way to Redis swallows answers again and again while a worker commits, and then the worker is killed.
#[tokio::test]
async fn swallowed_answers_make_no_loan_poison() {
    let mut stack = start().await;
    stack.service.terminate().await.unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], stack.redis.port()).into())
        .await
        .unwrap();
    let mut arguments = quick();
    arguments.extend(["--redis-timeout".to_owned(), "200ms".to_owned()]);
    let mut options = service_options(arguments);
    options.redis_url = format!("redis://{}/", proxy.address());
    options.mongodb_uri = stack.mongodb.uri();
    stack.service = ServiceProcess::start(options).await.unwrap();
    let address = stack.service.address();
    let load = support::Load::start(&[address], 4);
    for _ in 0..8 {
        load.goes_on(10).await;
        let swallowed = proxy.counts().swallowed_bytes;
        proxy.half_open();
        wait_until("bytes are swallowed", async || {
            proxy.counts().swallowed_bytes > swallowed
        })
        .await;
    }
    stack.service.kill();
    stack.service.restart().await.unwrap();
    load.goes_on(10).await;
    let count = load.finish().await;
    let snapshot = audit(&stack, count).await;
    assert!(
        !snapshot.counters.failed.contains_key("poison"),
        "{:?}",
        snapshot.counters
    );
    drained(&stack.redis).await;
    assert_eq!(redis_counters(&stack.redis).await.get("set_aside"), None);
}

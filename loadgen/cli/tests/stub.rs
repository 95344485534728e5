//! The generator against a stub service on real Redis and real MongoDB: a stub that answers late, loses a loan,
//! doubles one, changes one, or invents one. Each must be found.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use loadgen::commands::run::shard::run_shard;
use loadgen::commands::run::{Allowed, Options, run};
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use observe::stack::Target;
use observe::stores::loan_document;
use plan::scenario::Scenario;
use plan::shard::{Part, Shard};
use record::result::run::{AuditClass, Report, Verdict};
use serde_json::Value;
use snapshot::Snapshot;
use testbed::{MongoOptions, MongoServer, RedisOptions, RedisServer, Servers};
use tokio::net::TcpListener;

/// What the stub does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// Holds every answer this long.
    Late(Duration),
    /// Promises one loan and does not store it.
    Loses,
    /// Stores one loan a second time, as a failure of the same attempt.
    Doubles,
    /// Stores one loan with another amount.
    Changes,
    /// Stores a loan that nobody sent.
    Invents,
}

/// The loan that the stub treats badly.
const CHOSEN: u64 = 7;

/// A service of one minute's work: it stores each loan at once and answers.
struct Stub {
    fault: Fault,
    database: mongodb::Database,
    stored: AtomicU64,
}

impl Stub {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/metrics") => {
                let mut snapshot = Snapshot::default();
                let counters = &mut snapshot.counters;
                let stored = self.stored.load(Ordering::SeqCst);
                counters.admitted = stored;
                counters.accepted = stored;
                counters.recorded_loans = stored;
                json(
                    StatusCode::OK,
                    serde_json::to_vec(&snapshot).expect("a plain struct"),
                )
            }
            (&Method::POST, "/api/loans/request") => {
                let body = request
                    .into_body()
                    .collect()
                    .await
                    .expect("a whole body")
                    .to_bytes();
                let loan: Value =
                    serde_json::from_slice(&body).expect("the stub is sent good loans only");
                self.store(&loan).await;
                if let Fault::Late(hold) = self.fault {
                    tokio::time::sleep(hold).await;
                }
                let answer = serde_json::json!({ "loanId": loan["loanId"], "status": "queued", "replayed": false });
                json(StatusCode::ACCEPTED, answer.to_string().into_bytes())
            }
            _ => json(StatusCode::NOT_FOUND, b"{}".to_vec()),
        }
    }

    async fn store(&self, loan: &Value) {
        let number = self.stored.fetch_add(1, Ordering::SeqCst);
        let loans = self.database.collection::<Document>("loans");
        let chosen = number == CHOSEN;
        let mut record = loan_document(loan).expect("a good loan");
        let batch = ObjectId::new();
        record.insert("batch", batch);
        if chosen && self.fault == Fault::Loses {
            return;
        }
        if chosen && self.fault == Fault::Changes {
            record.insert("amountMinor", 1_i64);
        }
        loans.insert_one(&record).await.expect("MongoDB takes it");
        if chosen && self.fault == Fault::Doubles {
            let id = loan["loanId"].as_str().expect("a loan has an id");
            let failure = doc! { "_id": format!("{id}#1"), "loanId": id, "attempt": 1, "errorType": "poison" };
            let failures = self.database.collection::<Document>("failures");
            failures
                .insert_one(failure)
                .await
                .expect("MongoDB takes it");
        }
        if chosen && self.fault == Fault::Invents {
            record.insert("_id", "nobody-sent-this");
            loans.insert_one(&record).await.expect("MongoDB takes it");
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        self.database
            .collection::<Document>("record_batches")
            .insert_one(doc! { "_id": batch, "confirmedAtUs": now.as_micros() as i64, "confirmedAt": DateTime::now() })
            .await
            .expect("MongoDB takes it");
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a plain response")
}

/// One loan every 20 ms for a second.
const SCENARIO: &str = r#"
name = "stub"
description = "Fifty good loans"
drain_timeout = "5s"
send_lag_max = "1h"
users = 64

[[phase]]
name = "all"
duration = "1s"
rate = 50
"#;

/// An hour of loans, which ends when one answer takes too long.
const HOPELESS: &str = r#"
name = "hopeless"
description = "An hour of good loans that may not take long"
drain_timeout = "5s"
send_lag_max = "1h"
users = 64

[[phase]]
name = "all"
duration = "1h"
rate = 50

[[check]]
metric = "response_ms.max"
max = 100
abort = true
"#;

/// Runs each scenario against a stub with its fault, on one Redis and one mongod.
async fn reports(runs: &[(Fault, &str)]) -> Vec<Report> {
    let servers = Servers::discover().expect("the servers are there");
    let (redis, mongo) = tokio::try_join!(
        RedisServer::start(&servers, RedisOptions::default()),
        MongoServer::start(&servers, MongoOptions::default()),
    )
    .expect("the servers start");
    let client = mongodb::Client::with_uri_str(mongo.uri())
        .await
        .expect("a good address");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut reports = Vec::new();
    for (index, (fault, scenario)) in runs.iter().enumerate() {
        let name = format!("stub{index}");
        let (address, serving) = serve(Stub {
            fault: *fault,
            database: client.database(&name),
            stored: AtomicU64::new(0),
        })
        .await;
        let finished = run(Options {
            scenario: Scenario::parse(scenario, Path::new("stub.toml")).expect("a good scenario"),
            scenario_path: PathBuf::from("stub.toml"),
            target: Some(Target {
                url: format!("http://{address}"),
                other_urls: Vec::new(),
                redis_url: redis.url(),
                mongodb_uri: mongo.uri(),
                mongodb_database: name,
                private: true,
            }),
            service_binary: None,
            reports: folder.path().to_path_buf(),
            quiet: true,
            // The stub has no commit.
            allow: vec![Allowed::OtherCommit],
            no_stores: false,
            samples: None,
            otlp: None,
            merge: Vec::new(),
        })
        .await
        .expect("the run is made");
        serving.abort();
        reports.push(finished.report);
    }
    reports
}

/// Serves a stub on a free port.
async fn serve(stub: Stub) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let stub = Arc::new(stub);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stub = Arc::clone(&stub);
            let service = service_fn(move |request| {
                let stub = Arc::clone(&stub);
                async move { Ok::<_, Infallible>(stub.answer(request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, serving)
}

/// Three generators send one schedule; the joined report is that of one run.
#[tokio::test(flavor = "multi_thread")]
async fn shards_are_joined_into_one_report() {
    let servers = Servers::discover().expect("the servers are there");
    let (redis, mongo) = tokio::try_join!(
        RedisServer::start(&servers, RedisOptions::default()),
        MongoServer::start(&servers, MongoOptions::default()),
    )
    .expect("the servers start");
    let client = mongodb::Client::with_uri_str(mongo.uri())
        .await
        .expect("a good address");
    let (address, _serving) = serve(Stub {
        fault: Fault::Loses,
        database: client.database("shards"),
        stored: AtomicU64::new(0),
    })
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        scenario: Scenario::parse(SCENARIO, Path::new("stub.toml")).expect("a good scenario"),
        scenario_path: PathBuf::from("stub.toml"),
        target: Some(Target {
            url: format!("http://{address}"),
            other_urls: Vec::new(),
            redis_url: redis.url(),
            mongodb_uri: mongo.uri(),
            mongodb_database: "shards".to_owned(),
            private: true,
        }),
        service_binary: None,
        reports: folder.path().to_path_buf(),
        quiet: true,
        allow: vec![Allowed::OtherCommit],
        no_stores: false,
        samples: None,
        otlp: None,
        merge: Vec::new(),
    };
    let start_at = time::OffsetDateTime::now_utc() + Duration::from_secs(3);
    let shard = async |index| {
        let part = Part {
            shard: Shard { index, count: 3 },
            run_id: "joined".to_owned(),
            start_at: Some(start_at),
        };
        run_shard(options.clone(), part)
            .await
            .map(|(folder, _)| folder)
    };
    let (first, second, third) =
        tokio::try_join!(shard(1), shard(2), shard(3)).expect("the shards are sent");
    let merged = |merge: Vec<PathBuf>| Options {
        merge,
        ..options.clone()
    };
    let finished = run(merged(vec![third.clone(), first.clone(), second.clone()]))
        .await
        .expect("they are joined");
    let report = finished.report;
    assert_eq!((report.load.scheduled, report.load.sent), (50, 50));
    assert_eq!(report.load.response_us.count, 50);
    assert_eq!(report.audit.ids, 50);
    assert_eq!((report.audit.recorded, report.audit.lost), (49, 1));
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(
        report
            .time_series
            .iter()
            .map(|point| point.planned)
            .sum::<u64>()
            == 50
    );

    // Two of three, or one of them twice, are no run.
    for folders in [
        vec![first.clone(), second.clone()],
        vec![first, second.clone(), second],
    ] {
        let error = run(merged(folders)).await.err().expect("it is refused");
        assert!(
            error.to_string().contains("not the shards of one run"),
            "{error}"
        );
    }

    // Its loans would all be known.
    let error = shard(1).await.expect_err("it is refused");
    assert!(
        error.to_string().contains("give another --run-id"),
        "{error}"
    );
}

fn examples(report: &Report) -> BTreeMap<AuditClass, usize> {
    let mut classes = BTreeMap::new();
    for example in &report.audit.examples {
        *classes.entry(example.class).or_default() += 1;
    }
    classes
}

// One test and one set of servers: goose's switch is one for the whole process, so runs follow each other.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_stub_is_found() {
    let hold = Duration::from_millis(300);
    let reports = reports(&[
        (Fault::None, SCENARIO),
        (Fault::Late(hold), SCENARIO),
        (Fault::Loses, SCENARIO),
        (Fault::Doubles, SCENARIO),
        (Fault::Changes, SCENARIO),
        (Fault::Invents, SCENARIO),
        (Fault::Late(hold), HOPELESS),
    ])
    .await;
    let [good, late, loses, doubles, changes, invents, hopeless] = &reports[..] else {
        panic!("a report for each stub");
    };

    assert_eq!(good.verdict, Verdict::Pass, "{:?}", good.why);
    assert_eq!(
        (good.audit.ids, good.audit.recorded, good.audit.faults()),
        (50, 50, 0)
    );
    // This stub cannot be followed: by what it says when it is asked its clock may be off by seconds.
    assert_eq!(good.load.end_to_end_us.count, 0);
    let told = |why: &String| why.contains("end to end has no data");
    assert!(good.why.iter().any(told), "{:?}", good.why);

    // Every answer was held, so the shortest response is at least as long. A slow machine only adds to it.
    let hold_us = hold.as_micros() as u64;
    assert_eq!(late.load.response_us.count, 50);
    // Three digits are kept: a value may be told a thousandth low.
    assert!(
        late.load.response_us.min >= Some(hold_us - hold_us / 500),
        "{:?}",
        late.load.response_us
    );
    assert!(
        late.load.service_us.min >= Some(hold_us - hold_us / 500),
        "{:?}",
        late.load.service_us
    );

    for (report, class, stored) in [
        (loses, AuditClass::Lost, 49),
        (doubles, AuditClass::Duplicated, 50),
        (changes, AuditClass::Mismatched, 50),
        (invents, AuditClass::Unexpected, 50),
    ] {
        assert_eq!(report.verdict, Verdict::Fail, "{class:?}");
        assert_eq!(report.audit.recorded, stored, "{class:?}");
        assert_eq!(
            examples(report).get(&class),
            Some(&1),
            "{class:?}: {:#?}",
            report.audit.examples
        );
    }
    assert_eq!(loses.audit.lost, 1);
    assert_eq!(doubles.audit.duplicated, 1);
    assert_eq!(changes.audit.mismatched, 1);
    assert_eq!(invents.audit.unexpected, 1);

    // It ended long before its hour, with its report: what was sent is judged, what was not is no doubt.
    assert_eq!(hopeless.verdict, Verdict::Fail, "{:?}", hopeless.why);
    assert!(
        hopeless.ended_early.is_some() && hopeless.why[0].contains("ended early"),
        "{:?}",
        hopeless.why
    );
    assert!(hopeless.load.sent > 0 && hopeless.load.unsent > hopeless.load.sent);
    assert!(hopeless.audit.complete);
    assert_eq!(hopeless.audit.faults(), 0);

    // The record was doubled, lost or invented behind the counters' back, so they disagree as well.
    for report in [loses, doubles, invents] {
        assert!(report.counters_agree.iter().any(|row| !row.agree));
    }
}

/// A generator with fewer users than the service needs sends late, and the response time says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_in_the_response_time_of_what_waited() {
    // One user, and each answer takes 20 times the gap: arrival n is sent after n answers at the earliest.
    let scenario = r#"
name = "stall"
description = "Ten loans for one user"
send_lag_max = "1h"
users = 1

[[phase]]
name = "all"
duration = "100ms"
rate = 100
"#;
    let hold = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                let _ = request.into_body().collect().await;
                tokio::time::sleep(hold).await;
                Ok::<_, Infallible>(json(
                    StatusCode::ACCEPTED,
                    br#"{"status":"queued","replayed":false}"#.to_vec(),
                ))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let scenario = Scenario::parse(scenario, Path::new("stall.toml")).expect("a good scenario");
    let loaded = drive::load::load_only(&scenario, &url)
        .await
        .expect("the load is sent");
    assert_eq!(loaded.requests, (10, 10));
    let total = &loaded.recorder.total;
    assert_eq!((total.sent, total.completed), (10, 10));
    // The last one was due at 90 ms and waited for nine answers before its own: 10 * 200 - 90 ms at least.
    assert!(
        total.response.max() >= 1_900_000,
        "{}",
        total.response.max()
    );
    assert!(
        total.send_lag.max() >= 1_700_000,
        "{}",
        total.send_lag.max()
    );
    // Its service time has one answer only; the sum over all is what the server took.
    assert!(total.service.min() >= 199_000, "{}", total.service.min());
}

//! OpenTelemetry: what a collector is sent, read by the types that OpenTelemetry publishes for its protocol.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use support::*;
use testbed::http::{self, Answer};
use testbed::{ServiceOptions, ServiceProcess};
use tokio::net::TcpListener;

/// A collector that keeps what it is sent, or refuses it.
struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

#[derive(Default)]
struct Received {
    /// Each span with the instance that sent it.
    spans: Vec<(String, Span)>,
    /// The latest figures of each instance.
    figures: BTreeMap<String, Vec<Metric>>,
    /// The headers of each request.
    headers: Vec<hyper::HeaderMap>,
    /// What could not be read.
    faults: Vec<String>,
}

impl Collector {
    async fn start() -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    fn at(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let received = Arc::<Mutex<Received>>::default();
        let shared = Arc::clone(&received);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client");
                let received = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| take(request, Arc::clone(&received)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, received }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spans(&self) -> Vec<(String, Span)> {
        self.received().spans.clone()
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().expect("no task has panicked")
    }

    /// The spans of the trace with this id, by their names.
    fn trace(&self, trace_id: &str) -> BTreeMap<String, (String, Span)> {
        self.spans()
            .into_iter()
            .filter(|(_, span)| hex(&span.trace_id) == trace_id)
            .map(|(instance, span)| (span.name.clone(), (instance, span)))
            .collect()
    }
}

async fn take(
    request: Request<Incoming>,
    received: Arc<Mutex<Received>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let mut received = received.lock().expect("no task has panicked");
    let kind = head.headers.get("content-type").map(HeaderValue::as_bytes);
    let read = match (head.method.as_str(), head.uri.path(), kind) {
        ("POST", "/v1/traces", Some(b"application/json")) => {
            serde_json::from_slice::<ExportTraceServiceRequest>(&body)
                .map(|request| keep_spans(&mut received, request))
        }
        ("POST", "/v1/metrics", Some(b"application/json")) => serde_json::from_slice(&body)
            .map(with_numbers)
            .and_then(serde_json::from_value::<ExportMetricsServiceRequest>)
            .map(|request| keep_figures(&mut received, request)),
        _ => {
            received.faults.push(format!("{head:?}"));
            Ok(())
        }
    };
    received.headers.push(head.headers);
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
    if let Err(fault) = read {
        received
            .faults
            .push(format!("{fault}: {}", String::from_utf8_lossy(&body)));
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(answer)
}

/// The same with whole numbers of 64 bits as numbers. The protocol has them as texts, which these types do not read.
fn with_numbers(mut json: Value) -> Value {
    fn number(text: &mut Value) {
        let digits = text.as_str().expect("a number of 64 bits is a text");
        *text = digits.parse::<u64>().expect("digits").into();
    }
    match &mut json {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = with_numbers(item.take())),
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "count" | "asInt" => number(value),
                    "bucketCounts" => value
                        .as_array_mut()
                        .expect("counts")
                        .iter_mut()
                        .for_each(number),
                    _ => *value = with_numbers(value.take()),
                }
            }
        }
        _ => {}
    }
    json
}

fn keep_spans(received: &mut Received, request: ExportTraceServiceRequest) {
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let instance = who(&resource.attributes);
        for of_scope in of_resource.scope_spans {
            assert_eq!(of_scope.scope.unwrap_or_default().name, "sluice");
            let spans = of_scope.spans.into_iter();
            received
                .spans
                .extend(spans.map(|span| (instance.clone(), span)));
        }
    }
}

fn keep_figures(received: &mut Received, request: ExportMetricsServiceRequest) {
    for of_resource in request.resource_metrics {
        let resource = of_resource.resource.unwrap_or_default();
        let figures = of_resource.scope_metrics.into_iter();
        let figures = figures.flat_map(|of_scope| of_scope.metrics).collect();
        received.figures.insert(who(&resource.attributes), figures);
    }
}

/// The service and its instance.
fn who(attributes: &[KeyValue]) -> String {
    let (name, instance) = (
        text(attributes, "service.name"),
        text(attributes, "service.instance.id"),
    );
    assert!(!text(attributes, "service.version").is_empty());
    format!("{name}/{instance}")
}

fn value(attributes: &[KeyValue], name: &str) -> Option<Any> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.clone()?.value
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    match value(attributes, name) {
        Some(Any::StringValue(text)) => text,
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn traced(arguments: &[&str], collector: &Collector) -> ServiceOptions {
    let mut all = quick();
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    let mut options = service_options(all);
    options
        .environment
        .push(("OTEL_EXPORTER_OTLP_ENDPOINT".into(), collector.url()));
    options
}

async fn post_traced(address: SocketAddr, loan: &Value, traceparent: &str) -> Answer {
    let headers = [
        ("Content-Type", "application/json"),
        ("traceparent", traceparent),
    ];
    http::request(
        address,
        "POST",
        REQUEST,
        &headers,
        loan.to_string().as_bytes(),
    )
    .await
    .expect("the service answers")
}

/// A client's span, of a trace that is made of `digit`.
fn parent(digit: char, flags: &str) -> String {
    let of = |len| digit.to_string().repeat(len);
    format!("00-{}-{}-{flags}", of(32), of(16))
}

const STEPS: [&str; 5] = [
    "POST /api/loans/request",
    "admit",
    "queue",
    "process",
    "record",
];

/// 1. A loan that its client traces has one trace, from the client's span through the process that admits and the process that
///    decides and records, and the answer names its span.
/// 2. What its bundle went through has a trace of its own, and each names the other.
/// 3. A loan that nobody traces, or whose client says so, has none.
/// 4. The figures are those of `/metrics`.
#[tokio::test]
async fn a_loan_has_one_trace_through_all_processes() {
    let collector = Collector::start().await;
    let figures = "--otlp-figures-interval=1s";
    let api = ["--role", "api,dashboard", "--otlp-sample-ratio=0", figures];
    let mut options = traced(&api, &collector);
    options.environment.extend([
        ("OTEL_SERVICE_NAME".into(), "loans".into()),
        ("OTEL_EXPORTER_OTLP_HEADERS".into(), "x-tenant=a%20b".into()),
    ]);
    let stack = start_with(options).await;
    let worker = ServiceProcess::start(ServiceOptions {
        redis_url: stack.redis.url(),
        mongodb_uri: stack.mongodb.uri(),
        ..traced(&["--role", "worker,persister", figures], &collector)
    })
    .await
    .expect("the second instance starts");
    let address = stack.service.address();

    let good = post_traced(address, &loan(0), &parent('a', "01")).await;
    let bad = post_traced(address, &loan(9), &parent('b', "01")).await;
    assert_eq!((good.status, bad.status), (202, 202));
    let unsampled = post_traced(address, &loan(1), &parent('c', "00")).await;
    let unread = post_traced(address, &loan(2), "00-none").await;
    let plain = post(address, &loan(3)).await;
    for answer in [&unsampled, &unread, &plain] {
        assert_eq!(answer.status, 202);
        assert_eq!(answer.header("traceparent"), None, "{answer:?}");
    }
    drained(&stack.redis).await;
    let replay = post_traced(address, &loan(0), &parent('d', "01")).await;
    assert_eq!(body(&replay)["replayed"], true);
    let wrong = post_traced(address, &Value::from(1), &parent('e', "01")).await;
    assert_eq!(wrong.status, 400);

    let id_of = |digit: char| digit.to_string().repeat(32);
    wait_until("both traces are whole", async || {
        ['a', 'b']
            .iter()
            .all(|digit| collector.trace(&id_of(*digit)).len() == STEPS.len())
    })
    .await;
    wait_until("the replay and the refusal are told", async || {
        collector.trace(&id_of('d')).len() == 2 && collector.trace(&id_of('e')).len() == 1
    })
    .await;
    for (digit, number, decision, collection) in [
        ('a', 0, "accepted", "loans"),
        ('b', 9, "out_of_range", "failures"),
    ] {
        let trace = collector.trace(&id_of(digit));
        let steps = STEPS.map(|name| trace[name].clone());
        let [request, admit, queue, process, record] = steps.each_ref().map(|(_, span)| span);
        assert_eq!(hex(&request.parent_span_id), digit.to_string().repeat(16));
        let answer = if digit == 'a' { &good } else { &bad };
        let named = format!("00-{}-{}-01", id_of(digit), hex(&request.span_id));
        for header in ["traceparent", "traceresponse"] {
            assert_eq!(answer.header(header), Some(&*named), "{answer:?}");
        }
        let status = value(&request.attributes, "http.response.status_code");
        assert_eq!(status, Some(Any::IntValue(202)));
        for span in [admit, queue, process, record] {
            assert_eq!(span.parent_span_id, request.span_id, "{span:?}");
            assert_eq!(text(&span.attributes, "sluice.loan_id"), loan_id(number));
        }
        let kinds = [request, admit, queue, process, record].map(Span::kind);
        let expected = [
            SpanKind::Server,
            SpanKind::Producer,
            SpanKind::Internal,
            SpanKind::Consumer,
            SpanKind::Client,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(text(&process.attributes, "sluice.decision"), decision);
        assert_eq!(text(&record.attributes, "db.collection.name"), collection);
        let (apart, there) = (&steps[0].0, &steps[2].0);
        assert!(
            apart.starts_with("loans/") && there.starts_with("sluice/"),
            "{apart} {there}"
        );
        assert_eq!(
            steps.each_ref().map(|(instance, _)| instance),
            [apart, apart, there, there, there]
        );
        assert_eq!(queue.end_time_unix_nano, process.start_time_unix_nano);
        assert!(process.end_time_unix_nano <= record.start_time_unix_nano);

        // What the bundle went through.
        let bundle = collector.trace(&hex(&admit.links[0].trace_id));
        let [admitted, processed, recorded] =
            ["admit bundle", "process bundle", "record bundle"].map(|name| &bundle[name].1);
        for (of_loan, of_bundle) in [(admit, admitted), (process, processed), (record, recorded)] {
            assert_eq!(of_loan.links.len(), 1);
            assert_eq!(of_loan.links[0].trace_id, of_bundle.trace_id);
            assert_eq!(of_loan.links[0].span_id, of_bundle.span_id);
            let mut links = of_bundle.links.iter();
            assert!(
                links.any(
                    |link| link.trace_id == of_loan.trace_id && link.span_id == of_loan.span_id
                ),
                "{of_bundle:?}"
            );
        }
        assert_eq!(processed.parent_span_id, admitted.span_id);
        assert_eq!(recorded.parent_span_id, admitted.span_id);
    }
    let replayed = &collector.trace(&id_of('d'))["admit"].1;
    // It was recorded by then, so MongoDB answers.
    assert_eq!(text(&replayed.attributes, "sluice.admission"), "looked_up");
    assert!(replayed.links.is_empty());

    // Nobody else's.
    let told: BTreeSet<_> = collector
        .spans()
        .iter()
        .map(|(_, span)| text(&span.attributes, "sluice.loan_id"))
        .filter(|id| !id.is_empty())
        .collect();
    assert_eq!(told, BTreeSet::from([loan_id(0), loan_id(9)]));
    let spans = collector.spans();
    let ids: BTreeSet<_> = spans.iter().map(|(_, span)| span.span_id.clone()).collect();
    assert_eq!(ids.len(), spans.len(), "an id stands for one span");
    for (_, span) in &spans {
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{span:?}"
        );
        assert_eq!(span.flags & 1, 1, "{span:?}");
    }

    figures_are_those_of_metrics(&collector, address).await;
    let received = collector.received();
    assert_eq!(received.faults, Vec::<String>::new());
    assert!(
        received
            .headers
            .iter()
            .any(|headers| headers.get("x-tenant").is_some_and(|it| it == "a b"))
    );
    drop(received);
    drop(worker);
}

async fn figures_are_those_of_metrics(collector: &Collector, address: SocketAddr) {
    let exposition = http::get(address, "/metrics")
        .await
        .expect("the service answers")
        .body;
    let expected: BTreeMap<String, &str> = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').expect("a name and a kind");
            match kind {
                "info" => (format!("{name}_info"), "gauge"),
                kind => (name.to_owned(), kind),
            }
        })
        .collect();
    assert!(expected.len() > 30, "{exposition}");
    let latest = || {
        let received = collector.received();
        let mut found = received.figures.iter();
        let found = found.find(|(instance, _)| instance.starts_with("loans/"));
        found
            .map(|(_, figures)| figures.clone())
            .unwrap_or_default()
    };
    let admitted = || {
        let figures = latest();
        let name = "sluice_cluster_loans_admitted";
        let family = figures.iter().find(|family| family.name == name)?.clone();
        match family.data? {
            Data::Sum(sum) => sum.data_points[0].value,
            _ => None,
        }
    };
    wait_until("the figures are as late", async || {
        admitted() == Some(Number::AsInt(5))
    })
    .await;
    let sent: BTreeMap<String, &str> = latest()
        .iter()
        .map(|family| {
            let kind = match family.data.as_ref().expect("figures") {
                Data::Gauge(gauge) => {
                    assert_eq!(gauge.data_points.len(), 1);
                    "gauge"
                }
                Data::Sum(sum) => {
                    assert!(sum.is_monotonic, "{family:?}");
                    assert_eq!(
                        sum.aggregation_temporality(),
                        AggregationTemporality::Cumulative
                    );
                    "counter"
                }
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                        assert!(point.explicit_bounds.is_sorted());
                    }
                    assert_eq!(histogram.data_points.len(), 6, "{family:?}");
                    "histogram"
                }
                other => panic!("{other:?}"),
            };
            assert!(!family.description.is_empty(), "{family:?}");
            (family.name.clone(), kind)
        })
        .collect();
    assert_eq!(sent, expected);
}

/// A collector that is away delays nothing and ends nothing. It is said once; what it missed is sent when it is there.
#[tokio::test]
async fn a_dead_collector_is_said_once_and_holds_nothing_up() {
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = Collector {
        address: place.local_addr().unwrap(),
        received: Arc::default(),
    };
    drop(place);
    let arguments = ["--otlp-sample-ratio=1", "--otlp-figures-interval=1s"];
    let stack = start_with(traced(&arguments, &away)).await;
    for number in 0..50 {
        let answer = post(stack.service.address(), &loan(number)).await;
        assert_eq!(answer.status, 202);
        assert!(answer.header("traceparent").is_some(), "{answer:?}");
    }
    audit(&stack, 50).await;
    let said = |what: &str| stack.service.log().matches(what).count();
    wait_until("both are said", async || {
        said("takes no spans") > 0 && said("takes no figures") > 0
    })
    .await;
    let collector = Collector::at(TcpListener::bind(away.address).await.unwrap());
    wait_until("what was missed is sent", async || {
        let spans = collector.spans();
        STEPS.iter().all(|name| {
            let of_step = spans.iter().filter(|(_, span)| span.name == *name);
            let traces: BTreeSet<_> = of_step.map(|(_, span)| &span.trace_id).collect();
            traces.len() == 50
        })
    })
    .await;
    wait_until("that it is back is said", async || {
        said("takes spans again") == 1 && said("takes figures again") == 1
    })
    .await;
    assert_eq!((said("takes no spans"), said("takes no figures")), (1, 1));
    assert_eq!(collector.received().faults, Vec::<String>::new());
}

/// What a collector refuses for good is lost, and is counted as that: a wrong token must not look like a quiet day.
#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    for (status, body) in [
        (StatusCode::UNAUTHORIZED, ""),
        (
            StatusCode::OK,
            r#"{"partialSuccess":{"rejectedSpans":"1000000","errorMessage":"no room"}}"#,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Collector {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client");
                let service = service_fn(move |request: Request<Incoming>| async move {
                    let _ = request.into_body().collect().await;
                    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
                    *answer.status_mut() = status;
                    Ok::<_, Infallible>(answer)
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let stack = start_with(traced(&["--otlp-sample-ratio=1"], &collector)).await;
        let address = stack.service.address();
        assert_eq!(post(address, &loan(0)).await.status, 202);
        audit(&stack, 1).await;
        wait_until("what is lost is counted", async || {
            let told = http::get(address, "/metrics").await.unwrap();
            let lost = told
                .body
                .lines()
                .find_map(|line| line.strip_prefix("sluice_spans_dropped_total "))
                .and_then(|count| count.parse::<f64>().ok());
            lost.is_some_and(|lost| lost > 0.0)
        })
        .await;
    }
}

/// One that takes connections and never answers holds up neither loans nor the end of the process.
#[tokio::test]
async fn a_silent_collector_does_not_hold_up_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = Collector {
        address: silent.local_addr().unwrap(),
        received: Arc::default(),
    };
    let mut stack = start_with(traced(&["--otlp-sample-ratio=1"], &collector)).await;
    for number in 0..20 {
        assert_eq!(
            post(stack.service.address(), &loan(number)).await.status,
            202
        );
    }
    audit(&stack, 20).await;
    let status = stack.service.terminate().await.expect("it ends");
    assert!(status.success(), "{status:?}");
}

/// Nothing is traced, and no client is told otherwise, where no collector is named.
#[tokio::test]
async fn it_is_off_unless_a_collector_is_named() {
    let stack = start().await;
    let answer = post_traced(stack.service.address(), &loan(0), &parent('a', "01")).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("traceparent"), None, "{answer:?}");
}

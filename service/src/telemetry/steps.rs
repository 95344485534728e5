//! The spans of each step of a loan: request, admission, queue, processing, record. Those of one step are made together,
//! after it is over.

use hyper::HeaderMap;

use super::context::{Context, Parent, SpanId};
use super::spans::{Kind, Span, Value};
use super::{Tracer, Traces};
use crate::clock::now_us;
use crate::decided::{Decided, Documents, Kind as Collection};
use crate::queue::admission::{Admission, Arrival};
use crate::queue::bundle::{Name, Ticket};
use crate::queue::results::Decision;

/// The header by which a client names its span, and learns the service's.
const TRACEPARENT: &str = "traceparent";

/// A request that is traced.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Its span.
    pub context: Context,
    parent: Option<SpanId>,
    started_us: u64,
}

/// One step of one bundle.
struct Step {
    name: &'static str,
    started_us: u64,
    ended_us: u64,
}

impl Traces {
    /// Begins the span of a request, if its loan is to be traced.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Box<Traced>> {
        let tracer = self.0.as_ref()?;
        let parent = headers
            .get(TRACEPARENT)
            .and_then(|header| header.to_str().ok())
            .and_then(Parent::read);
        let started_us = now_us();
        let context = tracer
            .ids
            .begin(tracer.sampler, parent.as_ref(), started_us)?;
        Some(Box::new(Traced {
            context,
            parent: parent.map(|parent| parent.context.span_id),
            started_us,
        }))
    }

    /// Ends the span of a request that was answered with `status`.
    pub(crate) fn answered(&self, traced: &Traced, status: u16) {
        let Some(tracer) = &self.0 else { return };
        tracer.unsent.add(vec![Span {
            context: traced.context,
            parent: traced.parent,
            name: "POST /api/loans/request",
            kind: Kind::Server,
            started_us: traced.started_us,
            ended_us: now_us(),
            attributes: vec![
                ("http.request.method", "POST".into()),
                ("http.route", "/api/loans/request".into()),
                ("url.path", "/api/loans/request".into()),
                ("http.response.status_code", Value::Whole(i64::from(status))),
            ],
            links: Vec::new(),
            links_dropped: 0,
            // A client's fault is no error of the server.
            is_error: status >= 500,
        }]);
    }

    /// The spans of a call of admission that began at `called_us`.
    pub(crate) fn admitted<'a>(
        &self,
        bundle: Name,
        called_us: u64,
        arrivals: impl Iterator<Item = (&'a Arrival, &'a Admission)>,
    ) {
        let Some(tracer) = &self.0 else { return };
        let ended_us = now_us();
        let of_bundle = Context::of_bundle(bundle.as_bytes());
        let (mut spans, mut links, mut admitted) = (Vec::new(), Vec::new(), 0_usize);
        for (arrival, outcome) in arrivals {
            let is_admitted = *outcome == Admission::Admitted;
            admitted += usize::from(is_admitted);
            let Some(parent) = &arrival.trace else {
                continue;
            };
            let mut span = tracer.child(parent, "admit", Kind::Producer);
            (span.started_us, span.ended_us) = (arrival.received_us, ended_us);
            span.attributes = vec![
                loan_id(arrival.loan_id.as_str()),
                ("sluice.admission", word(outcome).into()),
            ];
            if is_admitted {
                span.link([of_bundle]);
                links.push(span.context);
            }
            spans.push(span);
        }
        if !links.is_empty() {
            let step = Step {
                name: "admit bundle",
                started_us: called_us,
                ended_us,
            };
            spans.push(step.of_bundle(of_bundle, None, bundle, admitted, links));
        }
        tracer.unsent.add(spans);
    }

    /// The spans of a bundle that was claimed at `claimed_us` and is decided now.
    pub(crate) fn decided(&self, ticket: &Ticket, decided: &Decided, claimed_us: u64) {
        let Some(tracer) = &self.0 else { return };
        let documents = &decided.documents;
        let step = Step {
            name: "process bundle",
            started_us: claimed_us,
            ended_us: now_us(),
        };
        // Redis has a clock of its own, in milliseconds.
        let queued_us = (ticket.queued_ms * 1000).min(claimed_us);
        tracer.step(documents, step, |number, parent, of_step| {
            let document = &documents.all[number];
            let mut queue = tracer.child(parent, "queue", Kind::Internal);
            (queue.started_us, queue.ended_us) = (queued_us, claimed_us);
            queue.attributes = vec![
                loan_id(&document.loan_id),
                ("sluice.deliveries", u32::from(ticket.deliveries).into()),
            ];
            let mut process = tracer.child(parent, "process", Kind::Consumer);
            process.attributes = vec![
                loan_id(&document.loan_id),
                ("sluice.attempt", document.attempt.into()),
                (
                    "sluice.decision",
                    match &decided.results.decisions[number] {
                        Decision::Accepted(_) => "accepted".into(),
                        Decision::Failed(failure) => failure.category.name().into(),
                    },
                ),
            ];
            process.link([of_step]);
            vec![queue, process]
        });
    }

    /// The spans of bundles that MongoDB has confirmed, whose writing began at `started_us`.
    pub(crate) fn recorded<'a>(
        &self,
        bundles: impl Iterator<Item = &'a Documents>,
        started_us: u64,
    ) {
        let Some(tracer) = &self.0 else { return };
        let ended_us = now_us();
        for documents in bundles {
            let step = Step {
                name: "record bundle",
                started_us,
                ended_us,
            };
            tracer.step(documents, step, |number, parent, of_step| {
                let document = &documents.all[number];
                let mut record = tracer.child(parent, "record", Kind::Client);
                record.attributes = vec![
                    loan_id(&document.loan_id),
                    ("db.system.name", "mongodb".into()),
                    (
                        "db.collection.name",
                        match document.kind {
                            Collection::Loans => "loans".into(),
                            Collection::Failures => "failures".into(),
                        },
                    ),
                ];
                record.link([of_step]);
                vec![record]
            });
        }
    }
}

impl Tracer {
    /// A span within `parent`, of which the instants and what it is about are still open.
    fn child(&self, parent: &Context, name: &'static str, kind: Kind) -> Span {
        Span {
            context: Context {
                trace_id: parent.trace_id,
                span_id: self.ids.span(),
            },
            parent: Some(parent.span_id),
            name,
            kind,
            started_us: 0,
            ended_us: 0,
            attributes: Vec::new(),
            links: Vec::new(),
            links_dropped: 0,
            is_error: false,
        }
    }

    /// The spans of one step of a bundle, if a loan of it is traced: for each such loan those that `spans` makes, of which the
    /// last lasts as long as the step, and one of the bundle, linked with those. `spans` is told the loan's number, its
    /// request's span and the bundle's.
    fn step(
        &self,
        documents: &Documents,
        step: Step,
        spans: impl Fn(usize, &Context, Context) -> Vec<Span>,
    ) {
        let first = Context::of_bundle(documents.name.as_bytes());
        let mut of_step = None;
        let (mut all, mut links) = (Vec::new(), Vec::new());
        for (number, document) in documents.all.iter().enumerate() {
            let Some(parent) = &document.trace else {
                continue;
            };
            let of_step = *of_step.get_or_insert_with(|| Context {
                trace_id: first.trace_id,
                span_id: self.ids.span(),
            });
            let mut made = spans(number, parent, of_step);
            if let Some(last) = made.last_mut() {
                (last.started_us, last.ended_us) = (step.started_us, step.ended_us);
                links.push(last.context);
            }
            all.append(&mut made);
        }
        if let Some(context) = of_step {
            let loans = documents.all.len();
            all.push(step.of_bundle(context, Some(first.span_id), documents.name, loans, links));
            self.unsent.add(all);
        }
    }
}

impl Step {
    /// The span of the bundle itself.
    fn of_bundle(
        self,
        context: Context,
        parent: Option<SpanId>,
        bundle: Name,
        loans: usize,
        links: Vec<Context>,
    ) -> Span {
        let mut span = Span {
            context,
            parent,
            name: self.name,
            kind: Kind::Internal,
            started_us: self.started_us,
            ended_us: self.ended_us,
            attributes: vec![
                ("sluice.bundle", bundle.to_string().into()),
                ("sluice.loans", loans.into()),
            ],
            links: Vec::new(),
            links_dropped: 0,
            is_error: false,
        };
        span.link(links);
        span
    }
}

fn loan_id(id: &str) -> (&'static str, Value) {
    ("sluice.loan_id", id.to_owned().into())
}

fn word(outcome: &Admission) -> &'static str {
    match outcome {
        Admission::Admitted => "admitted",
        Admission::Replayed => "replayed",
        Admission::Conflict => "conflict",
        Admission::ConflictUnlessReplaced
        | Admission::MayBeRecorded
        | Admission::LookUp(_)
        | Admission::Busy => "looked_up",
        Admission::Paused => "paused",
        Admission::Full => "full",
    }
}

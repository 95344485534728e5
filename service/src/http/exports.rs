//! Exports: the rows that a filter finds, streamed, and tickets by which a page downloads without a token in the address.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bson::RawDocumentBuf;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use hyper::Request;
use hyper::body::Incoming;
use mongodb::Cursor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::access::Caller;
use super::control::{checked_filter, from_json, invalid, unavailable};
use super::parts::Parts;
use super::personal::mask_task;
use super::query::Query;
use super::response::{self, Problem};
use super::{Front, Reply, body, errors};
use crate::activity::Entry;
use crate::api::{
    ExportFormat, ExportOf, ExportRequest, ExportTicket, FailureFilter, Task, TaskPhase, rfc3339,
};
use crate::error::ServiceError;
use crate::export::Rows;
use crate::filter::{Filter, instant};
use crate::limits::{ADMIN_BODY_LEN_MAX, EXPORT_PARTS_MAX, EXPORTS_TOLD_MAX, PART_LEN_MAX};
use crate::record::{FailureDocument, LoanDocument};
use crate::snapshot::WorkKind;
use crate::store::exports::{TICKET_KEPT, TicketDocument};
use crate::tasks::describe_filter;
use crate::tokens;

/// The exports of this instance: few at once, and how far the newest are.
#[derive(Debug)]
pub(crate) struct Exports {
    room: Arc<Semaphore>,
    /// The newest first.
    newest: Mutex<VecDeque<Task>>,
}

impl Exports {
    /// Room for so many at once.
    pub(crate) fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(room)),
            newest: Mutex::default(),
        })
    }

    /// How far they are.
    pub(super) fn tasks(&self) -> Vec<Task> {
        self.lock().iter().cloned().collect()
    }

    fn begin(&self, task: Task) {
        let mut newest = self.lock();
        newest.truncate(EXPORTS_TOLD_MAX - 1);
        newest.push_front(task);
    }

    fn note(&self, task_id: &str, change: impl FnOnce(&mut Task)) {
        let mut newest = self.lock();
        if let Some(task) = newest.iter_mut().find(|task| task.task_id == task_id) {
            change(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Task>> {
        // Each critical section leaves the list whole.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An export that is allowed and checked.
struct Export {
    of: ExportOf,
    format: ExportFormat,
    filter: Filter,
    asked: FailureFilter,
    /// Which, in words without personal data.
    words: String,
}

/// On whose behalf.
struct Who {
    name: String,
    address: String,
    request_id: String,
}

impl Who {
    fn of(caller: &Caller) -> Self {
        Self {
            name: caller.name().to_owned(),
            address: caller.client.to_string(),
            request_id: caller.request_id.clone(),
        }
    }
}

/// `GET /api/exports/errors`.
pub(super) async fn errors(
    front: &Arc<Front>,
    query: Option<&str>,
    caller: &Caller,
) -> Result<Reply, Problem> {
    let query = Query::parse(query, &[&errors::FILTER[..], &["format"]].concat())?;
    let filter = errors::asked(&query)?;
    let export = Export {
        of: ExportOf::Errors,
        format: format(&query)?,
        filter: errors::filter(&query)?,
        words: describe_filter(&filter),
        asked: filter,
    };
    Ok(stream(front, export.open(front).await?, Who::of(caller)))
}

/// `GET /api/exports/loans`.
pub(super) async fn loans(
    front: &Arc<Front>,
    query: Option<&str>,
    caller: &Caller,
) -> Result<Reply, Problem> {
    let query = Query::parse(query, &["format", "from", "to"])?;
    let text = |name| query.get(name, |text| Ok(text.to_owned()));
    let export = Export {
        of: ExportOf::Loans,
        format: format(&query)?,
        filter: Filter {
            from: query.get("from", instant)?,
            to: query.get("to", instant)?,
            ..Filter::default()
        },
        asked: FailureFilter {
            from: text("from")?,
            to: text("to")?,
            ..FailureFilter::default()
        },
        words: "loans".to_owned(),
    };
    Ok(stream(front, export.open(front).await?, Who::of(caller)))
}

fn format(query: &Query<'_>) -> Result<ExportFormat, Problem> {
    let format = query.get("format", |text| match text {
        "csv" => Ok(ExportFormat::Csv),
        "ndjson" => Ok(ExportFormat::Ndjson),
        _ => Err("`csv` or `ndjson`"),
    })?;
    Ok(format.unwrap_or(ExportFormat::Csv))
}

/// `POST /api/exports`: a ticket.
pub(super) async fn ticket(
    front: &Front,
    request: Request<Incoming>,
    caller: &Caller,
) -> Result<Reply, Problem> {
    let body = body::read_json(request, ADMIN_BODY_LEN_MAX, &front.gathered).await?;
    let asked: ExportRequest = from_json(&body)?;
    check(asked.of, &asked.filter)?;
    let ticket = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
    let now_ms = bson::DateTime::now().timestamp_millis();
    let expires_at = bson::DateTime::from_millis(now_ms + TICKET_KEPT.as_millis() as i64);
    let document = TicketDocument {
        hash: tokens::hash(ticket.as_bytes()),
        of: asked.of,
        format: asked.format,
        filter: asked.filter,
        by: caller.name().to_owned(),
        expires_at,
    };
    let kept = front.store.keep_ticket(&document).await;
    kept.map_err(unavailable)?;
    Ok(response::created(&ExportTicket {
        href: format!("/api/downloads/{ticket}"),
        expires_at: rfc3339(expires_at),
    }))
}

/// `GET /api/downloads/{ticket}`: the download, once.
pub(super) async fn download(
    front: &Arc<Front>,
    ticket: &str,
    client: String,
    request_id: String,
) -> Result<Reply, Problem> {
    let hash = tokens::hash(ticket.as_bytes());
    let ticket = front.store.ticket(&hash).await.map_err(unavailable)?;
    let ticket = ticket.ok_or(Problem::ExportExpired)?;
    // A ticket is worth no more than its holder's token.
    if !front.access.is_operator(&ticket.by) {
        return Err(Problem::ExportExpired);
    }
    let export = Export {
        of: ticket.of,
        format: ticket.format,
        filter: check(ticket.of, &ticket.filter)?,
        words: match ticket.of {
            ExportOf::Errors => describe_filter(&ticket.filter),
            ExportOf::Loans => "loans".to_owned(),
        },
        asked: ticket.filter,
    };
    let open = export.open(front).await?;
    // Last of all: a link that was refused for now is good for another try.
    if !front.store.take_ticket(&hash).await.map_err(unavailable)? {
        return Err(Problem::ExportExpired);
    }
    let who = Who {
        name: ticket.by,
        address: client,
        request_id,
    };
    Ok(stream(front, open, who))
}

fn check(of: ExportOf, asked: &FailureFilter) -> Result<Filter, Problem> {
    let filter = checked_filter(asked)?;
    let of_time = Filter {
        from: filter.from,
        to: filter.to,
        ..Filter::default()
    };
    if of == ExportOf::Loans && filter != of_time {
        return Err(invalid("an export of loans takes `from` and `to` alone"));
    }
    Ok(filter)
}

/// An export that has room, and to which MongoDB has begun to answer: what follows is a file, and no refusal.
struct Open {
    export: Export,
    found: Cursor<RawDocumentBuf>,
    permit: OwnedSemaphorePermit,
}

impl Export {
    async fn open(self, front: &Front) -> Result<Open, Problem> {
        let permit = Arc::clone(&front.exports.room).try_acquire_owned();
        let permit = permit.map_err(|_| Problem::TooManyExports)?;
        let found = match self.of {
            ExportOf::Errors => front.store.all_errors(&self.filter).await,
            ExportOf::Loans => {
                let Filter { from, to, .. } = self.filter;
                front.store.all_loans(from, to).await
            }
        };
        let found = found.map_err(|error| {
            tracing::warn!(%error, "an export was not begun");
            unavailable(error)
        })?;
        Ok(Open {
            export: self,
            found,
            permit,
        })
    }
}

/// Begins to answer; the rest comes as fast as it is taken.
fn stream(front: &Arc<Front>, open: Open, who: Who) -> Reply {
    let Open {
        export,
        found,
        permit,
    } = open;
    let (sender, parts) = mpsc::channel(EXPORT_PARTS_MAX);
    let reply = response::download(
        match export.format {
            ExportFormat::Csv => "text/csv; charset=utf-8",
            ExportFormat::Ndjson => "application/x-ndjson",
        },
        match (export.of, export.format) {
            (ExportOf::Errors, ExportFormat::Csv) => "attachment; filename=\"errors.csv\"",
            (ExportOf::Errors, ExportFormat::Ndjson) => "attachment; filename=\"errors.ndjson\"",
            (ExportOf::Loans, ExportFormat::Csv) => "attachment; filename=\"loans.csv\"",
            (ExportOf::Loans, ExportFormat::Ndjson) => "attachment; filename=\"loans.ndjson\"",
        },
        Parts::stream(parts),
    );
    let front = Arc::clone(front);
    let task = export.task(&who);
    let mut sent = Sent {
        task_id: task.task_id.clone(),
        sender,
        rows: 0,
        unreadable: 0,
        _permit: permit,
    };
    front.exports.begin(task);
    front.feed.look_for_tasks();
    tokio::spawn(async move {
        let written = write(&front, &export, found, &mut sent).await;
        let how = match &written {
            Ok(true) => "",
            Ok(false) => "; broken off by the client",
            Err(error) => {
                tracing::warn!(%error, "an export was broken off");
                "; broken off"
            }
        };
        sent.note(&front.exports);
        front.exports.note(&sent.task_id, |task| {
            task.phase = match &written {
                Ok(true) => TaskPhase::Done,
                Ok(false) => TaskPhase::Stopped,
                Err(_) => TaskPhase::Failed,
            };
            task.fault = written.as_ref().err().map(|_| "broken off".to_owned());
            task.ended_at = Some(rfc3339(bson::DateTime::now()));
        });
        if written.is_err() {
            // The client must not take what came for all.
            let _ = sent
                .sender
                .send(Err(io::ErrorKind::BrokenPipe.into()))
                .await;
        }
        let lacking = match sent.unreadable {
            0 => String::new(),
            1 => "; 1 record that cannot be read is not in it".to_owned(),
            records => format!("; {records} records that cannot be read are not in it"),
        };
        let format = match export.format {
            ExportFormat::Csv => "CSV",
            ExportFormat::Ndjson => "NDJSON",
        };
        front.activity.note(Entry {
            id: bson::oid::ObjectId::new(),
            at: bson::DateTime::now(),
            name: who.name,
            address: who.address,
            action: "export".to_owned(),
            effect: format!(
                "{} as {format}: {} rows{lacking}{how}",
                export.words, sent.rows
            ),
            reason: None,
            request_id: who.request_id,
        });
    });
    reply
}

impl Export {
    /// As others are told of it. It is kept in memory alone, where nobody who is forgotten is looked for: so it names none.
    fn task(&self, who: &Who) -> Task {
        let mut task = Task {
            task_id: uuid::Uuid::new_v4().simple().to_string(),
            kind: WorkKind::Export,
            phase: TaskPhase::Running,
            filter: Some(self.asked.clone()),
            named: None,
            reason: None,
            by: who.name.clone(),
            started_at: rfc3339(bson::DateTime::now()),
            ended_at: None,
            expected: 0,
            done: 0,
            skipped: 0,
            remaining: 0,
            fault: None,
        };
        mask_task(&mut task);
        task
    }
}

/// What was handed on of an export, one of few at once.
struct Sent {
    task_id: String,
    sender: mpsc::Sender<io::Result<Bytes>>,
    rows: u64,
    /// Records that were changed by hand, and are not among the rows.
    unreadable: u64,
    _permit: OwnedSemaphorePermit,
}

impl Sent {
    /// Tells how far it is.
    fn note(&self, exports: &Exports) {
        exports.note(&self.task_id, |task| {
            task.done = self.rows;
            task.skipped = self.unreadable;
        });
    }

    /// Hands on what is written, if it is enough. Answers whether anybody takes it.
    async fn hand_on(&mut self, rows: &mut Rows, len_min: usize, exports: &Exports) -> bool {
        if rows.len() < len_min.max(1) {
            return !self.sender.is_closed();
        }
        self.note(exports);
        self.sender.send(Ok(rows.take().into())).await.is_ok()
    }
}

/// Writes all rows. Answers whether the client took them.
async fn write(
    front: &Front,
    export: &Export,
    mut found: Cursor<RawDocumentBuf>,
    sent: &mut Sent,
) -> Result<bool, ServiceError> {
    let mut rows;
    match export.of {
        ExportOf::Errors => {
            rows = Rows::of_failures(export.format);
            while let Some(document) = found.try_next().await? {
                rows.failure(FailureDocument::read(&document));
                sent.rows += 1;
                if !sent.hand_on(&mut rows, PART_LEN_MAX, &front.exports).await {
                    return Ok(false);
                }
            }
        }
        ExportOf::Loans => {
            rows = Rows::of_loans(export.format);
            while let Some(document) = found.try_next().await? {
                let Ok(loan) = bson::deserialize_from_slice::<LoanDocument>(document.as_bytes())
                else {
                    let loan_id = document.get_str("_id").unwrap_or_default();
                    tracing::error!(loan_id, "a record cannot be read: an export lacks it");
                    sent.unreadable += 1;
                    continue;
                };
                rows.loan(loan);
                sent.rows += 1;
                if !sent.hand_on(&mut rows, PART_LEN_MAX, &front.exports).await {
                    return Ok(false);
                }
            }
        }
    }
    Ok(sent.hand_on(&mut rows, 0, &front.exports).await)
}

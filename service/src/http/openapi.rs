//! `/openapi.json`: one table says which routes there are and what they answer; the schemas come
//! from the Rust types.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApiBuilder,
    PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::response::{KINDS, Kind};
use crate::api;
use crate::snapshot::{Event, History, Message, Point, Snapshot};

/// One method of one path.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) method: HttpMethod,
    /// Needs a token in any case. Where there is a file of tokens, so does every route that reads.
    pub(super) is_admin: bool,
    summary: &'static str,
    description: &'static str,
    parameters: fn() -> Vec<Parameter>,
    /// The type of the JSON body, if it takes one.
    body: Option<Named>,
    /// The status code of success, its description, what comes with it.
    success: (u16, &'static str, Content),
    /// The `errorType`s that it may answer.
    problems: &'static [&'static str],
}

/// What comes with an answer.
enum Content {
    Json(Named),
    Other(&'static str),
    /// A file in one of the forms of an export.
    Export,
    None,
}

/// A type with its name, which stands among the components.
struct Named(fn() -> String);

fn named<T: ToSchema>() -> String {
    T::name().into_owned()
}

macro_rules! json {
    ($type:ty) => {
        Content::Json(Named(named::<$type>))
    };
}

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

fn none() -> Vec<Parameter> {
    Vec::new()
}

fn loan_id_in_path() -> Vec<Parameter> {
    vec![
        ParameterBuilder::new()
            .name("loanId")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(
                "The loan's id. The paths below `/api/loans/` that name a call answer GET for the loan of that name.",
            ))
            .schema(Some(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some("^[A-Za-z0-9._:-]{1,64}$")),
            ))
            .build(),
    ]
}

fn history_parameters() -> Vec<Parameter> {
    let longest = crate::monitor::HISTORY_MAX.as_secs() / 60;
    let minutes = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some((1..=longest).chain([24 * 60, 7 * 24 * 60])))
        .default(Some(longest.into()));
    vec![in_query("minutes", "How far back.", minutes)]
}

fn activity_parameters() -> Vec<Parameter> {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(crate::limits::ERRORS_PAGE_LEN_MAX))
        .default(Some(super::activity::PAGE_LEN.into()));
    let cursor = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[0-9]{1,13}~[0-9a-f]{24}$"));
    let parameter = |name: &str, description: &str, schema: ObjectBuilder| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .build()
    };
    vec![
        parameter("limit", "How many on a page.", limit),
        parameter("cursor", "The `nextCursor` of the page before.", cursor),
    ]
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn instant() -> ObjectBuilder {
    text()
        .pattern(Some(
            "^([0-9]{1,15}|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}.*)$",
        ))
        .examples(["2026-01-31T12:00:00Z"])
}

fn in_query(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn in_path(name: &str, description: &str, pattern: &str) -> Vec<Parameter> {
    vec![
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(Some(text().pattern(Some(pattern))))
            .build(),
    ]
}

fn filter_parameters() -> Vec<Parameter> {
    let words = || text().min_length(Some(1)).max_length(Some(256));
    vec![
        in_query(
            "loanId",
            "The loan's id begins so.",
            text().pattern(Some("^[A-Za-z0-9._:-]{1,64}$")),
        ),
        in_query(
            "applicant",
            "The applicant's address begins so; upper and lower case are the same. Needs a token.",
            words(),
        ),
        in_query(
            "errorType",
            "Of this category. One that nobody knows finds nothing.",
            text().pattern(Some("^[a-z_]{1,64}$")),
        ),
        in_query("field", "A fault is in this field.", words()),
        in_query("rule", "A fault's rule begins so.", words()),
        in_query(
            "from",
            "Failed at this instant or later: RFC 3339, or milliseconds since 1970.",
            instant(),
        ),
        in_query("to", "Failed before this instant.", instant()),
        in_query(
            "waiting",
            "`true`: only what waits for a retry, a correction or a discard.",
            ObjectBuilder::new().schema_type(Type::Boolean),
        ),
    ]
}

fn errors_parameters() -> Vec<Parameter> {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(crate::limits::ERRORS_PAGE_LEN_MAX))
        .default(Some(super::errors::PAGE_LEN.into()));
    let cursor = text().pattern(Some("^[A-Za-z0-9_-]+$"));
    let mut parameters = filter_parameters();
    parameters.extend([
        in_query("limit", "How many on a page.", limit),
        in_query("cursor", "The `nextCursor` of the page before.", cursor),
    ]);
    parameters
}

fn format_parameter() -> Parameter {
    in_query(
        "format",
        "`csv` or `ndjson`.",
        text()
            .enum_values(Some(["csv", "ndjson"]))
            .default(Some("csv".into())),
    )
}

fn error_export_parameters() -> Vec<Parameter> {
    let mut parameters = filter_parameters();
    parameters.push(format_parameter());
    parameters
}

fn loan_export_parameters() -> Vec<Parameter> {
    vec![
        format_parameter(),
        in_query("from", "Decided at this instant or later.", instant()),
        in_query("to", "Decided before this instant.", instant()),
    ]
}

fn task_in_path() -> Vec<Parameter> {
    in_path("taskId", "The task's id.", "^[0-9a-f]{32}$")
}

fn ticket_in_path() -> Vec<Parameter> {
    in_path("ticket", "The ticket.", "^[A-Za-z0-9_-]{22}$")
}

/// `GET` of a path that names a call: the loan whose id is that name.
fn loan_named(path: &'static str) -> Route {
    Route {
        path,
        method: HttpMethod::Get,
        is_admin: false,
        summary: "Where the loan of this name is",
        description: "As `/api/loans/{loanId}`: a loan may be called as a call is.",
        parameters: none,
        body: None,
        success: (200, "The loan.", json!(api::LoanView)),
        problems: &[
            "not_found",
            "queue_unavailable",
            "store_unavailable",
            "unreadable_record",
        ],
    }
}

/// Every route. A handler that answers what is not in here fails the tests.
fn routes() -> Vec<Route> {
    vec![
        loan_named("/api/loans/request"),
        loan_named("/api/loans/retry"),
        Route {
            path: "/api/loans/request",
            method: HttpMethod::Post,
            is_admin: false,
            summary: "Ask for a loan",
            description: "202 once the loan is durable in the queue. The same loan again is answered 202 with `replayed: true` and counted once, \
                          so a client that heard nothing, or 503, sends the same loan again. A loan that breaks rules is taken too, and fails later: \
                          see `/api/errors`.",
            parameters: none,
            body: Some(Named(named::<api::LoanRequest>)),
            success: (
                202,
                "Durable in the queue, or known already.",
                json!(api::Queued),
            ),
            problems: &[
                "invalid_utf8",
                "malformed_json",
                "too_deep",
                "not_an_object",
                "duplicate_key",
                "invalid_loan_id",
                "truncated_body",
                "not_found",
                "request_timeout",
                "body_too_large",
                "too_many_slow_senders",
                "unsupported_media_type",
                "loan_id_conflict",
                "paused",
                "overloaded",
                "queue_unavailable",
                "draining",
            ],
        },
        Route {
            path: "/api/loans/{loanId}",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Where a loan is",
            description: "With the steps of its way, the attempts that failed, and its result once it is accepted.",
            parameters: loan_id_in_path,
            body: None,
            success: (200, "The loan.", json!(api::LoanView)),
            problems: &[
                "not_found",
                "queue_unavailable",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/loans/retry",
            method: HttpMethod::Patch,
            is_admin: true,
            summary: "Queue failed loans again",
            description: "All of them, those of a category, or those of some ids, the oldest first. Each becomes a new attempt in the same history. \
                          With `correction` one loan gets other content; a client that repeats the content it sent first is still answered \
                          `replayed: true`. A loan that fails again during the call is not taken twice. Of two calls at once each loan is taken by one.",
            parameters: none,
            body: Some(Named(named::<api::RetryRequest>)),
            success: (200, "What was done.", json!(api::Retried)),
            problems: &[
                "invalid_body",
                "invalid_utf8",
                "malformed_json",
                "too_deep",
                "not_an_object",
                "duplicate_key",
                "invalid_loan_id",
                "truncated_body",
                "request_timeout",
                "body_too_large",
                "too_many_slow_senders",
                "unsupported_media_type",
                "queue_unavailable",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/errors",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "The failed attempts",
            description: "Newest first. What `nextCursor` leads to is older, so pages have neither gaps nor repeats while new failures come.",
            parameters: errors_parameters,
            body: None,
            success: (200, "A page.", json!(api::ErrorPage)),
            problems: &[
                "invalid_parameter",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/errors/count",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "How many failures a filter finds",
            description: "What a retry or a discard would act on is `waiting`. Counting is given up after 2 seconds: then `isExact` is false, and there are at least so many.",
            parameters: filter_parameters,
            body: None,
            success: (200, "How many.", json!(api::FailureCount)),
            problems: &[
                "invalid_parameter",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/tasks",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Work on many failed loans",
            description: "That of the last day, newest first.",
            parameters: none,
            body: None,
            success: (200, "At most 50.", json!(api::TaskList)),
            problems: &["store_unavailable", "unreadable_record"],
        },
        Route {
            path: "/api/tasks",
            method: HttpMethod::Post,
            is_admin: true,
            summary: "Retry or discard many failed loans",
            description: "Those that a filter finds and that had failed when it began, or those of some ids. Where there are more than `expected`, which were confirmed, nothing begins. It is done in bounded steps, one task of each kind at a time; an instance                           that ends leaves it to another. A discarded loan stays in the record, with who, when and why; its id stays taken.",
            parameters: none,
            body: Some(Named(named::<api::TaskRequest>)),
            success: (202, "It is taken up.", json!(api::Task)),
            problems: &[
                "invalid_body",
                "truncated_body",
                "request_timeout",
                "body_too_large",
                "too_many_slow_senders",
                "unsupported_media_type",
                "task_running",
                "more_than_confirmed",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/tasks/{taskId}",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "How far a task is",
            description: "`done`, `skipped` and `remaining` are the whole.",
            parameters: task_in_path,
            body: None,
            success: (200, "The task.", json!(api::Task)),
            problems: &["not_found", "store_unavailable", "unreadable_record"],
        },
        Route {
            path: "/api/tasks/{taskId}/stop",
            method: HttpMethod::Post,
            is_admin: true,
            summary: "Stop a task",
            description: "It ends after the step that it is in. What is done stays done.",
            parameters: task_in_path,
            body: None,
            success: (200, "The task.", json!(api::Task)),
            problems: &[
                "not_found",
                "task_over",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/exports",
            method: HttpMethod::Post,
            is_admin: true,
            summary: "A link for one download",
            description: "Good for one download within a minute, without a token: so that a browser can save what is long.",
            parameters: none,
            body: Some(Named(named::<api::ExportRequest>)),
            success: (201, "The link.", json!(api::ExportTicket)),
            problems: &[
                "invalid_body",
                "truncated_body",
                "request_timeout",
                "body_too_large",
                "too_many_slow_senders",
                "unsupported_media_type",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/downloads/{ticket}",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Download",
            description: "Once. The file is made while it is sent; closing the connection ends it.",
            parameters: ticket_in_path,
            body: None,
            success: (200, "The file.", Content::Export),
            problems: &[
                "export_expired",
                "too_many_exports",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/exports/errors",
            method: HttpMethod::Get,
            is_admin: true,
            summary: "Failed attempts, as a file",
            description: "Newest first. CSV for spreadsheets: no cell begins as a formula does; what would is preceded by an apostrophe. NDJSON is what `/api/errors` shows, an object a line.",
            parameters: error_export_parameters,
            body: None,
            success: (200, "The file.", Content::Export),
            problems: &["invalid_parameter", "too_many_exports"],
        },
        Route {
            path: "/api/exports/loans",
            method: HttpMethod::Get,
            is_admin: true,
            summary: "Accepted loans, as a file",
            description: "In no order. In CSV money is in the currency's unit and rates are in percent.",
            parameters: loan_export_parameters,
            body: None,
            success: (200, "The file.", Content::Export),
            problems: &["invalid_parameter", "too_many_exports"],
        },
        Route {
            path: "/api/session",
            method: HttpMethod::Get,
            is_admin: true,
            summary: "Whose token is this?",
            description: "200 if it is known.",
            parameters: none,
            body: None,
            success: (200, "Whose it is, and what it may do.", json!(api::Session)),
            problems: &[],
        },
        Route {
            path: "/api/control",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Is ingestion paused?",
            description: "For every instance.",
            parameters: none,
            body: None,
            success: (200, "What holds now.", json!(api::Control)),
            problems: &["queue_unavailable"],
        },
        Route {
            path: "/api/control/pause",
            method: HttpMethod::Post,
            is_admin: true,
            summary: "Pause ingestion",
            description: "For every instance at once, through a restart of anything. New loans are answered 503; what was admitted goes on being processed.",
            parameters: none,
            body: None,
            success: (200, "What holds now.", json!(api::Control)),
            problems: &["queue_unavailable"],
        },
        Route {
            path: "/api/control/resume",
            method: HttpMethod::Post,
            is_admin: true,
            summary: "Resume ingestion",
            description: "For every instance at once.",
            parameters: none,
            body: None,
            success: (200, "What holds now.", json!(api::Control)),
            problems: &["queue_unavailable"],
        },
        Route {
            path: "/api/runs",
            method: HttpMethod::Post,
            is_admin: true,
            summary: "Tell where a load run is",
            description: "Every dashboard of every instance shows it.",
            parameters: none,
            body: Some(Named(named::<api::RunMarker>)),
            success: (202, "It was told.", Content::None),
            problems: &[
                "invalid_body",
                "truncated_body",
                "request_timeout",
                "body_too_large",
                "too_many_slow_senders",
                "unsupported_media_type",
            ],
        },
        Route {
            path: "/api/activity",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "What operators have changed",
            description: "Newest first: who, from where, when, and what came of it.",
            parameters: activity_parameters,
            body: None,
            success: (200, "A page.", json!(api::ActivityPage)),
            problems: &[
                "invalid_parameter",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/api/instances",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Instances, workers and partitions",
            description: "As of the last second.",
            parameters: none,
            body: None,
            success: (200, "Those that are alive.", json!(api::InstanceList)),
            problems: &[],
        },
        Route {
            path: "/api/metrics",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "The live snapshot",
            description: "The same object that `/ws` sends.",
            parameters: none,
            body: None,
            success: (200, "The latest snapshot.", json!(Snapshot)),
            problems: &[],
        },
        Route {
            path: "/api/history",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "The last half hour, day or week",
            description: "A point a second, and what happened meanwhile; of a day a point a minute, of a week one in ten, from MongoDB. The latencies of the last half hour are of this instance, those of days the highest of any.",
            parameters: history_parameters,
            body: None,
            success: (200, "The past, oldest first.", json!(History)),
            problems: &[
                "invalid_parameter",
                "store_unavailable",
                "unreadable_record",
            ],
        },
        Route {
            path: "/metrics",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "The figures for Prometheus",
            description: "OpenMetrics.",
            parameters: none,
            body: None,
            success: (
                200,
                "The figures.",
                Content::Other(super::exposition::CONTENT_TYPE),
            ),
            problems: &[],
        },
        Route {
            path: "/ws",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Follow what happens",
            description: "A WebSocket. Each text is a `Message`: first the history, then a snapshot five times a second, and events as they happen. \
                          A page of another origin is refused; it learns why by POST to this path. A page sends its token as a protocol: it asks for \
                          `sluice` and `bearer.TOKEN`.",
            parameters: none,
            body: None,
            success: (
                101,
                "The connection speaks WebSocket from here on.",
                Content::None,
            ),
            problems: &["foreign_origin", "not_a_web_socket", "too_many_web_sockets"],
        },
        Route {
            path: "/healthz",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Liveness",
            description: "200 while the process runs.",
            parameters: none,
            body: None,
            success: (200, "It runs.", json!(api::Health)),
            problems: &[],
        },
        Route {
            path: "/readyz",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "Readiness",
            description: "200 while this instance can do what its roles are for and is not stopping: the roles `api` and `dashboard` need Redis, `worker` too, and `persister` without these MongoDB as well. `degraded` says what is amiss besides, and since when.",
            parameters: none,
            body: None,
            success: (200, "It is ready.", json!(api::Health)),
            problems: &["not_ready"],
        },
        Route {
            path: "/openapi.json",
            method: HttpMethod::Get,
            is_admin: false,
            summary: "This description",
            description: "OpenAPI 3.1.",
            parameters: none,
            body: None,
            success: (200, "The description.", Content::Other(JSON)),
            problems: &[],
        },
    ]
}

/// The description, as JSON.
pub fn document() -> String {
    let mut paths: BTreeMap<&str, PathItem> = BTreeMap::new();
    for route in routes() {
        let item = PathItem::new(route.method.clone(), operation(&route));
        match paths.get_mut(route.path) {
            Some(path) => path.merge_operations(item),
            None => drop(paths.insert(route.path, item)),
        }
    }
    let paths = paths
        .into_iter()
        .fold(PathsBuilder::new(), |paths, (path, item)| {
            paths.path(path, item)
        });
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Sluice")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Takes loan requests in bursts, loses none, processes each exactly once.",
                ))
                .license(Some(
                    LicenseBuilder::new().name("MIT OR Apache-2.0").build(),
                )),
        )
        .paths(paths)
        .components(Some(components()))
        .build();
    document.to_pretty_json().expect("plain data serialises")
}

/// Panics if a route answers what is not documented: tests run with this, releases without.
#[cfg(debug_assertions)]
pub(super) fn assert_documented(path: &str, method: &hyper::Method, status: u16) {
    let is_documented = routes()
        .iter()
        .filter(|route| route.path == path)
        .any(|route| {
            route.success.0 == status
                || by_status(own_problems(route).chain(BEFORE_ROUTES)).contains_key(&status)
        });
    assert!(
        is_documented,
        "{method} {path} answers {status}, which is not documented"
    );
}

fn components() -> utoipa::openapi::Components {
    let mut schemas = Vec::new();
    add::<api::LoanRequest>(&mut schemas);
    add::<api::Queued>(&mut schemas);
    add::<api::LoanView>(&mut schemas);
    add::<api::ErrorPage>(&mut schemas);
    add::<api::FailureCount>(&mut schemas);
    add::<api::TaskRequest>(&mut schemas);
    add::<api::Task>(&mut schemas);
    add::<api::TaskList>(&mut schemas);
    add::<api::ExportRequest>(&mut schemas);
    add::<api::ExportTicket>(&mut schemas);
    add::<api::Session>(&mut schemas);
    add::<api::ActivityPage>(&mut schemas);
    add::<api::InstanceList>(&mut schemas);
    add::<api::Control>(&mut schemas);
    add::<api::RetryRequest>(&mut schemas);
    add::<api::Retried>(&mut schemas);
    add::<api::RunMarker>(&mut schemas);
    add::<api::Health>(&mut schemas);
    add::<api::ProblemDetails>(&mut schemas);
    add::<Snapshot>(&mut schemas);
    add::<Message>(&mut schemas);
    add::<Event>(&mut schemas);
    add::<Point>(&mut schemas);
    add::<History>(&mut schemas);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "The administrator's token (`--admin-token`, or the one printed at start), or one of the file of tokens. Whoever sends none where none is needed sees no personal data.",
        ))
        .build();
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("admin", SecurityScheme::Http(bearer))
        .build()
}

/// Adds a type and every type that it is made of.
fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((named::<T>(), <T as PartialSchema>::schema()));
    T::schemas(schemas);
}

fn operation(route: &Route) -> utoipa::openapi::path::Operation {
    let (status, description, content) = &route.success;
    let mut success = ResponseBuilder::new().description(*description);
    match content {
        Content::Json(named) => success = success.content(JSON, reference(&(named.0)())),
        Content::Other(kind) => {
            success = success.content(*kind, ContentBuilder::new().build());
        }
        Content::Export => {
            for kind in ["text/csv", "application/x-ndjson"] {
                success = success.content(kind, ContentBuilder::new().build());
            }
        }
        Content::None => {}
    }
    let mut responses = ResponsesBuilder::new().response(status.to_string(), success);
    for (status, description) in by_status(own_problems(route).chain(BEFORE_ROUTES)) {
        let mut response = ResponseBuilder::new()
            .description(description)
            .content(PROBLEM, reference("ProblemDetails"));
        if status == 503 {
            response = response.header(
                "Retry-After",
                utoipa::openapi::header::HeaderBuilder::new()
                    .schema(
                        ObjectBuilder::new()
                            .schema_type(Type::Integer)
                            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32))),
                    )
                    .description(Some("Seconds after which to try again."))
                    .build(),
            );
        }
        responses = responses.response(status.to_string(), response);
    }
    let mut operation = OperationBuilder::new()
        .operation_id(Some(operation_id(route)))
        .summary(Some(route.summary))
        .description(Some(route.description))
        .responses(responses);
    for parameter in (route.parameters)() {
        operation = operation.parameter(parameter);
    }
    if let Some(body) = &route.body {
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .content(JSON, reference(&(body.0)()))
                .required(Some(Required::True))
                .build(),
        ));
    }
    if route.is_admin {
        operation = operation.security(SecurityRequirement::new("admin", Vec::<String>::new()));
    }
    operation.build()
}

/// What asks for no token at all.
const OPEN: [&str; 5] = [
    "/api/loans/request",
    "/api/downloads/{ticket}",
    "/healthz",
    "/readyz",
    "/openapi.json",
];

/// What is refused before a route is known: it can befall every call.
const BEFORE_ROUTES: [&str; 4] = [
    "malformed_request",
    "unknown_host",
    "head_too_large",
    "too_many_connections",
];

/// The `errorType`s that the route itself may answer.
fn own_problems(route: &Route) -> impl Iterator<Item = &'static str> {
    let is_open = OPEN.contains(&route.path) && !route.summary.starts_with("Where the loan");
    let of_tokens: &[&str] = if is_open {
        &[]
    } else {
        &[
            "unauthorized",
            "forbidden",
            "role_forbids",
            "too_many_attempts",
            "too_many_slow_readers",
        ]
    };
    let of_pages: &[&str] = match route.method {
        HttpMethod::Get => &[],
        _ => &["foreign_origin"],
    };
    ["method_not_allowed"]
        .iter()
        .chain(of_tokens)
        .chain(of_pages)
        .chain(route.problems)
        .copied()
}

/// Refusals by status code, each with the `errorType`s that it may carry.
fn by_status(names: impl Iterator<Item = &'static str>) -> BTreeMap<u16, String> {
    let mut by_status: BTreeMap<u16, String> = BTreeMap::new();
    for name in names {
        let Some(Kind {
            status, meaning, ..
        }) = KINDS.iter().find(|kind| kind.name == name)
        else {
            continue;
        };
        let text = by_status.entry(*status).or_default();
        let gap = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{gap}`{name}`: {meaning}");
    }
    by_status
}

fn reference(name: &str) -> utoipa::openapi::Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(name)))
        .build()
}

/// `getApiLoansLoanId` and the like.
fn operation_id(route: &Route) -> String {
    let method = match route.method {
        HttpMethod::Post => "post",
        HttpMethod::Patch => "patch",
        _ => "get",
    };
    let words = route
        .path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |mut id, word| {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
        id
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_problem_of_a_route_is_a_kind() {
        for route in routes() {
            for name in route.problems {
                assert!(
                    KINDS.iter().any(|kind| kind.name == *name),
                    "{name} of {}",
                    route.path
                );
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        found.insert(target.clone());
                    }
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(&document()).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }
}

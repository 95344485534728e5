//! The collector: where it is, and how it is told. What it does not take is said once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Position, Url};

/// The collector has this long to take a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to deliver the same, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The most of an answer that is read.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Spans.
    Traces,
    /// Figures.
    Metrics,
}

/// Where a collector takes OTLP over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    headers: HeaderMap,
}

/// Without its headers: they may hold a secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "not the address of a collector: write http://HOST:4318, or https://";
        let url = Url::parse(text.trim()).map_err(|_| rule)?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            return Err(rule);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("not without a secret: send it by OTEL_EXPORTER_OTLP_HEADERS");
        }
        Ok(Self {
            url,
            headers: HeaderMap::new(),
        })
    }
}

impl Endpoint {
    /// The same with headers, as `OTEL_EXPORTER_OTLP_HEADERS` writes them: `name=value,name=value`, values percent-encoded.
    ///
    /// # Errors
    /// What they must be.
    pub fn with_headers(mut self, text: &str) -> Result<Self, &'static str> {
        let rule = "must be NAME=VALUE, several with commas between";
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(rule)?;
            let name = HeaderName::from_str(name.trim()).map_err(|_| rule)?;
            let value = percent_encoding::percent_decode_str(value.trim())
                .decode_utf8()
                .map_err(|_| rule)?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| rule)?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        Ok(self)
    }

    fn path(&self, signal: Signal) -> String {
        let base = self.url.path().trim_end_matches('/');
        match signal {
            Signal::Traces => format!("{base}/v1/traces"),
            Signal::Metrics => format!("{base}/v1/metrics"),
        }
    }
}

/// Why a request was not taken.
#[derive(Debug, Error)]
enum NotTaken {
    #[error("it does not answer: {0}")]
    Io(#[from] std::io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    #[error("it answers {0}")]
    Later(StatusCode, Option<Duration>),
    /// It will never take this.
    #[error("it answers {0}")]
    Refused(StatusCode),
}

/// What a collector has not taken of a request that it took.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rejected {
    count: u64,
    why: String,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It was taken, but for so many.
    Taken { rejected: u64 },
    /// It will never be taken.
    Refused,
    /// It may be worth trying again, not before so long.
    Later(Duration),
}

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    endpoint: Endpoint,
    tls: Option<Tls>,
    /// For each signal, whether the last request was not taken.
    is_failing: [AtomicBool; 2],
}

struct Tls(TlsConnector);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Collector {
    /// The collector at `endpoint`.
    ///
    /// # Errors
    /// For `https://`, when this machine trusts nobody.
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, String> {
        let tls = match endpoint.url.scheme() {
            "https" => Some(Tls(connector()?)),
            _ => None,
        };
        Ok(Self {
            endpoint,
            tls,
            is_failing: Default::default(),
        })
    }

    /// Sends once, and says what is lost: once, until it goes well again.
    pub(super) async fn offer(&self, signal: Signal, body: Bytes) -> Offered {
        let sent = tokio::time::timeout(TIMEOUT, self.send(signal, body)).await;
        let sent = sent.unwrap_or(Err(NotTaken::Timeout));
        let is_whole = matches!(sent, Ok(Rejected { count: 0, .. }));
        let is_failing = &self.is_failing[signal as usize];
        let was_failing = is_failing.swap(!is_whole, Ordering::Relaxed);
        let what = match signal {
            Signal::Traces => "spans",
            Signal::Metrics => "figures",
        };
        let collector = &self.endpoint;
        match &sent {
            Ok(_) if is_whole && was_failing => {
                tracing::info!(?collector, "the collector takes {what} again");
            }
            _ if is_whole || was_failing => {}
            Ok(Rejected { count, why }) => {
                tracing::warn!(
                    ?collector,
                    why,
                    "the collector rejects {count} {what} of a request: they are dropped"
                );
            }
            Err(error @ NotTaken::Refused(_)) => {
                tracing::warn!(?collector, %error, "the collector refuses {what}; loans go on, and what is refused is dropped");
            }
            Err(error) => {
                tracing::warn!(
                    ?collector,
                    %error,
                    "the collector takes no {what}; loans go on, and those that find no room are dropped"
                );
            }
        }
        match sent {
            Ok(Rejected { count, .. }) => Offered::Taken { rejected: count },
            Err(NotTaken::Refused(_)) => Offered::Refused,
            Err(NotTaken::Later(_, after)) => Offered::Later(after.unwrap_or_default()),
            Err(_) => Offered::Later(Duration::ZERO),
        }
    }

    /// Sends `len` spans or figures until they are taken or refused for good; once `stop` is true, one time. Answers how many are
    /// lost.
    pub(super) async fn deliver(
        &self,
        signal: Signal,
        body: Bytes,
        len: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> u64 {
        let mut pause = PAUSE;
        loop {
            let is_last = *stop.borrow();
            let after = match self.offer(signal, body.clone()).await {
                Offered::Taken { rejected } => return rejected.min(len),
                Offered::Refused => return len,
                Offered::Later(_) if is_last => return len,
                Offered::Later(after) => after,
            };
            tokio::select! {
                () = tokio::time::sleep(pause.max(after.min(PAUSE_MAX))) => {}
                () = crate::shutdown::stopped(stop) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn send(&self, signal: Signal, body: Bytes) -> Result<Rejected, NotTaken> {
        let Endpoint { url, headers } = &self.endpoint;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let mut request = Request::post(self.endpoint.path(signal))
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(CONTENT_TYPE, "application/json")
            .header(
                USER_AGENT,
                concat!("sluice-service/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(body))
            .map_err(std::io::Error::other)?;
        request.headers_mut().extend(
            headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        // An address of version 6 stands in brackets, which are not a part of it.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => exchange(stream, request).await,
            Some(Tls(connector)) => {
                let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                exchange(connector.connect(name, stream).await?, request).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Rejected, NotTaken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with `sender`, and with the answer.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    if status.is_success() {
        let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX);
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        return Ok(Rejected::read(&body.unwrap_or_default()));
    }
    Err(match status.as_u16() {
        // These alone the protocol calls worth another attempt.
        429 | 502 | 503 | 504 => {
            let after = answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|after| after.to_str().ok())
                .and_then(|after| after.parse().ok())
                .map(Duration::from_secs);
            NotTaken::Later(status, after)
        }
        _ => NotTaken::Refused(status),
    })
}

impl Rejected {
    /// What the body of an answer says. A number of 64 bits stands in a text: so JSON of the protocol writes them.
    fn read(answer: &[u8]) -> Self {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        let told = &answer["partialSuccess"];
        let count = ["rejectedSpans", "rejectedDataPoints"]
            .into_iter()
            .find_map(|key| {
                let count = &told[key];
                count.as_u64().or_else(|| count.as_str()?.parse().ok())
            });
        Self {
            count: count.unwrap_or(0),
            why: told["errorMessage"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// TLS that trusts whom this machine trusts; `SSL_CERT_FILE` names others.
fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no authority for https: install ca-certificates, or name a file by SSL_CERT_FILE".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_path_for_each_signal() {
        for (url, path) in [
            ("http://127.0.0.1:4318", "/v1/traces"),
            ("http://collector/", "/v1/traces"),
            ("https://[::1]:4318/otlp/", "/otlp/v1/traces"),
        ] {
            let endpoint: Endpoint = url.parse().expect(url);
            assert_eq!(endpoint.path(Signal::Traces), path, "{url}");
        }
        for wrong in [
            "",
            "localhost:4318",
            "grpc://localhost:4317",
            "http://",
            "http://a/?b",
            "http://ada:secret@collector",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_rejected_of_a_request_is_read() {
        for (answer, count, why) in [
            ("", 0, ""),
            ("{}", 0, ""),
            (r#"{"partialSuccess":{}}"#, 0, ""),
            (
                r#"{"partialSuccess":{"errorMessage":"nearly full"}}"#,
                0,
                "nearly full",
            ),
            (
                r#"{"partialSuccess":{"rejectedSpans":"5","errorMessage":"no"}}"#,
                5,
                "no",
            ),
            (r#"{"partialSuccess":{"rejectedSpans":5}}"#, 5, ""),
            (r#"{"partialSuccess":{"rejectedDataPoints":"7"}}"#, 7, ""),
            (r#"{"partialSuccess":{"rejectedSpans":-1}}"#, 0, ""),
        ] {
            let expected = Rejected {
                count,
                why: why.to_owned(),
            };
            assert_eq!(Rejected::read(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[test]
    fn headers_may_hold_a_secret() {
        let endpoint: Endpoint = "http://127.0.0.1:4318".parse().unwrap();
        let endpoint = endpoint
            .with_headers("authorization=Bearer%20s3cret, x-tenant=a")
            .unwrap();
        assert_eq!(endpoint.headers["authorization"], "Bearer s3cret");
        assert_eq!(endpoint.headers["x-tenant"], "a");
        assert!(!format!("{endpoint:?}").contains("s3cret"));
        for wrong in ["a", "a b=c", "a=\u{1}"] {
            assert!(endpoint.clone().with_headers(wrong).is_err(), "{wrong}");
        }
    }
}

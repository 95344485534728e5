//! The harness's own calls over HTTP/1.1: one server, one call at a time, an answer that is bounded in time and length.
//!
//! A connection is kept for the next call while it lasts. Redirects are not followed, no proxy of the environment is asked, and
//! nothing is sent twice. The load itself does not go this way: its connections are a part of what is measured.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Position, Url};

/// How long a call may take, unless another time is set.
pub const WITHIN: Duration = Duration::from_secs(5);
/// The most bytes of an answer, unless another length is set.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The address is no `http://host:port`.
    #[error("{0} is not an address of the form http://host:port")]
    Address(String),
    /// The name of the host is not known.
    #[error("no host of the name {0} is known here")]
    Nowhere(String),
    /// No connection came about.
    #[error("nothing answers at {0}")]
    Connect(String, #[source] io::Error),
    /// What should be sent is no request.
    #[error("this is no request")]
    Request(#[source] hyper::http::Error),
    /// The connection ended before the answer was whole, or what came is not HTTP.
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is longer than is taken.
    #[error("the answer is longer than {0} bytes")]
    Long(usize),
    /// There was no whole answer in time.
    #[error("no whole answer within {0:?}")]
    Silent(Duration),
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// A server that is called.
#[derive(Debug)]
pub struct Remote {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    within: Duration,
    answer_bytes_max: usize,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Remote {
    /// The one at `url`, `http://host:port`. Nothing is sent yet.
    ///
    /// # Errors
    /// When `url` is no such address, or names a path.
    pub fn at(url: &str) -> Result<Self, CallError> {
        let refused = || CallError::Address(shown(url));
        let parsed = Url::parse(url).map_err(|_| refused())?;
        if parsed.scheme() != "http" || !matches!(&parsed[Position::BeforePath..], "" | "/") {
            return Err(refused());
        }
        Ok(Self {
            url: parsed,
            headers: Vec::new(),
            within: WITHIN,
            answer_bytes_max: ANSWER_BYTES_MAX,
            open: None,
        })
    }

    /// Sends this header with each call. Its value is not shown by whoever prints what is called: it may be a secret.
    ///
    /// # Errors
    /// When `value` holds what no header may.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Result<Self, CallError> {
        let mut value =
            HeaderValue::from_str(value).map_err(|error| CallError::Request(error.into()))?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    /// Lets a call take this long, instead of [`WITHIN`].
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Takes answers of this length, instead of [`ANSWER_BYTES_MAX`].
    #[must_use]
    pub fn taking(mut self, answer_bytes_max: usize) -> Self {
        self.answer_bytes_max = answer_bytes_max;
        self
    }

    /// Opens the connection if it is not open, so that a call does not wait for that.
    ///
    /// # Errors
    /// When none comes about in time.
    pub async fn connect(&mut self) -> Result<(), CallError> {
        let within = self.within;
        match tokio::time::timeout(within, self.connection()).await {
            Ok(opened) => opened.map(|_| ()),
            Err(_) => Err(CallError::Silent(within)),
        }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When there is no whole answer, of whatever status.
    pub async fn get(&mut self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with JSON.
    ///
    /// # Errors
    /// As [`Remote::get`]. Whether the server has acted is not known then.
    pub async fn post(&mut self, path: &str, json: impl Into<Bytes>) -> Result<Answer, CallError> {
        self.call(Method::POST, path, json.into()).await
    }

    /// Any call; a body is JSON.
    ///
    /// # Errors
    /// As [`Remote::post`].
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let called = tokio::time::timeout(self.within, self.call_now(method, path, body)).await;
        let answer = called.unwrap_or(Err(CallError::Silent(self.within)));
        if answer.is_err() {
            // What is left of the old answer must not be taken for the next.
            self.open = None;
        }
        answer
    }

    async fn call_now(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.url[Position::BeforeHost..Position::AfterPort]);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(CallError::Request)?;
        let answer_bytes_max = self.answer_bytes_max;
        let connection = self.connection().await?;
        let response = connection.send_request(request).await;
        let response = response.map_err(|error| CallError::Broken(error.into()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), answer_bytes_max).collect();
        match body.await {
            Ok(body) => Ok(Answer {
                status,
                body: body.to_bytes(),
            }),
            Err(error) if error.is::<LengthLimitError>() => Err(CallError::Long(answer_bytes_max)),
            Err(error) => Err(CallError::Broken(error)),
        }
    }

    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, CallError> {
        if let Some(mut open) = self.open.take()
            && open.ready().await.is_ok()
        {
            return Ok(self.open.insert(open));
        }
        let host = self.url.host_str().unwrap_or_default();
        let address = address_of(&self.url)
            .await
            .ok_or_else(|| CallError::Nowhere(host.to_owned()))?;
        let shown = &self.url[..Position::BeforeUsername];
        let shown = format!(
            "{shown}{}",
            &self.url[Position::BeforeHost..Position::AfterPort]
        );
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| CallError::Connect(shown, error))?;
        // A call is one small packet, and none is to wait for another.
        let _ = stream.set_nodelay(true);
        let (open, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::Broken(error.into()))?;
        tokio::spawn(connection);
        Ok(self.open.insert(open))
    }
}

/// An address that is refused, as it may be told: whoever mistypes one that holds a secret has typed the secret all the same.
pub fn shown(address: &str) -> String {
    if address.contains('@') {
        return "one with a user name or a password".to_owned();
    }
    // What follows is often a key.
    match address.find(['?', '#']) {
        Some(at) => format!("{:?}", format!("{}…", &address[..=at])),
        None => format!("{address:?}"),
    }
}

/// Where `url` leads, if that is known here.
pub async fn address_of(url: &Url) -> Option<SocketAddr> {
    let port = url.port_or_known_default()?;
    match url.host()? {
        Host::Ipv4(address) => Some((address, port).into()),
        Host::Ipv6(address) => Some((address, port).into()),
        Host::Domain(name) => tokio::net::lookup_host((name, port)).await.ok()?.next(),
    }
}

//! Who may do what: the administrator's token, and tokens with a name and a role from a file.
//!
//! A token comes in the header `Authorization`, and for a WebSocket, where a page can set no header, as a protocol that is
//! asked for. It never comes in a cookie: a page of another origin cannot send it along, and no answer here permits it to.
//!
//! Wrong tokens are answered ever more slowly, and each client may have few of them under way at once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use tokio::time::Instant;

use super::admin::AdminToken;
use super::clients::one_client;
use super::response::Problem;
use crate::tokens::{ADMINISTRATOR, Changes, Identity, TokenRole, Tokens};

/// The protocol that `/ws` speaks.
pub(super) const PROTOCOL: &str = "sluice";
/// What precedes the token, in base64url, among the protocols that a page asks for.
const PROTOCOL_TOKEN: &str = "bearer.";
/// What stands for a token that cannot be read: nobody's, as a file of tokens does not take its hash.
const NO_TOKEN: &[u8] = b"";

/// Wrong tokens that a client may send without being slowed ...
const FREE_FAILURES: u32 = 5;
/// ... then it waits this long, and twice as long each time ...
const DELAY_MIN: Duration = Duration::from_millis(125);
/// ... but not longer than this.
const DELAY_MAX: Duration = Duration::from_secs(1);
/// After so long without, one of them is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);
/// Wrong tokens of one client that may wait for their answer at once.
const WAITING_MAX: u32 = 8;
/// Clients that are remembered.
const CLIENTS_MAX: usize = 10_000;

/// What a call asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// A viewer where there is a file of tokens; else anyone may look, and personal data is hidden.
    ToRead,
    Role(TokenRole),
}

/// Knows the tokens.
#[derive(Debug)]
pub(crate) struct Access {
    administrator: Option<AdminToken>,
    tokens: Option<Tokens>,
    attempts: Attempts,
}

/// Whoever makes a call.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// `None` without a token.
    pub(super) identity: Option<Identity>,
    pub(super) client: IpAddr,
    pub(super) request_id: String,
}

impl Caller {
    /// Whether personal data may be shown.
    pub(super) fn sees_personal(&self) -> bool {
        self.identity.is_some()
    }

    pub(super) fn is_operator(&self) -> bool {
        let identity = self.identity.as_ref();
        identity.is_some_and(|identity| identity.role >= TokenRole::Operator)
    }

    pub(super) fn name(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.name)
    }
}

impl Access {
    pub(crate) fn new(administrator: Option<AdminToken>, tokens: Option<Tokens>) -> Self {
        Self {
            administrator,
            tokens,
            attempts: Attempts::default(),
        }
    }

    /// Lets a call pass whose caller may make it, and answers who that is.
    ///
    /// # Errors
    /// `Unauthorized` without a token where one is needed, `Forbidden` with one that is not known, `RoleTooLow`, and
    /// `TooManyAttempts`.
    pub(super) async fn check(
        &self,
        needs: Needs,
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Result<Option<Identity>, Problem> {
        let identity = match sent(headers) {
            Some(token) => Some(self.identify(&token, client).await?),
            None => None,
        };
        let role = match needs {
            Needs::Nothing => return Ok(identity),
            Needs::ToRead if self.tokens.is_none() => return Ok(identity),
            Needs::ToRead => TokenRole::Viewer,
            Needs::Role(role) => role,
        };
        match identity {
            Some(identity) if identity.role >= role => Ok(Some(identity)),
            Some(_) => Err(Problem::RoleTooLow(role)),
            None => Err(Problem::Unauthorized),
        }
    }

    async fn identify(&self, token: &[u8], client: IpAddr) -> Result<Identity, Problem> {
        let client = one_client(client);
        if self.attempts.waiting(client) >= WAITING_MAX {
            return Err(Problem::TooManyAttempts);
        }
        if let Some(identity) = self.find(token) {
            return Ok(identity);
        }
        self.attempts.failed(client, Instant::now()).wait().await;
        Err(Problem::Forbidden)
    }

    /// Whose token this is.
    fn find(&self, token: &[u8]) -> Option<Identity> {
        match &self.administrator {
            Some(administrator) if administrator.is(token) => Some(Identity {
                name: ADMINISTRATOR.to_owned(),
                role: TokenRole::Operator,
            }),
            _ => self.tokens.as_ref()?.find(token),
        }
    }

    /// Whether somebody of this name is an operator now.
    pub(super) fn is_operator(&self, name: &str) -> bool {
        if name == ADMINISTRATOR {
            return self.administrator.is_some();
        }
        let tokens = self.tokens.as_ref();
        tokens.and_then(|tokens| tokens.role_of(name)) >= Some(TokenRole::Operator)
    }

    /// What somebody who stays rests on: the token that these headers bring. `None` where no token can be taken back.
    pub(super) fn leave_to_stay(&self, headers: &HeaderMap) -> Option<LeaveToStay> {
        let token = sent(headers)?.into_owned();
        Some(LeaveToStay {
            identity: self.find(&token)?,
            token,
            changes: self.tokens.as_ref()?.changes(),
        })
    }

    /// Returns when somebody who stays may not any more: the token is gone from the file, or is another's.
    pub(super) async fn taken_back(&self, leave: &mut Option<LeaveToStay>) {
        let Some(leave) = leave else {
            return std::future::pending().await;
        };
        while self.find(&leave.token).as_ref() == Some(&leave.identity) {
            leave.changes.next().await;
        }
    }
}

/// What somebody who stays rests on.
#[derive(Debug)]
pub(super) struct LeaveToStay {
    token: Vec<u8>,
    identity: Identity,
    changes: Changes,
}

/// The token that a request brings.
fn sent(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        if values.next().is_some() {
            // Which of them counts, others on the way may see otherwise: none.
            return Some(Cow::Borrowed(NO_TOKEN));
        }
        let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
        return scheme
            .eq_ignore_ascii_case(b"Bearer ")
            .then(|| token.trim_ascii().into());
    }
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_TOKEN))
        .map(|token| match URL_SAFE_NO_PAD.decode(token) {
            Ok(token) => token.into(),
            Err(_) => Cow::Borrowed(NO_TOKEN),
        })
}

/// Whether a page asks for the protocol by its name: then the answer must name it.
pub(super) fn asks_for_protocol(headers: &HeaderMap) -> bool {
    let mut protocols = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    protocols.any(|protocol| protocol.trim() == PROTOCOL)
}

/// The wrong tokens of each client.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<Mutex<HashMap<IpAddr, Tries>>>);

#[derive(Debug)]
struct Tries {
    failures: u32,
    last: Instant,
    waiting: u32,
}

/// A wrong token that waits for its answer.
#[derive(Debug)]
struct Failed {
    attempts: Attempts,
    client: IpAddr,
    delay: Duration,
}

impl Attempts {
    fn waiting(&self, client: IpAddr) -> u32 {
        self.lock().get(&client).map_or(0, |tries| tries.waiting)
    }

    fn failed(&self, client: IpAddr, now: Instant) -> Failed {
        let mut clients = self.lock();
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, tries| tries.waiting > 0 || now - tries.last < FORGIVEN_AFTER);
        }
        // So many at once are taken for one.
        let is_known = clients.contains_key(&client);
        let client = if is_known || clients.len() < CLIENTS_MAX {
            client
        } else {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        };
        let tries = clients.entry(client).or_insert(Tries {
            failures: 0,
            last: now,
            waiting: 0,
        });
        let forgiven = (now - tries.last).as_secs() / FORGIVEN_AFTER.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        tries.failures = tries.failures.saturating_sub(forgiven).saturating_add(1);
        tries.last = now;
        tries.waiting += 1;
        Failed {
            attempts: self.clone(),
            client,
            delay: delay(tries.failures),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Tries>> {
        // Each critical section leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    async fn wait(self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        if let Some(tries) = self.attempts.lock().get_mut(&self.client) {
            tries.waiting -= 1;
        }
    }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES + 1) {
        None => Duration::ZERO,
        Some(more) => (DELAY_MIN * 2_u32.pow(more.min(8))).min(DELAY_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_is_found_where_it_may_stand() {
        for (value, token) in [
            ("Bearer correct-token", Some("correct-token")),
            ("bearer  correct-token", Some("correct-token")),
            ("", None),
            ("Bearer", None),
            ("Basic correct-token", None),
        ] {
            let headers = headers("authorization", value);
            assert_eq!(
                sent(&headers).as_deref(),
                token.map(str::as_bytes),
                "{value}"
            );
        }
        for (value, token) in [
            ("sluice, bearer.Y29ycmVjdC10b2tlbg", Some("correct-token")),
            ("bearer.Y29ycmVjdC10b2tlbg", Some("correct-token")),
            ("bearer.no+base64url", Some("")),
            ("sluice", None),
        ] {
            let headers = headers("sec-websocket-protocol", value);
            assert_eq!(
                sent(&headers).as_deref(),
                token.map(str::as_bytes),
                "{value}"
            );
        }
        assert_eq!(sent(&HeaderMap::new()), None);
        let mut two = headers("authorization", "Bearer correct-token");
        two.append(AUTHORIZATION, "Bearer another".parse().unwrap());
        assert_eq!(
            sent(&two).as_deref(),
            Some(&b""[..]),
            "no token is known by it"
        );
    }

    #[tokio::test]
    async fn a_call_needs_its_role() {
        let text = format!(
            "# people\nada viewer {}\ngrace operator {}\n",
            crate::tokens::hash(b"token-of-ada"),
            crate::tokens::hash(b"token-of-grace")
        );
        let tokens = Tokens::parse(&text).unwrap();
        let administrator = Some(AdminToken::from("token-of-today".to_owned()));
        let with_file = Access::new(administrator.clone(), Some(tokens));
        let without = Access::new(administrator, None);
        let ask = async |access: &Access, needs, token: Option<&str>| {
            let headers = match token {
                Some(token) => headers("authorization", &format!("Bearer {token}")),
                None => HeaderMap::new(),
            };
            let checked = access.check(needs, &headers, CLIENT).await;
            checked.map(|identity| identity.map(|identity| identity.name))
        };
        let read = Needs::ToRead;
        let change = Needs::Role(TokenRole::Operator);
        let ok = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(
            ask(&with_file, read, None).await,
            Err(Problem::Unauthorized)
        );
        assert_eq!(ask(&without, read, None).await, Ok(None));
        assert_eq!(
            ask(&without, change, None).await,
            Err(Problem::Unauthorized)
        );
        assert_eq!(ask(&with_file, read, Some("token-of-ada")).await, ok("ada"));
        let too_low = Err(Problem::RoleTooLow(TokenRole::Operator));
        assert_eq!(ask(&with_file, change, Some("token-of-ada")).await, too_low);
        assert_eq!(
            ask(&with_file, change, Some("token-of-grace")).await,
            ok("grace")
        );
        for access in [&with_file, &without] {
            let today = ask(access, change, Some("token-of-today")).await;
            assert_eq!(today, ok(ADMINISTRATOR));
            let wrong = ask(access, read, Some("token-of-nobody")).await;
            assert_eq!(wrong, Err(Problem::Forbidden));
        }
        assert_eq!(
            ask(&without, read, Some("token-of-ada")).await,
            Err(Problem::Forbidden)
        );
    }

    #[test]
    fn an_operator_is_one_as_long_as_the_file_says_so() {
        let text = format!(
            "ada viewer {}\ngrace operator {}\n",
            crate::tokens::hash(b"token-of-ada"),
            crate::tokens::hash(b"token-of-grace")
        );
        let access = Access::new(None, Some(Tokens::parse(&text).unwrap()));
        let is_operator =
            ["ada", "grace", "mary", ADMINISTRATOR].map(|name| access.is_operator(name));
        assert_eq!(is_operator, [false, true, false, false]);
        let today = Access::new(Some(AdminToken::from("token-of-today".to_owned())), None);
        assert!(today.is_operator(ADMINISTRATOR) && !today.is_operator("grace"));
    }

    #[test]
    fn wrong_tokens_are_slowed() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let delays: Vec<_> = (0..10)
            .map(|_| attempts.failed(CLIENT, start).delay.as_millis())
            .collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 125, 250, 500, 1000, 1000]);
        let other = attempts.failed(std::net::Ipv4Addr::LOCALHOST.into(), start);
        assert_eq!(other.delay, Duration::ZERO, "another client is not slowed");
        let later = attempts.failed(CLIENT, start + FORGIVEN_AFTER * 100);
        assert_eq!(later.delay, Duration::ZERO, "it is forgiven");
    }

    #[tokio::test]
    async fn few_may_wait_at_once() {
        let access = Access::new(Some(AdminToken::from("token-of-today".to_owned())), None);
        let now = Instant::now();
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| access.attempts.failed(CLIENT, now))
            .collect();
        let right = headers("authorization", "Bearer token-of-today");
        let ask = async || access.check(Needs::ToRead, &right, CLIENT).await.is_ok();
        assert!(!ask().await, "not even the right one is looked at");
        drop(waiting);
        assert!(ask().await);
    }

    #[test]
    fn the_memory_of_clients_is_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..CLIENTS_MAX as u32 + 100 {
            attempts.failed(IpAddr::V4((number + 1).into()), now);
        }
        assert!(attempts.lock().len() <= CLIENTS_MAX + 1);
    }
}

//! Who may do what an administrator does.
//!
//! The token comes in the header `Authorization` alone, never in a cookie: a page of another origin
//! cannot send it along, and no answer here permits it to.

use std::fmt;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::response::Problem;

/// The administrator's token. It is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

/// The shortest token that is taken.
const TOKEN_LEN_MIN: usize = 8;

impl AdminToken {
    /// Whether it can stand in a header and is long enough.
    pub fn is_good(&self) -> bool {
        self.0.len() >= TOKEN_LEN_MIN && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// A new one, of 244 random bits.
    pub fn random() -> Self {
        let half = || uuid::Uuid::new_v4().simple().to_string();
        Self(half() + &half())
    }

    /// The token itself: for the login link, which is printed once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Lets an administrator's request pass.
    ///
    /// # Errors
    /// `Unauthorized` without a token, `Forbidden` with another one.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let (scheme, token) = sent
            .and_then(|sent| sent.split_at_checked(b"Bearer ".len()))
            .ok_or(Problem::Unauthorized)?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return Err(Problem::Unauthorized);
        }
        // How long a comparison takes tells nothing but the length.
        if bool::from(token.trim_ascii().ct_eq(self.0.as_bytes())) {
            Ok(())
        } else {
            Err(Problem::Forbidden)
        }
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

impl From<String> for AdminToken {
    /// Takes any text: a message that refuses it must not repeat it, so it is checked later.
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Option<&str>) -> Result<(), Problem> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        AdminToken::from("correct-token".to_owned()).check(&headers)
    }

    #[test]
    fn only_the_token_passes() {
        assert_eq!(check(Some("Bearer correct-token")), Ok(()));
        assert_eq!(check(Some("bearer  correct-token")), Ok(()));
        for wrong in [
            "Bearer correct-toke",
            "Bearer correct-token2",
            "Bearer x",
            "Bearer correct token",
        ] {
            assert_eq!(check(Some(wrong)), Err(Problem::Forbidden), "{wrong}");
        }
        for none in [None, Some(""), Some("Bearer"), Some("Basic correct-token")] {
            assert_eq!(check(none), Err(Problem::Unauthorized), "{none:?}");
        }
    }

    #[test]
    fn it_is_not_printed() {
        let token = AdminToken::random();
        assert_eq!(token.expose().len(), 64);
        assert_ne!(token, AdminToken::random());
        assert!(!format!("{token:?}").contains(token.expose()));
        assert!(token.is_good());
        for bad in ["", "short", "with a space in it", "with-ümlauts"] {
            assert!(!AdminToken::from(bad.to_owned()).is_good(), "{bad}");
        }
    }
}

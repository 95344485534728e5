//! The administrator's token.

use std::fmt;

use subtle::ConstantTimeEq;

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

    /// Whether this is it.
    pub(crate) fn is(&self, token: &[u8]) -> bool {
        // How long a comparison takes tells nothing but the length.
        token.ct_eq(self.0.as_bytes()).into()
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
        Self(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_it() {
        let token = AdminToken::from("correct-token".to_owned());
        assert!(token.is(b"correct-token"));
        for wrong in ["correct-toke", "correct-token2", "x", "", "correct token"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
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

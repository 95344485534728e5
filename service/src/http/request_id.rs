//! Every request has an id: the client's, if it brought one that can stand in a log, else one made
//! here. The answer and the log name it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayString;
use hyper::Request;
use hyper::header::{HeaderName, HeaderValue};

pub(super) const NAME: HeaderName = HeaderName::from_static("x-request-id");
/// How much of the instance's name stands in an id.
const PREFIX_LEN: usize = 12;
/// Longest id that is made here: the instance, a hyphen, a number.
const ID_LEN_MAX: usize = PREFIX_LEN + 1 + 16;
/// Longest id that is taken over.
const LEN_MAX: usize = 64;

/// Makes ids: no two instances make the same.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(instance: &str) -> Self {
        Self {
            prefix: instance.chars().take(PREFIX_LEN).collect(),
            next: AtomicU64::default(),
        }
    }

    pub(super) fn of<B>(&self, request: &Request<B>) -> HeaderValue {
        match request.headers().get(NAME) {
            Some(brought) if is_sane(brought.as_bytes()) => brought.clone(),
            _ => self.make(),
        }
    }

    pub(super) fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = ArrayString::<ID_LEN_MAX>::new();
        write!(id, "{}-{number:x}", self.prefix).expect("it is long enough");
        HeaderValue::from_str(&id).expect("digits and letters")
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LEN_MAX).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(brought: Option<&[u8]>) -> String {
        let mut request = Request::new(());
        if let Some(brought) = brought {
            let value = HeaderValue::from_bytes(brought).unwrap();
            request.headers_mut().insert(NAME, value);
        }
        let ids = RequestIds::new("0123456789abcdef");
        ids.of(&request).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_sane_id_is_taken_over() {
        assert_eq!(id(Some(b"A-1.b_2")), "A-1.b_2");
        assert_eq!(id(Some(&[b'x'; 64])), "x".repeat(64));
        for other in [&b""[..], b"a b", b"a\tb", b"\xff", &[b'x'; 65], b"{}"] {
            assert_eq!(id(Some(other)), "0123456789ab-0");
        }
        assert_eq!(id(None), "0123456789ab-0");
    }
}

//! Which span of which trace something belongs to, and how that is written: W3C Trace Context.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The id of a trace.
pub type TraceId = [u8; 16];
/// The id of a span.
pub type SpanId = [u8; 8];

/// A span of a trace that is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

/// What a client says of its own span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The span.
    pub context: Context,
    /// Whether the client keeps its trace.
    pub is_sampled: bool,
}

impl Context {
    /// Bytes of one beside a loan.
    pub(crate) const LEN: usize = 24;

    /// The first span of the trace of the bundle with this name: the same in every process.
    pub(crate) fn of_bundle(name: &[u8]) -> Self {
        let trace_id = xxh3_128(name).to_be_bytes();
        let mut span_id = SpanId::default();
        span_id.copy_from_slice(&trace_id[..8]);
        Self { trace_id, span_id }
    }

    /// As it stands beside a loan.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..].copy_from_slice(&self.span_id);
        bytes
    }

    /// From what stands beside a loan.
    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (mut trace_id, mut span_id) = (TraceId::default(), SpanId::default());
        trace_id.copy_from_slice(&bytes[..16]);
        span_id.copy_from_slice(&bytes[16..]);
        Self { trace_id, span_id }
    }
}

/// As the header `traceparent` has it, sampled.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", Hex(&self.trace_id), Hex(&self.span_id))
    }
}

impl Parent {
    /// Reads a `traceparent`. `None` for what is none: such a header is taken for absent.
    pub fn read(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let version = digits::<1>(parts.next()?)?[0];
        let trace_id = digits(parts.next()?)?;
        let span_id = digits(parts.next()?)?;
        let flags = digits::<1>(parts.next()?)?[0];
        // A later version may have more behind it.
        let is_whole = version != 0 || parts.next().is_none();
        let is_good = is_whole && version != 0xff && trace_id != [0; 16] && span_id != [0; 8];
        is_good.then_some(Self {
            context: Context { trace_id, span_id },
            is_sampled: flags & 1 == 1,
        })
    }
}

/// Bytes in lower-case hexadecimal digits.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The bytes that lower-case hexadecimal digits stand for.
fn digits<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * LEN {
        return None;
    }
    let mut bytes = [0; LEN];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_comes_back_as_it_was() {
        let parent = Parent::read(GOOD).unwrap();
        assert!(parent.is_sampled);
        assert_eq!(parent.context.to_string(), GOOD);
        assert_eq!(
            Context::from_bytes(parent.context.to_bytes()),
            parent.context
        );
        let unsampled = GOOD.replace("-01", "-00");
        assert!(!Parent::read(&unsampled).unwrap().is_sampled);
        // A version that is not known yet, with more behind it.
        let later = format!("{}-more", GOOD.replacen("00", "cc", 1));
        assert_eq!(Parent::read(&later).unwrap().context, parent.context);
    }

    #[test]
    fn what_is_no_header_is_none() {
        let zeros = |from: usize, len: usize| {
            let mut text = GOOD.to_owned();
            text.replace_range(from..from + len, &"0".repeat(len));
            text
        };
        for wrong in [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            GOOD.replace("4bf9", "4bg9"),
            zeros(3, 32),
            zeros(36, 16),
            format!(" {GOOD}"),
            "é".repeat(30),
        ] {
            assert_eq!(Parent::read(&wrong), None, "{wrong}");
        }
    }
}

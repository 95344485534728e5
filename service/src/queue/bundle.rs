//! A bundle: the loans that one call admitted. How its content, its place in the line and its tickets lie in Redis.
//!
//! All numbers are big-endian. `functions.lua` reads and writes the same forms.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use crate::loan::Fingerprint;
use crate::telemetry::Context;

/// Version of the forms in this file and in `results.rs`.
pub(super) const VERSION: u8 = 2;
/// Version, when it was queued, loans in it.
const HEAD_LEN: usize = 1 + 8 + 2;
/// Length of the id, fingerprint, when its body was whole, attempt.
const LOAN_HEAD_LEN: usize = 1 + 16 + 8 + 4;
/// The bit of an id's length that says that the loan is traced, and that its context stands behind its head. An id has at most
/// 64 bytes, so the bit is free; a loan that is not traced takes no more room for it.
const TRACED: u8 = 0x80;
const NAME_LEN: usize = 12;
const PLACE_LEN: usize = NAME_LEN + 2 + 8;
const HOLDER_LEN: usize = 12;
/// An id's value: fingerprint, attempt, name of its bundle. A look-up's marker is shorter.
pub(super) const HELD_LEN: usize = 16 + 1 + NAME_LEN;
const TICKET_LEN: usize = PLACE_LEN + 1 + 8 + HOLDER_LEN;

/// A bundle's name: random, so that it stands for this content and no other, whatever Redis has gone through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name([u8; NAME_LEN]);

impl Name {
    /// A name that nobody has.
    pub fn random() -> Self {
        let bytes = *uuid::Uuid::new_v4().as_bytes();
        Self(bytes[..NAME_LEN].try_into().expect("16 bytes hold 12"))
    }

    /// A name that another call of the same number has too: what the fault run does to show that it would notice.
    pub(super) fn numbered(number: u64) -> Self {
        let mut bytes = [0; NAME_LEN];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    /// From the bytes that stand in Redis.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes that stand in Redis.
    pub(crate) fn as_bytes(&self) -> &[u8; NAME_LEN] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many loans a content says that it has; `None` where it is too short to say so.
pub(super) fn loans_of(content: &[u8]) -> Option<usize> {
    let loans = content.get(HEAD_LEN - 2..HEAD_LEN)?;
    Some(usize::from(u16::from_be_bytes([loans[0], loans[1]])))
}

/// Where an id belongs: its partition, and its bits in the filter of recorded ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash {
    partition: u32,
    word: u32,
    bits: u32,
}

impl IdHash {
    /// The hash of an id.
    pub fn of(loan_id: &str) -> Self {
        let hash = xxh3_128(loan_id.as_bytes());
        // Four of a word's 32 bits: with a word for each id, 1 in 600 unknown ids is taken for a known one. See
        // `functions.lua`; `tests/functions.rs` counts.
        let bits = (0..4).fold(0, |bits, n| bits | 1 << (hash >> (32 + 5 * n) & 31));
        Self {
            partition: (hash >> 96) as u32,
            word: hash as u32,
            bits,
        }
    }

    /// Its partition of `partitions`.
    pub(super) fn partition(self, partitions: usize) -> usize {
        self.partition as usize % partitions
    }

    /// Appends its head: word and bits.
    pub(super) fn put(self, heads: &mut Vec<u8>) {
        heads.put_u32(self.word);
        heads.put_u32(self.bits);
    }
}

/// One loan of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedLoan {
    /// Its id.
    pub loan_id: Box<str>,
    /// Its content's fingerprint.
    pub fingerprint: Fingerprint,
    /// When its body was whole, in microseconds since the Unix epoch.
    pub received_us: u64,
    /// 1 the first time, one more after each retry.
    pub attempt: u32,
    /// The span of its request, where it is traced.
    pub trace: Option<Box<Context>>,
    /// The body as it came.
    pub body: Bytes,
}

/// Loans that were admitted together. Its content never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its name.
    pub name: Name,
    /// When Redis took it, in milliseconds since the Unix epoch.
    pub queued_ms: u64,
    /// Its loans, in order.
    pub loans: Vec<QueuedLoan>,
}

/// What stands in Redis is not of the form that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// Nothing is there.
    #[error("its content is gone")]
    Missing,
    /// A version that this build does not know.
    #[error("its content is of version {0}, and this build knows version {VERSION}")]
    Version(u8),
    /// It ends too early, or goes on too long.
    #[error("its content is not whole")]
    Torn,
    /// It holds another number of loans or results than was noted.
    #[error("its content does not hold what was noted of it")]
    Mismatch,
}

/// Appends a loan as a bundle holds it.
pub(super) fn put_loan(
    loans: &mut Vec<u8>,
    loan_id: &str,
    fingerprint: Fingerprint,
    received_us: u64,
    attempt: u32,
    trace: Option<&Context>,
    body: &[u8],
) {
    let trace_len = trace.map_or(0, |_| Context::LEN);
    loans.put_u32((LOAN_HEAD_LEN + loan_id.len() + trace_len + body.len()) as u32);
    // An id has at most 64 bytes.
    loans.put_u8(loan_id.len() as u8 | trace.map_or(0, |_| TRACED));
    loans.put_slice(loan_id.as_bytes());
    loans.put_slice(fingerprint.as_bytes());
    loans.put_u64(received_us);
    loans.put_u32(attempt);
    if let Some(trace) = trace {
        loans.put_slice(&trace.to_bytes());
    }
    loans.put_slice(body);
}

impl Bundle {
    /// A bundle of one loan, as if it had been admitted alone.
    pub fn of_one(queued_ms: u64, loan: QueuedLoan) -> Self {
        Self {
            name: Name::random(),
            queued_ms,
            loans: vec![loan],
        }
    }

    /// Reads a bundle's content. The bodies share its memory.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(name: Name, content: Vec<u8>) -> Result<Self, Unreadable> {
        let mut rest = Bytes::from(content);
        let version = *rest.first().ok_or(Unreadable::Torn)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        if rest.len() < HEAD_LEN {
            return Err(Unreadable::Torn);
        }
        rest.advance(1);
        let queued_ms = rest.get_u64();
        let len = usize::from(rest.get_u16());
        let mut loans = Vec::with_capacity(len);
        while !rest.is_empty() {
            loans.push(read_loan(&mut rest).ok_or(Unreadable::Torn)?);
        }
        if loans.len() != len {
            return Err(Unreadable::Torn);
        }
        Ok(Self {
            name,
            queued_ms,
            loans,
        })
    }

    /// Bytes of the bodies and of what is kept for each loan.
    pub(super) fn memory_len(&self) -> usize {
        self.loans
            .iter()
            .map(|loan| loan.body.len() + loan.loan_id.len() + size_of::<QueuedLoan>())
            .sum()
    }
}

fn read_loan(rest: &mut Bytes) -> Option<QueuedLoan> {
    let len = rest.try_get_u32().ok()? as usize;
    if rest.len() < len {
        return None;
    }
    let mut loan = rest.split_to(len);
    let id_len = loan.try_get_u8().ok()?;
    let is_traced = id_len & TRACED != 0;
    let id_len = usize::from(id_len & !TRACED);
    let trace_len = if is_traced { Context::LEN } else { 0 };
    if loan.len() + 1 < LOAN_HEAD_LEN + id_len + trace_len {
        return None;
    }
    let id = loan.split_to(id_len);
    let fingerprint = loan.split_to(16);
    Some(QueuedLoan {
        loan_id: std::str::from_utf8(&id).ok()?.into(),
        fingerprint: Fingerprint::from_bytes(&fingerprint)?,
        received_us: loan.get_u64(),
        attempt: loan.get_u32(),
        trace: is_traced.then(|| {
            let mut trace = [0; Context::LEN];
            loan.copy_to_slice(&mut trace);
            Box::new(Context::from_bytes(trace))
        }),
        body: loan,
    })
}

/// Who holds a lease: the instance, and which of its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(pub(super) [u8; HOLDER_LEN]);

/// An instance: where it runs, and which start there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance([u8; 11]);

impl Instance {
    /// This start of the instance at `place`, such as its host and address. The next start at the same place frees
    /// what this one held.
    pub fn new(place: &str) -> Self {
        let place = xxh3_128(place.as_bytes()).to_be_bytes();
        let start = uuid::Uuid::new_v4();
        let mut bytes = [0; 11];
        bytes[..6].copy_from_slice(&place[..6]);
        bytes[6..].copy_from_slice(&start.as_bytes()[..5]);
        Self(bytes)
    }

    /// Its task of this number.
    pub fn holder(self, task: u8) -> Holder {
        let mut bytes = [task; HOLDER_LEN];
        bytes[..11].copy_from_slice(&self.0);
        Holder(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 11] {
        &self.0
    }

    /// Whether the instance of this id is at the same place: itself, or an earlier start.
    pub(super) fn is_at_place_of(&self, id: &[u8]) -> bool {
        id.starts_with(&self.0[..6])
    }
}

/// For people and for the other instances: short, and the same place begins alike.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[3..9]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A lease on a bundle: who shows it may decide the bundle, or record it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    bytes: Vec<u8>,
    /// The bundle.
    pub name: Name,
    /// Loans in it.
    pub len: usize,
    /// When Redis took it, in milliseconds since the Unix epoch.
    pub queued_ms: u64,
    /// How often it was given to a worker, this time included.
    pub deliveries: u8,
    /// Since when it is held, in milliseconds since the Unix epoch; 0 if nobody holds it.
    pub since_ms: u64,
}

impl Ticket {
    /// Reads a ticket, or a place in the line: a ticket that nobody holds.
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        if bytes.len() != TICKET_LEN && bytes.len() != PLACE_LEN {
            return None;
        }
        let mut rest = &bytes[..];
        let name = Name::from_bytes(&rest[..NAME_LEN])?;
        rest.advance(NAME_LEN);
        let len = usize::from(rest.get_u16());
        let queued_ms = rest.get_u64();
        let (deliveries, since_ms) = if rest.is_empty() {
            (0, 0)
        } else {
            (rest.get_u8(), rest.get_u64())
        };
        Some(Self {
            bytes,
            name,
            len,
            queued_ms,
            deliveries,
            since_ms,
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loan(id: &str, body: &'static str) -> QueuedLoan {
        QueuedLoan {
            loan_id: id.into(),
            fingerprint: Fingerprint::from_bytes(&[7; 16]).expect("16 bytes"),
            received_us: u64::MAX - 1,
            attempt: 3,
            trace: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn packed(loans: &[QueuedLoan]) -> Vec<u8> {
        let mut content = vec![VERSION];
        content.put_u64(1_700_000_000_000);
        content.put_u16(loans.len() as u16);
        for loan in loans {
            put_loan(
                &mut content,
                &loan.loan_id,
                loan.fingerprint,
                loan.received_us,
                loan.attempt,
                loan.trace.as_deref(),
                &loan.body,
            );
        }
        content
    }

    fn traced(loan: QueuedLoan) -> QueuedLoan {
        let trace = Some(Box::new(Context {
            trace_id: [0xab; 16],
            span_id: [0xcd; 8],
        }));
        QueuedLoan { trace, ..loan }
    }

    #[test]
    fn a_bundle_comes_back_as_it_was() {
        let loans = vec![
            loan("A", "{}"),
            loan(&"b".repeat(64), ""),
            loan("C", "{\"x\":1}"),
            traced(loan(&"d".repeat(64), "{}")),
            traced(loan("E", "")),
        ];
        let name = Name::random();
        let bundle = Bundle::read(name, packed(&loans)).expect("it is whole");
        assert_eq!(bundle.loans, loans);
        assert_eq!((bundle.name, bundle.queued_ms), (name, 1_700_000_000_000));
    }

    #[test]
    fn only_a_traced_loan_takes_more_room() {
        let len = |loan| packed(&[loan]).len();
        let plain = len(loan("A", "{}"));
        assert_eq!(len(traced(loan("A", "{}"))), plain + Context::LEN);
        // Version, instant, how many; length, length of the id, id, fingerprint, instant, attempt, body.
        assert_eq!(plain, 11 + 4 + 1 + 1 + 16 + 8 + 4 + 2);
    }

    #[test]
    fn what_is_no_bundle_is_told_apart() {
        let name = Name::random();
        let good = packed(&[loan("A", "{}"), traced(loan("B", "{}"))]);
        for len in 0..good.len() {
            assert!(Bundle::read(name, good[..len].to_vec()).is_err(), "{len}");
        }
        let mut newer = good.clone();
        newer[0] = 3;
        assert_eq!(Bundle::read(name, newer), Err(Unreadable::Version(3)));
        let mut longer = good;
        longer.push(0);
        assert_eq!(Bundle::read(name, longer), Err(Unreadable::Torn));
        for junk in [&b"junk"[..], &[VERSION; 40], &[0; 11]] {
            assert!(Bundle::read(name, junk.to_vec()).is_err());
        }
    }

    #[test]
    fn a_ticket_says_what_it_is_for() {
        let mut bytes = vec![9; NAME_LEN];
        bytes.put_u16(3);
        bytes.put_u64(77);
        let place = Ticket::read(bytes.clone()).expect("a place");
        assert_eq!((place.len, place.queued_ms, place.deliveries), (3, 77, 0));
        bytes.put_u8(2);
        bytes.put_u64(99);
        bytes.put_slice(&Instance::new("here").holder(1).0);
        let ticket = Ticket::read(bytes.clone()).expect("a ticket");
        assert_eq!((ticket.deliveries, ticket.since_ms), (2, 99));
        bytes.push(0);
        assert_eq!(Ticket::read(bytes), None);
    }
}

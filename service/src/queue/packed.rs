//! How a loan and a result lie in one field of a stream entry: fixed big-endian numbers, then the bytes.
//! One field costs Redis less than one for each part.

use bytes::{Buf, BufMut, Bytes};

use super::filter_hash;
use crate::error::ServiceError;
use crate::loan::Fingerprint;

const LOAN_HEAD_LEN: usize = 16 + 12 + 8 + 4;
const RESULT_HEAD_LEN: usize = 8;

/// A queued loan's field `l`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackedLoan {
    pub(super) fingerprint: Fingerprint,
    pub(super) received_us: u64,
    pub(super) attempt: u32,
    pub(super) body: Bytes,
}

impl PackedLoan {
    /// Packs into `buffer`, whose content is replaced.
    pub(super) fn pack(
        buffer: &mut Vec<u8>,
        loan_id: &str,
        fingerprint: Fingerprint,
        received_us: u64,
        attempt: u32,
        body: &[u8],
    ) {
        buffer.clear();
        buffer.reserve(LOAN_HEAD_LEN + body.len());
        buffer.put_slice(fingerprint.as_bytes());
        buffer.put_slice(&filter_hash(loan_id));
        buffer.put_u64(received_us);
        buffer.put_u32(attempt);
        buffer.put_slice(body);
    }

    pub(super) fn unpack(packed: Vec<u8>) -> Result<Self, ServiceError> {
        let mut body = Bytes::from(packed);
        if body.len() < LOAN_HEAD_LEN {
            return Err(ServiceError::RedisReply("a queued loan is too short"));
        }
        let fingerprint = body.split_to(16);
        body.advance(12);
        Ok(Self {
            fingerprint: Fingerprint::from_bytes(&fingerprint)
                .ok_or(ServiceError::RedisReply("a fingerprint has 16 bytes"))?,
            received_us: body.get_u64(),
            attempt: body.get_u32(),
            body,
        })
    }
}

/// Packs a result, field `r`, into `buffer`, whose content is replaced.
pub(super) fn pack_result(buffer: &mut Vec<u8>, received_us: u64, document: &[u8]) {
    buffer.clear();
    buffer.reserve(RESULT_HEAD_LEN + document.len());
    buffer.put_u64(received_us);
    buffer.put_slice(document);
}

/// A result's `received_us` and document.
pub(super) fn unpack_result(packed: Vec<u8>) -> Result<(u64, Vec<u8>), ServiceError> {
    let Some((head, _)) = packed.split_first_chunk::<RESULT_HEAD_LEN>() else {
        return Err(ServiceError::RedisReply("a result is too short"));
    };
    let received_us = u64::from_be_bytes(*head);
    let mut document = packed;
    document.drain(..RESULT_HEAD_LEN);
    Ok((received_us, document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loan_comes_back_as_it_was() {
        let mut packed = b"what was there before".to_vec();
        let fingerprint = Fingerprint::new(0x0102_0304);
        PackedLoan::pack(
            &mut packed,
            "A1",
            fingerprint,
            u64::MAX - 1,
            7,
            b"{\"loanId\":1}",
        );
        let loan = PackedLoan {
            fingerprint,
            received_us: u64::MAX - 1,
            attempt: 7,
            body: Bytes::from_static(b"{\"loanId\":1}"),
        };
        assert_eq!(PackedLoan::unpack(packed).expect("it is whole"), loan);
        assert!(PackedLoan::unpack(vec![0; LOAN_HEAD_LEN - 1]).is_err());
    }

    #[test]
    fn a_result_comes_back_as_it_was() {
        let mut packed = Vec::new();
        pack_result(&mut packed, 1_700_000_000_000_000, b"document");
        let (received_us, document) = unpack_result(packed).expect("it is whole");
        assert_eq!(
            (received_us, &document[..]),
            (1_700_000_000_000_000, &b"document"[..])
        );
        assert!(unpack_result(vec![0; RESULT_HEAD_LEN - 1]).is_err());
    }
}

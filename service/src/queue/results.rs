//! What a worker decided of a bundle, as Redis keeps it until MongoDB has it.
//!
//! Of an accepted loan only the few numbers that were computed are kept: the rest stands in its body. So the first
//! decision counts, also when a later version of the service would compute another.

use bytes::{Buf, BufMut};

use super::bundle::{Unreadable, VERSION};
use crate::enrich::{self, Enrichment, RiskBand};
use crate::loan::Cents;
use crate::validate::Failure;

/// What was decided of a bundle's loans, in their order, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// Since when the worker held it, in milliseconds since the Unix epoch.
    pub claimed_ms: u64,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub processed_ms: u64,
    /// For each loan.
    pub decisions: Vec<Decision>,
}

/// What was decided of one loan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It passed, and this was computed.
    Accepted(Enrichment),
    /// It failed.
    Failed(Failure),
}

const ACCEPTED: u8 = 0;
const FAILED: u8 = 1;
/// Stands for no debt-to-income ratio: no loan has this one.
const NO_RATIO: i64 = i64::MIN;

impl Results {
    /// The bytes that Redis keeps of them.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(17 + 19 * self.decisions.len());
        packed.put_u8(VERSION);
        packed.put_u64(self.claimed_ms);
        packed.put_u64(self.processed_ms);
        for decision in &self.decisions {
            match decision {
                Decision::Accepted(enrichment) => {
                    packed.put_u8(ACCEPTED);
                    packed.put_u8(enrichment.risk_band.number());
                    packed.put_u8(enrichment.decision.number());
                    packed.put_i64(enrichment.monthly_instalment.0);
                    packed.put_i64(enrichment.debt_to_income_basis_points.unwrap_or(NO_RATIO));
                }
                Decision::Failed(failure) => {
                    let text = serde_json::to_vec(failure).expect("plain data serialises");
                    packed.put_u8(FAILED);
                    packed.put_u32(text.len() as u32);
                    packed.put_slice(&text);
                }
            }
        }
        packed
    }

    /// Reads the results of a bundle of `len` loans.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(packed: &[u8], len: usize) -> Result<Self, Unreadable> {
        let mut rest = packed;
        let version = *rest.first().ok_or(Unreadable::Torn)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        rest.advance(1);
        let torn = |_| Unreadable::Torn;
        let claimed_ms = rest.try_get_u64().map_err(torn)?;
        let processed_ms = rest.try_get_u64().map_err(torn)?;
        let mut decisions = Vec::with_capacity(len);
        while !rest.is_empty() {
            decisions.push(read_decision(&mut rest).ok_or(Unreadable::Torn)?);
        }
        if decisions.len() != len {
            return Err(Unreadable::Mismatch);
        }
        Ok(Self {
            claimed_ms,
            processed_ms,
            decisions,
        })
    }
}

fn read_decision(rest: &mut &[u8]) -> Option<Decision> {
    match rest.try_get_u8().ok()? {
        ACCEPTED => {
            let risk_band = RiskBand::of_number(rest.try_get_u8().ok()?)?;
            let decision = enrich::Decision::of_number(rest.try_get_u8().ok()?)?;
            let monthly_instalment = Cents(rest.try_get_i64().ok()?);
            let ratio = rest.try_get_i64().ok()?;
            Some(Decision::Accepted(Enrichment {
                risk_band,
                decision,
                monthly_instalment,
                debt_to_income_basis_points: (ratio != NO_RATIO).then_some(ratio),
            }))
        }
        FAILED => {
            let len = rest.try_get_u32().ok()? as usize;
            let text = rest.get(..len)?;
            rest.advance(len);
            serde_json::from_slice(text).ok().map(Decision::Failed)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loan::{Category, Fault};

    #[test]
    fn results_come_back_as_they_were() {
        let enrichment = Enrichment {
            risk_band: RiskBand::C,
            decision: enrich::Decision::Refer,
            monthly_instalment: Cents(123_456),
            debt_to_income_basis_points: None,
        };
        let failure = Failure {
            category: Category::OutOfRange,
            faults: vec![Fault {
                field: "creditScore".into(),
                rule: "300 to 900".into(),
                category: Category::OutOfRange,
                value: "100".to_owned(),
            }],
            applicant_email: Some("a@example.org".to_owned()),
        };
        let results = Results {
            claimed_ms: 1,
            processed_ms: 2,
            decisions: vec![
                Decision::Accepted(enrichment.clone()),
                Decision::Failed(failure),
                Decision::Accepted(Enrichment {
                    debt_to_income_basis_points: Some(-3),
                    ..enrichment
                }),
            ],
        };
        let packed = results.pack();
        assert_eq!(Results::read(&packed, 3), Ok(results));
        assert_eq!(Results::read(&packed, 2), Err(Unreadable::Mismatch));
        for len in 0..packed.len() {
            assert!(Results::read(&packed[..len], 3).is_err(), "{len}");
        }
    }
}

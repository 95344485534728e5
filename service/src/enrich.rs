//! [`Loan`] -> what the lender wants to know of it. Pure, decimal arithmetic throughout.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, MathematicalOps, RoundingStrategy};

use crate::loan::{Cents, Loan};

/// Risk by credit score; each band has its annual rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RiskBand {
    /// 750 and above: 8.50 %.
    A,
    /// 700 to 749: 10.50 %.
    B,
    /// 650 to 699: 13.00 %.
    C,
    /// 600 to 649: 16.50 %.
    D,
    /// Below 600: 21.00 %.
    E,
}

impl RiskBand {
    /// The band of a credit score.
    pub fn of(credit_score: u32) -> Self {
        match credit_score {
            750.. => Self::A,
            700..=749 => Self::B,
            650..=699 => Self::C,
            600..=649 => Self::D,
            _ => Self::E,
        }
    }

    /// Every band, by number.
    const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::E];

    /// The number that stands for it in Redis.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The band of this number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its letter.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }

    /// Annual rate in basis points (1/100 of a percent).
    pub fn annual_rate_basis_points(self) -> u32 {
        match self {
            Self::A => 850,
            Self::B => 1_050,
            Self::C => 1_300,
            Self::D => 1_650,
            Self::E => 2_100,
        }
    }
}

/// What the service proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Bands A to C with a known burden of at most 40 % of the income.
    Approve,
    /// A human looks: band D, no known income, or a burden of 40 to 60 %.
    Refer,
    /// Band E, or a burden above 60 %.
    Decline,
}

impl Decision {
    /// Every decision, by number.
    const ALL: [Self; 3] = [Self::Approve, Self::Refer, Self::Decline];

    /// The number that stands for it in Redis.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The decision of this number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Refer => "refer",
            Self::Decline => "decline",
        }
    }
}

/// What is added to an accepted loan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrichment {
    /// By credit score.
    pub risk_band: RiskBand,
    /// Annuity for the band's rate, rounded to hundredths, half away from zero.
    pub monthly_instalment: Cents,
    /// Twelve instalments by the annual income, in basis points, rounded half away from zero.
    /// `None` without an income above 0.
    pub debt_to_income_basis_points: Option<i64>,
    /// What is proposed.
    pub decision: Decision,
}

/// Enriches a loan.
pub fn enrich(loan: &Loan) -> Enrichment {
    let risk_band = RiskBand::of(loan.credit_score);
    let monthly_instalment = annuity(
        loan.amount,
        risk_band.annual_rate_basis_points(),
        loan.term_months,
    );
    let debt_to_income_basis_points = loan
        .applicant
        .annual_income
        .filter(|income| income.0 > 0)
        .and_then(|income| {
            rounded(
                Decimal::from(monthly_instalment.0) * Decimal::from(120_000)
                    / Decimal::from(income.0),
            )
        });
    let decision = match (risk_band, debt_to_income_basis_points) {
        (RiskBand::E, _) | (_, Some(6_001..)) => Decision::Decline,
        (RiskBand::D, _) | (_, None | Some(4_001..)) => Decision::Refer,
        _ => Decision::Approve,
    };
    Enrichment {
        risk_band,
        monthly_instalment,
        debt_to_income_basis_points,
        decision,
    }
}

/// `P r / (1 - (1 + r)^-n)` with the monthly rate `r`: the instalment that pays `P` off in `n` months.
fn annuity(principal: Cents, annual_rate_basis_points: u32, months: u32) -> Cents {
    let rate = Decimal::from(annual_rate_basis_points) / Decimal::from(120_000);
    let growth = (Decimal::ONE + rate).powi(i64::from(months));
    // P r g / (g - 1): the same by g = (1 + r)^n, with one division.
    let instalment = Decimal::from(principal.0) * rate * growth / (growth - Decimal::ONE);
    Cents(rounded(instalment).expect("an instalment of at most 10,000,000 fits"))
}

fn rounded(value: Decimal) -> Option<i64> {
    value
        .round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
        .to_i64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::applicant::tests::ada;

    fn loan(amount: i64, term_months: u32, credit_score: u32, income: Option<i64>) -> Loan {
        Loan {
            amount: Cents(amount),
            currency: *b"DEM",
            term_months,
            purpose: "car".to_owned(),
            credit_score,
            applicant: ada(income.map(Cents)),
        }
    }

    /// 1,169.00 at 10.5 % a year over 6 months: r = 0.00875, instalment 200.843 (by hand).
    #[test]
    fn the_annuity_is_known() {
        assert_eq!(annuity(Cents(116_900), 1_050, 6), Cents(20_084));
        assert_eq!(annuity(Cents(1_200_000), 1_200, 1), Cents(1_212_000));
    }

    #[test]
    fn decisions_follow_band_and_burden() {
        let decision = |score, income| enrich(&loan(120_000, 12, score, income)).decision;
        assert_eq!(decision(760, Some(4_200_000)), Decision::Approve);
        assert_eq!(decision(760, None), Decision::Refer);
        assert_eq!(decision(760, Some(0)), Decision::Refer);
        assert_eq!(decision(620, Some(4_200_000)), Decision::Refer);
        assert_eq!(decision(599, Some(4_200_000)), Decision::Decline);
        assert_eq!(decision(760, Some(250_000)), Decision::Refer);
        assert_eq!(decision(760, Some(150_000)), Decision::Decline);
    }

    proptest! {
        /// Paying the instalment each month ends within a few hundredths for each month of nothing.
        #[test]
        fn instalments_pay_the_loan_off(amount in 100..=1_000_000_000i64, months in 1..=480u32, score in 300..=900u32) {
            let instalment = enrich(&loan(amount, months, score, None)).monthly_instalment;
            let rate = Decimal::from(RiskBand::of(score).annual_rate_basis_points()) / Decimal::from(120_000);
            let mut balance = Decimal::from(amount);
            let mut error = Decimal::ZERO;
            for _ in 0..months {
                balance += balance * rate - Decimal::from(instalment.0);
                error += error * rate + Decimal::ONE;
            }
            prop_assert!(balance.abs() <= error, "{balance} left, {error} allowed");
        }
    }
}

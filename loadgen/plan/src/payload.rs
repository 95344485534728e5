//! What each arrival sends: a pure function of seed, run tag and arrival number.
//!
//! The loans are real applications (see `scenarios/data/README.md`), each changed a little so that no two are the
//! same. The audit calls the same function again to learn what the record must hold, so nothing is kept per arrival.
//! Nothing here is shared with the service: the judge does not use the code that it judges.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::Deserialize;

use crate::kind::{Kind, Outcome};
use crate::mix::Mix;
use crate::random::mix64;

/// The applications, one per row.
const APPLICATIONS: &str = include_str!("../../../scenarios/data/german_credit.csv");
/// How far back a duplicate or a conflict may look for the loan that it repeats, from where it begins.
const BACK_MAX: u32 = 400;
/// A few dozen arrivals back it begins, so that the first one is answered in most cases and both orders are tried.
const BACK_FIRST: u32 = 60;
/// No arrival repeats one that is further back.
pub const REACH: u32 = BACK_FIRST + BACK_MAX;
/// How much more the amount of a conflict is than that of the loan whose id it has, in hundredths.
pub const CHANGED_BY_MINOR: i64 = 100;

/// What one arrival sends and what should become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Number of the arrival.
    pub number: u32,
    /// Number of the arrival that brought the id first: its own, unless it repeats another.
    pub owner: u32,
    /// What it is for.
    pub kind: Kind,
    /// The id in the body (also of a malformed one).
    pub loan_id: String,
    /// The bytes to send.
    pub body: Vec<u8>,
    /// What should become of it.
    pub outcome: Outcome,
    /// The values in the body, for comparison with the record.
    pub loan: Loan,
}

/// The values of one loan, before an invalid kind spoils one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of a loan; money in hundredths")]
pub struct Loan {
    pub amount_minor: i64,
    pub currency: &'static str,
    pub term_months: i32,
    pub purpose: String,
    pub credit_score: i32,
    pub name: String,
    pub email: String,
    pub phone: Option<String>,
    pub annual_income_minor: Option<i64>,
    pub age_years: Option<i32>,
    pub employment_years: Option<i32>,
}

/// A value of a field as its record keeps it. Money is in hundredths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// An integer.
    Whole(i64),
    /// A text.
    Text(Cow<'static, str>),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// How a field's value is written in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An integer.
    Whole,
    /// A number with up to two decimals, kept in hundredths.
    Money,
    /// A text.
    Text,
}

/// One field of a loan: its names in the request and in the record (the applicant's have a dot), and its value.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// In the request.
    pub sent: &'static str,
    /// In the record.
    pub stored: &'static str,
    /// How it is written in the request.
    pub form: Form,
    /// Whether every good loan has it.
    pub is_required: bool,
    /// Its value in a loan.
    pub of: fn(&Loan) -> Option<Kept>,
}

/// Every field of a loan but its id, in the order in which a request has them. What is sent, what a record must hold, and
/// what a stand-in of the service stores follow from it.
pub const FIELDS: [Field; 11] = {
    use Form::{Money, Text, Whole};
    [
        field("amount", "amountMinor", Money, true, |loan| {
            Some(Kept::Whole(loan.amount_minor))
        }),
        field("currency", "currency", Text, true, |loan| {
            text(Some(loan.currency))
        }),
        field("termMonths", "termMonths", Whole, true, |loan| {
            whole(Some(loan.term_months))
        }),
        field("purpose", "purpose", Text, true, |loan| {
            text(Some(&loan.purpose))
        }),
        field("creditScore", "creditScore", Whole, true, |loan| {
            whole(Some(loan.credit_score))
        }),
        field("applicant.name", "applicant.name", Text, true, |loan| {
            text(Some(&loan.name))
        }),
        field("applicant.email", "applicant.email", Text, true, |loan| {
            text(Some(&loan.email))
        }),
        field("applicant.phone", "applicant.phone", Text, false, |loan| {
            text(loan.phone.as_deref())
        }),
        field(
            "applicant.annualIncome",
            "applicant.annualIncomeMinor",
            Money,
            false,
            |loan| loan.annual_income_minor.map(Kept::Whole),
        ),
        field(
            "applicant.ageYears",
            "applicant.ageYears",
            Whole,
            false,
            |loan| whole(loan.age_years),
        ),
        field(
            "applicant.employmentYears",
            "applicant.employmentYears",
            Whole,
            false,
            |loan| whole(loan.employment_years),
        ),
    ]
};

const fn field(
    sent: &'static str,
    stored: &'static str,
    form: Form,
    is_required: bool,
    of: fn(&Loan) -> Option<Kept>,
) -> Field {
    Field {
        sent,
        stored,
        form,
        is_required,
        of,
    }
}

fn whole(number: Option<i32>) -> Option<Kept> {
    number.map(|number| Kept::Whole(number.into()))
}

fn text(text: Option<&str>) -> Option<Kept> {
    text.map(|text| Kept::Text(text.to_owned().into()))
}

#[derive(Clone, Debug, Deserialize)]
struct Application {
    amount: i64,
    term_months: i32,
    purpose: String,
    age_years: i32,
    installment_rate_percent: u8,
    credit_history: String,
    checking_account: String,
    savings_account: String,
    employed_since: String,
    property: String,
    housing: String,
    job: String,
    existing_credits: i32,
    creditability: String,
}

/// Makes the arrivals of one run.
#[derive(Clone, Debug)]
pub struct Payloads {
    seed: u64,
    tag: String,
    thresholds: [(Kind, f64); 8],
    applications: Vec<Application>,
}

impl Payloads {
    /// The arrivals of `mix` by `seed`. `tag` starts every id, so that runs on one database stay apart.
    pub fn new(seed: u64, tag: &str, mix: &Mix) -> Self {
        let mut sum = 0.0;
        let thresholds = mix.shares().map(|(kind, share)| {
            sum += share;
            (kind, sum)
        });
        let applications = csv::Reader::from_reader(APPLICATIONS.as_bytes())
            .deserialize()
            .collect::<Result<Vec<Application>, _>>()
            .expect("the embedded applications are well-formed");
        Self {
            seed,
            tag: tag.to_owned(),
            thresholds,
            applications,
        }
    }

    /// The prefix that the ids of this run share.
    pub fn prefix(&self) -> String {
        format!("{}-", self.tag)
    }

    /// The id that arrival `number` brings, if it brings one.
    pub fn loan_id(&self, number: u32) -> String {
        format!("{}-{number:08}", self.tag)
    }

    /// The arrival number in an id of this run; `None` for any other text.
    pub fn number_of(&self, loan_id: &str) -> Option<u32> {
        let digits = loan_id.strip_prefix(&self.tag)?.strip_prefix('-')?;
        (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    }

    /// What arrival `number` is for, and whose id it carries.
    pub fn kind_and_owner(&self, number: u32) -> (Kind, u32) {
        let drawn = self.drawn(number);
        if drawn.owns_its_id() {
            return (drawn, number);
        }
        let first = 1 + (self.random(number, 1) % u64::from(BACK_FIRST)) as u32;
        (first..first + BACK_MAX)
            .map_while(|back| number.checked_sub(back))
            .find(|earlier| self.drawn(*earlier) == Kind::Valid)
            .map_or((Kind::Valid, number), |owner| (drawn, owner))
    }

    fn drawn(&self, number: u32) -> Kind {
        let share = (self.random(number, 0) >> 11) as f64 / (1u64 << 53) as f64;
        self.thresholds
            .iter()
            .find(|(_, threshold)| share < *threshold)
            .map_or(Kind::Valid, |(kind, _)| *kind)
    }

    /// The arrival with that number.
    pub fn arrival(&self, number: u32) -> Arrival {
        let (kind, owner) = self.kind_and_owner(number);
        let mut loan = self.loan(owner);
        let loan_id = self.loan_id(owner);
        // Each kind walks through its variants, so that every field has its turn.
        let variant = self.random(number, 2) as usize;
        let mut fields = Fields::of(&loan_id, &loan, owner);
        let mut outcome = Outcome::Accepted;
        match kind {
            Kind::Valid | Kind::Duplicate | Kind::Retry => {}
            Kind::Conflict => {
                loan.amount_minor += CHANGED_BY_MINOR;
                fields = Fields::of(&loan_id, &loan, owner);
                outcome = Outcome::Refused;
            }
            Kind::Malformed => outcome = Outcome::Refused,
            Kind::MissingField => {
                let field = REQUIRED[variant % REQUIRED.len()];
                fields.remove(field);
                outcome = Outcome::Failed {
                    error_type: kind.name(),
                    field,
                };
            }
            Kind::WrongType | Kind::OutOfRange | Kind::InvalidFormat => {
                let spoilt: &[(&str, &str)] = match kind {
                    Kind::WrongType => &WRONG_TYPES,
                    Kind::OutOfRange => &OUT_OF_RANGE,
                    _ => &INVALID_FORMATS,
                };
                let (field, value) = spoilt[variant % spoilt.len()];
                fields.set(field, value);
                outcome = Outcome::Failed {
                    error_type: kind.name(),
                    field,
                };
            }
        }
        let mut body = fields.json().into_bytes();
        if kind == Kind::Malformed {
            body = break_json(body, variant);
        }
        Arrival {
            number,
            owner,
            kind,
            loan_id,
            body,
            outcome,
            loan,
        }
    }

    /// After how long a dropped request is dropped: 0 to 3 ms, so that some are dropped before the service has read
    /// them and some after it has queued them.
    pub fn drop_after(&self, number: u32) -> std::time::Duration {
        std::time::Duration::from_micros(self.random(number, 3) % 3000)
    }

    fn loan(&self, number: u32) -> Loan {
        let random = self.random(number, 4);
        let index =
            (u64::from(number).wrapping_mul(7) ^ self.seed) % self.applications.len() as u64;
        let row = &self.applications[index as usize];
        let given = GIVEN_NAMES[(random % GIVEN_NAMES.len() as u64) as usize];
        let family = FAMILY_NAMES[(random / 64 % FAMILY_NAMES.len() as u64) as usize];
        Loan {
            // Up to 99.99 more than the real application, so that loans differ.
            amount_minor: row.amount * 100 + (random >> 20) as i64 % 10_000,
            currency: "DEM",
            term_months: row.term_months,
            purpose: row.purpose.clone(),
            credit_score: row.credit_score(),
            name: format!("{} {}", given.0, family.0),
            email: format!("{}.{}.{number}@example.org", given.1, family.1),
            phone: random
                .is_multiple_of(3)
                .then(|| format!("+49 30 {:07}", random % 10_000_000)),
            annual_income_minor: (!random.is_multiple_of(5)).then(|| row.annual_income_minor()),
            age_years: (!random.is_multiple_of(7)).then_some(row.age_years),
            employment_years: (!random.is_multiple_of(11)).then(|| row.employment_years(random)),
        }
    }

    fn random(&self, number: u32, stream: u64) -> u64 {
        mix64(mix64(self.seed.wrapping_add(stream << 32)) ^ u64::from(number))
    }
}

impl Application {
    /// A score from what bears on credit, 300 to 900. The data has none; this one ranks the rows as a lender would.
    fn credit_score(&self) -> i32 {
        let mut score = 600;
        score += match self.credit_history.as_str() {
            text if text.starts_with("all credits at this bank") => 50,
            text if text.starts_with("critical") => -40,
            text if text.starts_with("delay") => -60,
            text if text.starts_with("existing") => 40,
            _ => 20,
        };
        score += match self.checking_account.as_str() {
            "... < 0 DM" => -50,
            "no checking account" => 10,
            text if text.starts_with("... >= 200") => 60,
            _ => 0,
        };
        score += match self.savings_account.as_str() {
            "... >= 1000 DM" => 60,
            "500 <= ... < 1000 DM" => 40,
            "100 <= ... < 500 DM" => 15,
            _ => 0,
        };
        score += match self.employed_since.as_str() {
            "... >= 7 years" => 45,
            "4 <= ... < 7 years" => 30,
            "unemployed" => -45,
            _ => 0,
        };
        score += i32::from(self.property == "real estate") * 20;
        score += i32::from(self.housing == "own") * 20;
        score += i32::from(self.job.starts_with("management")) * 15;
        score -= (self.existing_credits - 1) * 10;
        score += if self.creditability == "good" {
            40
        } else {
            -40
        };
        (score + self.age_years / 4).clamp(300, 900)
    }

    /// Some year of the band that the data names.
    fn employment_years(&self, random: u64) -> i32 {
        let (from, years) = match self.employed_since.as_str() {
            "... >= 7 years" => (7, 20),
            "4 <= ... < 7 years" => (4, 3),
            "1 <= ... < 4 years" => (1, 3),
            _ => (0, 1),
        };
        from + (random >> 40) as i32 % years
    }

    /// The income that makes the instalment the stated share of it, in hundredths a year, rounded to hundreds.
    fn annual_income_minor(&self) -> i64 {
        // The bands of the data: 1 is 35 % or more, 2 is 25 to 35, 3 is 20 to 25, 4 is below 20.
        let percent = match self.installment_rate_percent {
            1 => 38,
            2 => 30,
            3 => 22,
            _ => 15,
        };
        let instalment_minor = self.amount * 100 * 11 / (10 * i64::from(self.term_months.max(1)));
        instalment_minor * 12 * 100 / percent / 10_000 * 10_000 + 1_200_000
    }
}

/// The JSON fields of a body, in order, as JSON text. The applicant's have a dot in the name.
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn of(loan_id: &str, loan: &Loan, number: u32) -> Self {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let id = ("loanId", text(loan_id));
        let fields = FIELDS.iter().filter_map(|field| {
            let json = match ((field.of)(loan)?, field.form) {
                (Kept::Whole(minor), Form::Money) => decimal(minor, number),
                (Kept::Whole(whole), _) => whole.to_string(),
                (Kept::Text(value), _) => text(&value),
            };
            Some((field.sent, json))
        });
        Self(std::iter::once(id).chain(fields).collect())
    }

    fn remove(&mut self, field: &str) {
        self.0.retain(|(name, _)| *name != field);
    }

    fn set(&mut self, field: &'static str, value: &str) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((field, value.to_owned())),
        }
    }

    fn json(&self) -> String {
        let mut json = String::with_capacity(400);
        json.push('{');
        let mut inside = String::new();
        for (name, value) in &self.0 {
            let (target, name) = name
                .strip_prefix("applicant.")
                .map_or((&mut json, *name), |name| (&mut inside, name));
            write!(target, "\"{name}\":{value},").expect("a String takes all");
        }
        write!(json, "\"applicant\":{{{}}}}}", inside.trim_end_matches(','))
            .expect("a String takes all");
        json
    }
}

/// Hundredths as a JSON number. Now and then without the zeros that say nothing.
fn decimal(minor: i64, number: u32) -> String {
    if minor % 100 == 0 && number.is_multiple_of(2) {
        (minor / 100).to_string()
    } else {
        format!("{}.{:02}", minor / 100, minor % 100)
    }
}

/// Spoils a JSON body. Every variant is refused by any JSON parser, and starts like a loan.
fn break_json(mut body: Vec<u8>, variant: usize) -> Vec<u8> {
    match variant % 6 {
        // Cut short.
        0 => body.truncate(body.len() / 2),
        1 => body.truncate(body.len() - 1),
        // A comma too many.
        2 => body.insert(body.len() - 1, b','),
        // Text after the end.
        3 => body.extend_from_slice(b"}"),
        // Another quote.
        4 => body[1] = b'\'',
        // A number that is none.
        _ => {
            body.pop();
            body.extend_from_slice(br#","extra":01x}"#);
        }
    }
    body
}

const REQUIRED: [&str; 6] = [
    "amount",
    "termMonths",
    "purpose",
    "creditScore",
    "applicant.name",
    "applicant.email",
];

const WRONG_TYPES: [(&str, &str); 11] = [
    ("amount", "\"1169.00\""),
    ("amount", "true"),
    ("currency", "280"),
    ("termMonths", "\"24\""),
    ("purpose", "[\"education\"]"),
    ("creditScore", "{\"value\":700}"),
    ("applicant.name", "17"),
    ("applicant.email", "false"),
    ("applicant.annualIncome", "\"much\""),
    ("applicant.ageYears", "\"42\""),
    ("applicant.employmentYears", "\"4\""),
];

const OUT_OF_RANGE: [(&str, &str); 11] = [
    ("amount", "0"),
    ("amount", "-5.00"),
    ("amount", "10000000.01"),
    ("amount", "12.345"),
    ("termMonths", "0"),
    ("termMonths", "481"),
    ("creditScore", "299"),
    ("creditScore", "901"),
    ("applicant.ageYears", "17"),
    ("applicant.employmentYears", "61"),
    ("applicant.annualIncome", "-1"),
];

const INVALID_FORMATS: [(&str, &str); 6] = [
    ("currency", "\"QQQ\""),
    ("currency", "\"dem\""),
    ("purpose", "\"\""),
    (
        "purpose",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
    ),
    ("applicant.email", "\"no address\""),
    ("applicant.phone", "\"call me\""),
];

/// Given names as written and as they stand in an address.
const GIVEN_NAMES: [(&str, &str); 16] = [
    ("Anna", "anna"),
    ("Bernd", "bernd"),
    ("Claudia", "claudia"),
    ("Dieter", "dieter"),
    ("Elke", "elke"),
    ("Friedrich", "friedrich"),
    ("Gisela", "gisela"),
    ("Heinz", "heinz"),
    ("Ilse", "ilse"),
    ("Jürgen", "juergen"),
    ("Karin", "karin"),
    ("Lothar", "lothar"),
    ("Monika", "monika"),
    ("Norbert", "norbert"),
    ("Ursula", "ursula"),
    ("Wolfgang", "wolfgang"),
];

const FAMILY_NAMES: [(&str, &str); 16] = [
    ("Becker", "becker"),
    ("Fischer", "fischer"),
    ("Hoffmann", "hoffmann"),
    ("Jäger", "jaeger"),
    ("Klein", "klein"),
    ("Krüger", "krueger"),
    ("Lange", "lange"),
    ("Meyer", "meyer"),
    ("Müller", "mueller"),
    ("Neumann", "neumann"),
    ("Richter", "richter"),
    ("Schmidt", "schmidt"),
    ("Schröder", "schroeder"),
    ("Schulz", "schulz"),
    ("Weber", "weber"),
    ("Weiß", "weiss"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn mixed() -> Payloads {
        let tenth = 0.1;
        let mix = Mix {
            missing_field: tenth,
            wrong_type: tenth,
            out_of_range: tenth,
            invalid_format: tenth,
            malformed: tenth,
            duplicate: tenth,
            conflict: tenth,
            retry: tenth,
        };
        Payloads::new(7, "test", &mix)
    }

    #[test]
    fn every_kind_comes_and_covers_its_fields() {
        let payloads = mixed();
        let mut seen = BTreeSet::new();
        for number in 0..5000 {
            let arrival = payloads.arrival(number);
            let field = match arrival.outcome {
                Outcome::Failed { field, error_type } => {
                    assert_eq!(error_type, arrival.kind.name());
                    field
                }
                _ => "",
            };
            seen.insert((arrival.kind, field));
        }
        for kind in Kind::ALL {
            assert!(seen.iter().any(|(seen, _)| *seen == kind), "{kind}");
        }
        for field in REQUIRED {
            assert!(seen.contains(&(Kind::MissingField, field)), "{field}");
        }
        for (kind, spoilt) in [
            (Kind::WrongType, &WRONG_TYPES[..]),
            (Kind::OutOfRange, &OUT_OF_RANGE[..]),
            (Kind::InvalidFormat, &INVALID_FORMATS[..]),
        ] {
            for (field, _) in spoilt {
                assert!(seen.contains(&(kind, field)), "{kind} {field}");
            }
        }
    }

    #[test]
    fn shares_are_kept() {
        let payloads = Payloads::new(
            3,
            "t",
            &Mix {
                malformed: 0.25,
                ..Mix::default()
            },
        );
        let malformed = (0..10_000)
            .filter(|number| payloads.kind_and_owner(*number).0 == Kind::Malformed)
            .count();
        assert!((2300..2700).contains(&malformed), "{malformed}");
    }

    #[test]
    fn money_is_written_exactly() {
        assert_eq!(decimal(116_900, 1), "1169.00");
        assert_eq!(decimal(116_900, 2), "1169");
        assert_eq!(decimal(116_905, 2), "1169.05");
    }

    #[test]
    fn ids_are_read_back() {
        let payloads = mixed();
        assert_eq!(payloads.loan_id(12), "test-00000012");
        assert_eq!(payloads.number_of("test-00000012"), Some(12));
        for other in [
            "test-12",
            "tes-00000012",
            "test-0000001x",
            "test-000000+1",
            "",
        ] {
            assert_eq!(payloads.number_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn an_arrival_is_a_pure_function(number in 0u32..1_000_000) {
            let payloads = mixed();
            let arrival = payloads.arrival(number);
            prop_assert_eq!(&arrival, &payloads.arrival(number));
            let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&arrival.body);
            prop_assert_eq!(parsed.is_err(), arrival.kind == Kind::Malformed);
            if let Ok(body) = parsed {
                prop_assert_eq!(body["loanId"].as_str(), Some(arrival.loan_id.as_str()));
            }
            let original = payloads.arrival(arrival.owner);
            match arrival.kind {
                Kind::Duplicate => prop_assert_eq!(&arrival.body, &original.body),
                Kind::Conflict => {
                    prop_assert_ne!(&arrival.body, &original.body);
                    prop_assert_eq!(&arrival.loan_id, &original.loan_id);
                }
                _ => prop_assert_eq!(arrival.owner, number),
            }
            prop_assert!((300..=900).contains(&arrival.loan.credit_score));
            prop_assert!(arrival.loan.amount_minor > 0);
        }
    }
}

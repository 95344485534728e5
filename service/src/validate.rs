//! Body of a queued loan -> [`Loan`], or every fault of it. Pure.

use std::str::FromStr;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use crate::applicant::Applicant;
use crate::currency;
use crate::loan::{Category, Cents, Fault, Loan};
use crate::parse::{Document, Field, ObjectIndex, ParseError, shortened, with_parser};

/// Largest amount: 10,000,000.00.
const AMOUNT_MAX: Cents = Cents(1_000_000_000);
/// Largest income that is taken for one: 1,000,000,000,000.00.
const INCOME_MAX: Cents = Cents(100_000_000_000_000);

/// What validation found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The first by rank of the faults' categories.
    pub category: Category,
    /// Every fault, in the order of the fields. Never empty.
    pub faults: Vec<Fault>,
    /// The applicant's address, as far as it can be read.
    pub applicant_email: Option<String>,
}

/// Checks every rule of a loan.
///
/// # Errors
/// [`Failure`] with every fault, not the first alone.
pub fn validate(body: &[u8]) -> Result<Loan, Failure> {
    with_parser(|parser| parser.parse(body, |document, _| Ok(check(document))))
        .unwrap_or_else(|error| Err(unreadable(&error)))
}

/// Admission lets no such body in; one that stands in Redis all the same fails by this fault.
fn unreadable(error: &ParseError) -> Failure {
    Failure {
        category: Category::InvalidFormat,
        faults: vec![Fault {
            field: "$".into(),
            rule: "a JSON object".into(),
            category: Category::InvalidFormat,
            value: shortened(&error.to_string()),
        }],
        applicant_email: None,
    }
}

fn check(document: &Document<'_>) -> Result<Loan, Failure> {
    let root = document.root().map_err(|error| unreadable(&error))?;
    let mut faults = Faults::default();

    let amount = faults.amount("amount", document.member(root, "amount"));
    let currency = match document.member(root, "currency") {
        Field::Missing => Some(*b"INR"),
        field => faults
            .text("currency", "an ISO 4217 code", field)
            .and_then(|code| {
                faults.keep("currency", "an ISO 4217 code", code, currency::code(code))
            }),
    };
    let term_months = faults.integer(
        "termMonths",
        "an integer from 1 to 480",
        document.member(root, "termMonths"),
        1..=480,
    );
    let purpose = faults.bounded_text(
        "purpose",
        "1 to 64 characters",
        document.member(root, "purpose"),
        64,
    );
    let credit_score = faults.integer(
        "creditScore",
        "an integer from 300 to 900",
        document.member(root, "creditScore"),
        300..=900,
    );

    let applicant = match document.member(root, "applicant") {
        Field::Object(object) => Applicant::read(document, object, &mut faults),
        Field::Missing => {
            faults.add("applicant", "an object", Category::MissingField, "");
            None
        }
        other => {
            faults.add(
                "applicant",
                "an object",
                Category::WrongType,
                described(other),
            );
            None
        }
    };

    match (
        amount,
        currency,
        term_months,
        purpose,
        credit_score,
        applicant,
    ) {
        (
            Some(amount),
            Some(currency),
            Some(term_months),
            Some(purpose),
            Some(credit_score),
            Some(applicant),
        ) if faults.found.is_empty() => Ok(Loan {
            amount,
            currency,
            term_months,
            purpose,
            credit_score,
            applicant,
        }),
        _ => Err(Failure {
            category: faults
                .found
                .iter()
                .map(|fault| fault.category)
                .min()
                .expect("a field without a value has left a fault"),
            faults: faults.found,
            applicant_email: applicant_email(document, root),
        }),
    }
}

/// The applicant's address as it was sent, where there is one.
fn applicant_email(document: &Document<'_>, root: ObjectIndex) -> Option<String> {
    let Field::Object(applicant) = document.member(root, "applicant") else {
        return None;
    };
    match document.member(applicant, "email") {
        Field::Text(text) => Some(shortened(text)),
        _ => None,
    }
}

/// An optional field counts as absent when it is `null`.
pub(crate) fn optional<T>(field: Field<'_>, read: impl FnOnce(Field<'_>) -> T) -> Option<T> {
    match field {
        Field::Missing | Field::Null => None,
        field => Some(read(field)),
    }
}

/// What is wrong with a loan, as far as it was read.
#[derive(Default)]
pub(crate) struct Faults {
    found: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, field: &'static str, rule: &'static str, category: Category, value: &str) {
        self.found.push(Fault {
            field: field.into(),
            rule: rule.into(),
            category,
            value: shortened(value),
        });
    }

    /// `good`, or an `invalid_format` fault where there is none.
    pub(crate) fn keep<T>(
        &mut self,
        field: &'static str,
        rule: &'static str,
        value: &str,
        good: Option<T>,
    ) -> Option<T> {
        if good.is_none() {
            self.add(field, rule, Category::InvalidFormat, value);
        }
        good
    }

    pub(crate) fn text<'a>(
        &mut self,
        name: &'static str,
        rule: &'static str,
        field: Field<'a>,
    ) -> Option<&'a str> {
        match field {
            Field::Text(text) => return Some(text),
            Field::Missing => self.add(name, rule, Category::MissingField, ""),
            other => self.add(name, rule, Category::WrongType, described(other)),
        }
        None
    }

    pub(crate) fn bounded_text(
        &mut self,
        name: &'static str,
        rule: &'static str,
        field: Field<'_>,
        len_max: usize,
    ) -> Option<String> {
        let text = self.text(name, rule, field)?;
        // No text has more characters than bytes.
        let good = !text.trim_start().is_empty()
            && (text.len() <= len_max || text.chars().count() <= len_max);
        self.keep(name, rule, text, good.then(|| text.to_owned()))
    }

    fn number<'a>(
        &mut self,
        name: &'static str,
        rule: &'static str,
        field: Field<'a>,
    ) -> Option<&'a str> {
        match field {
            Field::Number(literal) => return Some(literal),
            Field::Missing => self.add(name, rule, Category::MissingField, ""),
            other => self.add(name, rule, Category::WrongType, described(other)),
        }
        None
    }

    fn in_range<T>(
        &mut self,
        name: &'static str,
        rule: &'static str,
        literal: &str,
        good: Option<T>,
    ) -> Option<T> {
        if good.is_none() {
            self.add(name, rule, Category::OutOfRange, literal);
        }
        good
    }

    fn amount(&mut self, name: &'static str, field: Field<'_>) -> Option<Cents> {
        let rule = "a number above 0, with at most 2 decimals, at most 10,000,000";
        let literal = self.number(name, rule, field)?;
        let good = cents(literal).filter(|&cents| Cents(0) < cents && cents <= AMOUNT_MAX);
        self.in_range(name, rule, literal, good)
    }

    pub(crate) fn income(&mut self, name: &'static str, field: Field<'_>) -> Option<Cents> {
        let rule = "a number from 0, with at most 2 decimals";
        let literal = self.number(name, rule, field)?;
        let good = cents(literal).filter(|&cents| Cents(0) <= cents && cents <= INCOME_MAX);
        self.in_range(name, rule, literal, good)
    }

    pub(crate) fn integer(
        &mut self,
        name: &'static str,
        rule: &'static str,
        field: Field<'_>,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let literal = self.number(name, rule, field)?;
        let good = scaled::<0>(literal)
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| range.contains(value));
        self.in_range(name, rule, literal, good)
    }
}

/// A short name for a value of the wrong type.
fn described(field: Field<'_>) -> &str {
    match field {
        Field::Missing => "",
        Field::Null => "null",
        Field::Text(text) => text,
        Field::Number(literal) => literal,
        Field::Boolean(true) => "true",
        Field::Boolean(false) => "false",
        Field::Array => "[...]",
        Field::Object(_) => "{...}",
    }
}

/// A money literal in hundredths; `None` if it has more than two decimals or is far too large.
fn cents(literal: &str) -> Option<Cents> {
    scaled::<2>(literal).map(Cents)
}

/// The number that a JSON literal stands for times 10 to the power of `DECIMALS`; `None` if that is no integer, or one of
/// more than 64 bits, or if the literal has more than 28 digits.
fn scaled<const DECIMALS: u32>(literal: &str) -> Option<i64> {
    match plain::<DECIMALS>(literal.as_bytes()) {
        Some(number) => Some(number),
        // What is not plain may still be an integer: 1.169e3, -0, 1169.000.
        None => by_decimal(literal, DECIMALS),
    }
}

/// As [`scaled`], of digits alone, at most `DECIMALS` of them behind a point, and few enough that nothing overflows. Nearly
/// every number is written so.
fn plain<const DECIMALS: u32>(literal: &[u8]) -> Option<i64> {
    if literal.len() > 15 {
        return None;
    }
    let mut number = 0;
    let mut decimals = None;
    for byte in literal {
        match byte {
            b'0'..=b'9' => number = number * 10 + i64::from(byte - b'0'),
            b'.' => {
                decimals = Some(0);
                continue;
            }
            _ => return None,
        }
        decimals = decimals.map(|decimals| decimals + 1);
    }
    let missing = DECIMALS.checked_sub(decimals.unwrap_or(0))?;
    Some(number * 10_i64.pow(missing))
}

fn by_decimal(literal: &str, decimals: u32) -> Option<i64> {
    let scaled = exact(literal)?.checked_mul(Decimal::from(10_i64.pow(decimals)))?;
    scaled.fract().is_zero().then(|| scaled.to_i64()).flatten()
}

/// The number that a JSON literal stands for, exactly; `None` if it has more than 28 digits.
fn exact(literal: &str) -> Option<Decimal> {
    if literal.bytes().filter(u8::is_ascii_digit).count() > 28 {
        return None;
    }
    if literal.contains(['e', 'E']) {
        Decimal::from_scientific(literal).ok()
    } else {
        Decimal::from_str(literal).ok()
    }
}

/// `local@domain.tld`, at most 254 bytes, no spaces or control characters. Whether mail arrives is not for this service to
/// say.
pub(crate) fn is_plausible_email(text: &str) -> bool {
    let Some(at) = text.bytes().rposition(|byte| byte == b'@') else {
        return false;
    };
    text.len() <= 254
        && is_plausible_local_part(&text[..at])
        && is_plausible_domain(&text[at + 1..])
}

/// 1 to 64 bytes; dots only between others.
fn is_plausible_local_part(local: &str) -> bool {
    let mut last = b'.';
    for byte in local.bytes() {
        let is_special = byte <= b' ' || byte == 0x7f || b"()<>[]:;@\\,\"".contains(&byte);
        if is_special || (byte == b'.' && last == b'.') {
            return false;
        }
        last = byte;
    }
    last != b'.'
        && local.len() <= 64
        && (local.is_ascii() || !local.chars().any(|c| c.is_whitespace() || c.is_control()))
}

/// Two labels or more, each of 1 to 63 bytes; hyphens only between others.
fn is_plausible_domain(domain: &str) -> bool {
    let mut labels = 1;
    let mut label_at = 0;
    let mut last = b'.';
    for (at, byte) in domain.bytes().enumerate() {
        match byte {
            b'.' if last != b'-' && (1..=63).contains(&(at - label_at)) => {
                labels += 1;
                label_at = at + 1;
            }
            b'-' if last != b'.' => {}
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | 0x80.. => {}
            _ => return false,
        }
        last = byte;
    }
    let is_good = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
    labels >= 2
        && last != b'-'
        && (1..=63).contains(&(domain.len() - label_at))
        && (domain.is_ascii() || domain.chars().all(is_good))
}

/// 5 to 20 digits, with an optional leading `+` and the usual separators.
pub(crate) fn is_plausible_phone(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    let mut digits = 0;
    for byte in rest.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b' ' | b'-' | b'(' | b')' | b'.' | b',' | b'/' => {}
            _ => return false,
        }
    }
    (5..=20).contains(&digits) && text.len() <= 40
}

#[cfg(test)]
pub(crate) mod tests;

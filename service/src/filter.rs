//! Which failed attempts: one filter for what is read, counted, exported and acted on.

use bson::DateTime;

use crate::api::FailureFilter;

/// Characters of a text in a filter.
const TEXT_LEN_MAX: usize = 256;
/// The last millisecond of the year 9999.
pub const INSTANT_MS_MAX: i64 = 253_402_300_799_999;

/// A filter whose parts are checked. Empty: every failed attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The loan's id begins so.
    pub loan_id: Option<String>,
    /// The applicant's address begins so, in any case.
    pub applicant: Option<String>,
    /// The category's name.
    pub error_type: Option<String>,
    /// A fault is in this field.
    pub field: Option<String>,
    /// A fault's rule begins so.
    pub rule: Option<String>,
    /// Failed at this instant or later.
    pub from: Option<DateTime>,
    /// Failed before this instant.
    pub to: Option<DateTime>,
    /// Only what waits.
    pub is_waiting: bool,
}

/// A part of a filter that breaks its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The part.
    pub name: &'static str,
    /// The rule.
    pub rule: &'static str,
}

impl Filter {
    /// Checks a filter as somebody sent it.
    ///
    /// # Errors
    /// The first part that breaks its rule.
    pub fn of(asked: &FailureFilter) -> Result<Self, Wrong> {
        let text = |name, text: &Option<String>, is_good: fn(&str) -> bool, rule| match text {
            Some(text) if !is_good(text) => Err(Wrong { name, rule }),
            text => Ok(text.clone()),
        };
        let at = |name, text: &Option<String>| {
            let read = text.as_deref().map(instant).transpose();
            read.map_err(|rule| Wrong { name, rule })
        };
        let plain = "1 to 256 characters, none of them a control character";
        let of_a_rule = "1 to 256 characters, none of them a control character or an @: look for a person by `applicant`";
        Ok(Self {
            loan_id: text(
                "loanId",
                &asked.loan_id,
                is_start_of_id,
                "1 to 64 characters of A-Z a-z 0-9 . _ : -",
            )?,
            applicant: text("applicant", &asked.applicant, is_plain, plain)?,
            error_type: text(
                "errorType",
                &asked.error_type,
                is_category,
                "1 to 64 characters of a-z and _, such as out_of_range",
            )?,
            field: text("field", &asked.field, is_of_a_rule, of_a_rule)?,
            rule: text("rule", &asked.rule, is_of_a_rule, of_a_rule)?,
            from: at("from", &asked.from)?,
            to: at("to", &asked.to)?,
            is_waiting: asked.waiting == Some(true),
        })
    }
}

fn is_start_of_id(text: &str) -> bool {
    crate::loan::LoanId::new(text).is_some()
}

fn is_category(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn is_plain(text: &str) -> bool {
    (1..=TEXT_LEN_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Fields and rules are shown to everybody and logged. None has an `@`, and whoever writes one has an address in mind.
fn is_of_a_rule(text: &str) -> bool {
    is_plain(text) && !text.contains('@')
}

/// RFC 3339, or milliseconds since the Unix epoch.
///
/// # Errors
/// The rule, in words.
pub fn instant(text: &str) -> Result<DateTime, &'static str> {
    let rule = "RFC 3339, such as 2026-01-31T12:00:00Z, or milliseconds since 1970";
    if let Some(at_ms) = plain_number(text) {
        return (at_ms <= INSTANT_MS_MAX)
            .then(|| DateTime::from_millis(at_ms))
            .ok_or(rule);
    }
    DateTime::parse_rfc3339_str(text).map_err(|_| rule)
}

/// A number of digits alone: no sign, no space.
pub fn plain_number(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_strictly() {
        let at = DateTime::from_millis(1_700_000_000_000);
        for good in [
            "1700000000000",
            "2023-11-14T22:13:20Z",
            "2023-11-14T23:13:20+01:00",
        ] {
            assert_eq!(instant(good), Ok(at), "{good}");
        }
        for wrong in [
            "",
            "-1",
            "1.5",
            "99999999999999999999",
            "253402300800000",
            "yesterday",
            "2023-11-14",
        ] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_part_has_its_rule() {
        let good = FailureFilter {
            loan_id: Some("GC-0".to_owned()),
            applicant: Some("Ada+1@".to_owned()),
            error_type: Some("refused_by_the_moon".to_owned()),
            field: Some("applicant.email".to_owned()),
            rule: Some("an integer".to_owned()),
            from: Some("0".to_owned()),
            to: Some("2026-01-31T12:00:00Z".to_owned()),
            waiting: Some(false),
        };
        assert!(Filter::of(&good).is_ok());
        assert_eq!(Filter::of(&FailureFilter::default()), Ok(Filter::default()));
        let set = |name: &str, text: &str| {
            let mut filter = FailureFilter::default();
            let part = match name {
                "loanId" => &mut filter.loan_id,
                "applicant" => &mut filter.applicant,
                "errorType" => &mut filter.error_type,
                "field" => &mut filter.field,
                "rule" => &mut filter.rule,
                "from" => &mut filter.from,
                _ => &mut filter.to,
            };
            *part = Some(text.to_owned());
            Filter::of(&filter).map_err(|wrong| wrong.name)
        };
        let long = "x".repeat(257);
        for (name, text) in [
            ("loanId", ""),
            ("loanId", "a b"),
            ("applicant", ""),
            ("applicant", "a\0"),
            ("applicant", &long),
            ("errorType", "Poison"),
            ("field", "a\nb"),
            ("rule", ""),
            ("from", "yesterday"),
            ("to", "-1"),
        ] {
            assert_eq!(set(name, text), Err(name), "{name} {text:?}");
        }
    }
}

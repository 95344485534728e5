use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({ "loanId": "GC-000001", "amount": 1169.5, "currency": "DEM", "termMonths": 6,
            "purpose": "radio/television", "creditScore": 712,
            "applicant": { "name": "Ada", "email": "ada@example.org", "phone": "+49 30 123456",
                           "annualIncome": 42000.00, "ageYears": 67 } })
}

/// `good()` with the value at `pointer` replaced (or removed, where `value` is `None`).
pub(crate) fn with(pointer: &str, value: Option<Value>) -> Result<Loan, Failure> {
    let mut loan = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = loan.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
    validate(&serde_json::to_vec(&loan).unwrap())
}

/// The value at `pointer` is the loan's only fault, and of this category.
#[track_caller]
pub(crate) fn fails(pointer: &str, value: impl Into<Option<Value>>, category: Category) {
    let value = value.into();
    let failure = with(pointer, value.clone()).expect_err(&format!("{pointer} = {value:?}"));
    assert_eq!(failure.category, category, "{pointer} = {value:?}");
    assert_eq!(failure.faults.len(), 1, "{failure:?}");
    assert_eq!(failure.faults[0].field, pointer[1..].replace('/', "."));
}

#[test]
fn a_good_loan_passes() {
    let loan = validate(good().to_string().as_bytes()).unwrap();
    assert_eq!(loan.amount, Cents(116_950));
    assert_eq!(loan.currency(), "DEM");
    assert_eq!(loan.applicant.annual_income, Some(Cents(4_200_000)));
    assert_eq!(with("/currency", None).unwrap().currency(), "INR");
}

#[test]
fn each_rule_fails_by_its_category() {
    use Category::{InvalidFormat, MissingField, OutOfRange, WrongType};
    for required in [
        "/amount",
        "/termMonths",
        "/purpose",
        "/creditScore",
        "/applicant",
    ] {
        fails(required, None, MissingField);
        fails(required, Value::Null, WrongType);
        fails(required, json!([1]), WrongType);
    }
    for number in ["/amount", "/termMonths", "/creditScore"] {
        fails(number, json!("12"), WrongType);
        fails(number, json!(true), WrongType);
        fails(number, json!(-1), OutOfRange);
        fails(number, json!(1e300), OutOfRange);
    }
    for value in [json!(0), json!(10_000_000.01), json!(1.005), json!(0.001)] {
        fails("/amount", value, OutOfRange);
    }
    for value in [json!(0), json!(481), json!(12.5)] {
        fails("/termMonths", value, OutOfRange);
    }
    for value in [json!(299), json!(901)] {
        fails("/creditScore", value, OutOfRange);
    }
    for value in ["", "dem", "XYZQ", "QQQ"] {
        fails("/currency", json!(value), InvalidFormat);
    }
    for value in ["", "  ", &"x".repeat(65)] {
        fails("/purpose", json!(value), InvalidFormat);
    }
}

#[test]
fn every_fault_is_told_and_the_first_by_rank_names_the_loan() {
    let body = br#"{"loanId":"A","amount":-1,"termMonths":"6","creditScore":712,
        "purpose":"","applicant":{"email":"ada"}}"#;
    let failure = validate(body).unwrap_err();
    assert_eq!(failure.category, Category::MissingField);
    let told: Vec<_> = failure
        .faults
        .iter()
        .map(|fault| (&*fault.field, fault.category.name()))
        .collect();
    assert_eq!(
        told,
        [
            ("amount", "out_of_range"),
            ("termMonths", "wrong_type"),
            ("purpose", "invalid_format"),
            ("applicant.name", "missing_field"),
            ("applicant.email", "invalid_format"),
        ]
    );
    assert_eq!(failure.applicant_email.as_deref(), Some("ada"));
}

#[test]
fn amounts_are_exact() {
    for (literal, hundredths) in [
        ("0.01", Some(1)),
        ("1169", Some(116_900)),
        ("1169.00", Some(116_900)),
        ("1.169e3", Some(116_900)),
        ("1169.10000", Some(116_910)),
        ("10000000", Some(1_000_000_000)),
        ("0.29", Some(29)),
        ("1169.001", None),
        ("1169.0000000000000001", None),
        ("1e-3", None),
        ("1e999999999", None),
        ("99999999999999999999999999999999", None),
        ("-0", Some(0)),
    ] {
        assert_eq!(cents(literal), hundredths.map(Cents), "{literal}");
    }
}

proptest! {
    #[test]
    fn money_round_trips(hundredths in 1..=1_000_000_000i64) {
        let literal = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        prop_assert_eq!(cents(&literal), Some(Cents(hundredths)));
    }

    /// The fast way of reading a number and the exact one find the same.
    #[test]
    fn plain_numbers_are_read_as_decimals_are(literal in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,4})?(e[0-3])?") {
        prop_assert_eq!(scaled::<2>(&literal), by_decimal(&literal, 2));
        prop_assert_eq!(scaled::<0>(&literal), by_decimal(&literal, 0));
    }

    #[test]
    fn never_panics(body in ".{0,300}") {
        let _ = validate(body.as_bytes());
    }

    #[test]
    fn never_panics_on_odd_values(pointer in prop::sample::select(vec!["/amount", "/termMonths", "/currency", "/applicant/email", "/applicant/annualIncome"]), value in any::<f64>(), text in ".{0,40}") {
        let _ = with(pointer, Some(json!(value)));
        let _ = with(pointer, Some(json!(text)));
    }
}

use proptest::prelude::*;

use super::*;

fn fingerprint(text: &str) -> Fingerprint {
    envelope(text.as_bytes())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .fingerprint
}

#[track_caller]
fn refused(body: impl AsRef<[u8]>) -> ParseError {
    envelope(body.as_ref()).expect_err("must be refused")
}

#[test]
fn same_content_has_one_fingerprint() {
    let plain = r#"{"loanId":"A1","amount":1169.00,"applicant":{"name":"Ada","tags":[1,2]}}"#;
    for same in [
        r#"{"amount":1169,"loanId":"A1","applicant":{"tags":[1,2],"name":"Ada"}}"#,
        r#" { "loanId" : "A1", "amount": 1.169e3, "applicant": {"name": "\u0041da", "tags": [1.0, 2]} } "#,
        r#"{"loanId":"A1","amount":11690E-1,"applicant":{"name":"Ada","tags":[0.1e1,2]}}"#,
    ] {
        assert_eq!(fingerprint(plain), fingerprint(same), "{same}");
    }
}

/// They stand in MongoDB and in Redis: a later version must find the same, or it takes a replay for another loan.
#[test]
fn fingerprints_stay_what_they_were() {
    for (body, kept) in [
        (
            r#"{"loanId":"FP-1","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567","annualIncome":42000.00,"ageYears":67}}"#,
            "ab7713e7ff9289d3d2870d321ec1a5fd",
        ),
        (
            r#"{"loanId":"FP-2","amount":-0.050e-3,"applicant":{"annualIncome":1e30,"annualIncom":0.0,"annualI":-0,"":null,"annualIncomes":[true,false,{}],"annualInz":"\u0000","annualI\u0000":"x"},"z":10.500,"y":100,"x":1.20e+2}"#,
            "d1e33a5db6115c8a719195f46aa0c016",
        ),
        (
            r#"{"loanId":"FP-3","n":[0,0.1,10,0.01e5,12e-400,9007199254740993,-7,0e7,1E2]}"#,
            "7dbf61fb47887c9e924c8eb927af302a",
        ),
    ] {
        assert_eq!(
            Some(fingerprint(body)),
            Fingerprint::from_hex(kept),
            "{body}"
        );
    }
}

#[test]
fn other_content_has_another_fingerprint() {
    let plain = r#"{"loanId":"A1","amount":1169.00,"applicant":{"name":"Ada","tags":[1,2]}}"#;
    for other in [
        r#"{"loanId":"A1","amount":1169.01,"applicant":{"name":"Ada","tags":[1,2]}}"#,
        r#"{"loanId":"A1","amount":-1169.00,"applicant":{"name":"Ada","tags":[1,2]}}"#,
        r#"{"loanId":"A1","amount":"1169.00","applicant":{"name":"Ada","tags":[1,2]}}"#,
        r#"{"loanId":"A1","amount":1169.0000000000000001,"applicant":{"name":"Ada","tags":[1,2]}}"#,
        r#"{"loanId":"A1","amount":1169.00,"applicant":{"name":"Ada","tags":[2,1]}}"#,
        r#"{"loanId":"A1","amount":1169.00,"applicant":{"name":"Ada","tags":[12]}}"#,
        r#"{"loanId":"A1","amount":1169.00,"applicant":{"name":"Ada"},"tags":[1,2]}"#,
    ] {
        assert_ne!(fingerprint(plain), fingerprint(other), "{other}");
    }
}

#[test]
fn each_fault_has_its_name() {
    assert!(matches!(refused(""), ParseError::Malformed(_)));
    assert!(matches!(refused("  \n"), ParseError::Malformed(_)));
    assert!(matches!(refused("{"), ParseError::Malformed(_)));
    assert!(matches!(
        refused(r#"{"loanId":"A1",}"#),
        ParseError::Malformed(_)
    ));
    assert!(matches!(
        refused(r#"{"loanId":"A1"} x"#),
        ParseError::Malformed(_)
    ));
    assert!(matches!(
        refused(r#"{"loanId":"A1"}{"#),
        ParseError::Malformed(_)
    ));
    assert_eq!(refused("[]"), ParseError::NotAnObject);
    assert_eq!(refused("\"text\""), ParseError::NotAnObject);
    assert_eq!(refused("17"), ParseError::NotAnObject);
    assert_eq!(refused("null"), ParseError::NotAnObject);
    assert_eq!(refused(b"{\"loanId\":\"\xff\"}"), ParseError::InvalidUtf8);
    assert_eq!(refused(r#"{"amount":1}"#), ParseError::InvalidLoanId);
    assert_eq!(refused(r#"{"loanId":7}"#), ParseError::InvalidLoanId);
    assert_eq!(refused(r#"{"loanId":"a b"}"#), ParseError::InvalidLoanId);
    assert_eq!(refused(r#"{"loanId":"."}"#), ParseError::InvalidLoanId);
    assert_eq!(refused(r#"{"loanId":".."}"#), ParseError::InvalidLoanId);
    assert_eq!(
        refused(r#"{"loanId":"A1","a":1,"\u0061":2}"#),
        ParseError::DuplicateKey("a".to_owned())
    );
    assert_eq!(
        refused(r#"{"loanId":"A1","x":[{"b":1,"b":1}]}"#),
        ParseError::DuplicateKey("b".to_owned())
    );
}

#[test]
fn a_syntax_fault_is_told_with_its_place() {
    for (body, told) in [
        ("{", "line 1 column 1"),
        (
            "{\"loanId\":\"A1\",}",
            "key must be a string at line 1 column 16",
        ),
        ("{\"loanId\":\"A1\"\n x", "line 2 column 2"),
        ("{\"loanId\":\"A1\",\"n\":01}", "invalid number"),
        ("{\"loanId\":\"A1\",\"n\":1e999999}", "too large"),
    ] {
        let told_in_fact = refused(body).to_string();
        assert!(told_in_fact.contains(told), "{body}: {told_in_fact}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        format!(
            r#"{{"loanId":"A1","x":{}{}}}"#,
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    assert!(envelope(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(refused(nested(JSON_DEPTH_MAX + 1)), ParseError::TooDeep);
    assert_eq!(refused(nested(30_000)), ParseError::TooDeep);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e15..1e15f64).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    /// Members, strings and number literals come back as serde_json reads them.
    #[test]
    fn agrees_with_serde_json(extra in json(), pretty: bool) {
        let document = serde_json::json!({"loanId": "A1", "extra": extra, "last": 12.5});
        let body = if pretty {
            serde_json::to_vec_pretty(&document).unwrap()
        } else {
            serde_json::to_vec(&document).unwrap()
        };
        let mut parser = Parser::default();
        parser.parse(&body, |parsed, _| {
            let root = parsed.root()?;
            assert_eq!(parsed.member(root, "last"), Field::Number("12.5"));
            match (parsed.member(root, "extra"), &document["extra"]) {
                (Field::Null, serde_json::Value::Null)
                | (Field::Array, serde_json::Value::Array(_))
                | (Field::Object(_), serde_json::Value::Object(_)) => {}
                (Field::Text(text), serde_json::Value::String(want)) => assert_eq!(text, want),
                (Field::Boolean(value), serde_json::Value::Bool(want)) => assert_eq!(value, *want),
                (Field::Number(literal), want) => assert_eq!(literal, want.to_string()),
                other => panic!("{other:?}"),
            }
            Ok(())
        }).unwrap();
        prop_assert!(envelope(&body).is_ok());
    }

    /// Nearly JSON is refused where serde_json refuses it, and only there.
    #[test]
    fn refuses_what_serde_json_refuses(
        number in "-?[0-9]{1,40}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{0,4})?",
        text in "[\"\\\\a-z0-9/\u{1}é]{0,8}",
        closing in "[\\]}, 0]{0,2}",
    ) {
        let body = format!(r#"{{"loanId":"A1","n":{number},"t":"{text}"{closing}}}"#);
        let mut parser = Parser::default();
        let ours = parser.parse(body.as_bytes(), |_, _| Ok(()));
        let theirs = serde_json::from_str::<serde_json::Value>(&body);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", body, ours, theirs);
    }

    /// Any bytes are taken or refused, and never a panic.
    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = envelope(&body);
    }
}

//! The kept corpus of the fuzz targets: the parser gives the same verdict as serde_json on each of them.

use std::path::Path;

#[path = "../fuzz/src/check.rs"]
#[expect(
    unreachable_pub,
    reason = "the fuzz targets call it from their own crate"
)]
mod check;

#[test]
fn the_parser_agrees_with_serde_json_on_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("the corpus can be read").path();
        check::parse(&std::fs::read(&path).expect("the input can be read"));
        count += 1;
    }
    assert!(count > 20, "{} holds {count} inputs", folder.display());
}

/// What a parser gets wrong first. Each is one that some parser takes, or refuses, against the rule.
#[test]
fn the_parser_agrees_with_serde_json_on_what_is_easily_got_wrong() {
    let loan = |member: &str| format!("{{\"loanId\":\"a\",{member}}}");
    let nested = |depth: usize| loan(&format!("\"a\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{}",
        "[]",
        "null",
        "\"loanId\"",
        "{\"loanId\":\"a\"}",
        "{\"loanId\":\"a\"} ",
        "{\"loanId\":\"a\"}}",
        "{\"loanId\":\"a\"}{}",
        "{\"loanId\":\"a\",}",
        "{\"loanId\":1}",
        "{\"loanId\":\"\"}",
        "{\"loanId\":\"\\u0061\"}",
        "{\"lo\\u0061nId\":\"a\"}",
        "{\"loanId\":\"a\",\"lo\\u0061nId\":\"a\"}",
        "\u{feff}{\"loanId\":\"a\"}",
        "{\"loanId\":\"a\"}\u{0}",
        "{\"loanId\":\"a\"\u{b}}",
        "{'loanId':'a'}",
        "{loanId:\"a\"}",
        "// a\n{\"loanId\":\"a\"}",
    ]
    .into_iter()
    .map(|body| body.as_bytes().to_vec())
    .collect();
    bodies.extend(
        [
            "\"n\":-0",
            "\"n\":00",
            "\"n\":01",
            "\"n\":-",
            "\"n\":+1",
            "\"n\":.5",
            "\"n\":5.",
            "\"n\":1e",
            "\"n\":1e5",
            "\"n\":1E+5",
            "\"n\":1e-400",
            "\"n\":1e308",
            "\"n\":1e309",
            "\"n\":-1e999",
            "\"n\":0x10",
            "\"n\":NaN",
            "\"n\":Infinity",
            "\"n\":1_000",
            "\"n\":18446744073709551615",
            "\"n\":18446744073709551616",
            "\"n\":-9223372036854775809",
            "\"n\":123456789012345678901234567890.123456789012345678901234567890",
            "\"n\":1e00000000000000000005",
            "\"n\":tru",
            "\"n\":True",
            "\"n\":nul",
            "\"n\":nulll",
            "\"n\":true1",
            "\"s\":\"\\u0000\"",
            "\"s\":\"\\ud800\"",
            "\"s\":\"\\udc00\"",
            "\"s\":\"\\ud800\\u0041\"",
            "\"s\":\"\\ud83d\\ude00\"",
            "\"s\":\"\\ud83d\"",
            "\"s\":\"\\x41\"",
            "\"s\":\"\\u00g0\"",
            "\"s\":\"\\u12\"",
            "\"s\":\"\u{1}\"",
            "\"s\":\"\u{7f}\"",
            "\"s\":\"tab\there\"",
            "\"s\":\"a\nb\"",
            "\"s\":\"\\'\"",
            "\"s\":\"\\/\"",
            "\"a\":[1,]",
            "\"a\":[,1]",
            "\"a\":[1 2]",
            "\"a\":[1",
            "\"a\":1]",
            "\"a\":{\"b\":1,\"b\":1}",
            "\"a\":{\"b\":{\"c\":1,\"c\":2}}",
            "\"a\":[{\"b\":1,\"b\":1}]",
            "\"\":1,\"\":2",
            "\"\":1",
            "\"a\"",
            "\"a\":",
            ":1",
            "1:1",
            "\"a\" 1",
            "\"a\"::1",
        ]
        .map(|member| loan(member).into_bytes()),
    );
    bodies.extend((28..36).map(|depth| nested(depth).into_bytes()));
    bodies.extend([100, 127, 128, 129, 1000, 30_000].map(|depth| nested(depth).into_bytes()));
    // Not UTF-8: a lone continuation, an overlong form, a surrogate, too high, cut off.
    for bytes in [
        &b"\x80"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xff",
    ] {
        bodies.push([b"{\"loanId\":\"a\",\"s\":\"", bytes, b"\"}"].concat());
        bodies.push([b"{\"loanId\":\"a\"}", bytes].concat());
    }
    // Lengths around the blocks that a parser reads at once.
    for length in (1..140).chain([255, 256, 257, 1023, 1024, 1025]) {
        bodies.push(loan(&format!("\"s\":\"{}\"", "x".repeat(length))).into_bytes());
        bodies.push(loan(&format!("\"s\":\"{}\\n\"", "x".repeat(length))).into_bytes());
        bodies.push(loan(&format!("\"n\":{}", "9".repeat(length))).into_bytes());
        bodies.push(format!("{}{}", " ".repeat(length), loan("\"a\":1")).into_bytes());
    }
    for body in bodies {
        check::parse(&body);
    }
}

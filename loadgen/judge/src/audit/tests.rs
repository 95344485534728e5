use plan::mix::Mix;
use plan::scenario::Scenario;
use record::ledger::Heard;
use record::sample::{Answer, Unknown};

use super::*;
use crate::stored::{alter, record_of};

const ACCEPTED: Outcome = Outcome::Accepted;
const FAILED: Outcome = Outcome::Failed {
    error_type: "out_of_range",
    field: "amount",
};
const QUEUED: Heard = Heard::new(Answer::Queued, false);
const REPLAYED: Heard = Heard::new(Answer::Replayed, false);
const CONFLICT: Heard = Heard::new(Answer::Refused(422), false);
const MALFORMED: Heard = Heard::new(Answer::Refused(400), false);
const TIMEOUT: Heard = Heard::new(Answer::Unknown(Unknown::Timeout), false);

fn answers(heard: &[Heard]) -> Answers {
    let mut answers = Answers::default();
    for heard in heard {
        answers.add(*heard);
    }
    answers
}

const fn found(loans: u8, failures: u8) -> Found {
    Found {
        loans,
        failures,
        doubled: false,
        content: Content::Original,
        wrong_fault: false,
        stuck: false,
        went_on: false,
    }
}

/// The faults of one loan, as words.
fn faults_of(
    outcome: Outcome,
    original: &[Heard],
    changed: &[Heard],
    found: Found,
) -> Vec<&'static str> {
    let judgement = classify(outcome, answers(original), answers(changed), found);
    [
        (judgement.lost, "lost"),
        (judgement.duplicated, "duplicated"),
        (judgement.unexpected, "unexpected"),
        (judgement.mismatched, "mismatched"),
        (judgement.stuck, "stuck"),
    ]
    .into_iter()
    .filter_map(|(is_one, name)| is_one.then_some(name))
    .collect()
}

#[test]
fn the_table_of_classes() {
    let none: [&str; 0] = [];
    let changed = |found: Found| Found {
        content: Content::Changed,
        ..found
    };
    let foreign = |found: Found| Found {
        content: Content::Foreign,
        ..found
    };
    let doubled = |found: Found| Found {
        doubled: true,
        ..found
    };
    let stuck = |found: Found| Found {
        stuck: true,
        ..found
    };
    let wrong_fault = Found {
        wrong_fault: true,
        ..found(0, 1)
    };

    // As it should be.
    assert_eq!(faults_of(ACCEPTED, &[QUEUED], &[], found(1, 0)), none);
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED, REPLAYED], &[], found(1, 0)),
        none
    );
    assert_eq!(faults_of(FAILED, &[QUEUED], &[], found(0, 1)), none);
    assert_eq!(
        faults_of(Outcome::Refused, &[MALFORMED], &[], found(0, 0)),
        none
    );
    assert_eq!(faults_of(ACCEPTED, &[], &[], found(0, 0)), none);
    // A correction after a failure: two attempts, two records.
    assert_eq!(faults_of(FAILED, &[QUEUED], &[], found(0, 2)), none);

    // Unknown is legal either way.
    assert_eq!(faults_of(ACCEPTED, &[TIMEOUT], &[], found(0, 0)), none);
    assert_eq!(faults_of(ACCEPTED, &[TIMEOUT], &[], found(1, 0)), none);
    assert_eq!(
        faults_of(Outcome::Refused, &[TIMEOUT], &[], found(0, 0)),
        none
    );

    // Lost, doubled, stuck.
    assert_eq!(faults_of(ACCEPTED, &[QUEUED], &[], found(0, 0)), ["lost"]);
    assert_eq!(
        faults_of(ACCEPTED, &[TIMEOUT, REPLAYED], &[], found(0, 0)),
        ["lost"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[], found(2, 0)),
        ["duplicated"]
    );
    assert_eq!(
        faults_of(FAILED, &[QUEUED], &[], doubled(found(0, 2))),
        ["duplicated"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[], stuck(found(0, 0))),
        ["stuck"]
    );

    // Stored against the answer.
    assert_eq!(faults_of(ACCEPTED, &[], &[], found(1, 0)), ["unexpected"]);
    assert_eq!(
        faults_of(Outcome::Refused, &[MALFORMED], &[], found(1, 0)),
        ["unexpected"]
    );

    // The wrong answer or the wrong record.
    assert_eq!(
        faults_of(Outcome::Refused, &[QUEUED], &[], found(0, 0)),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[MALFORMED], &[], found(0, 0)),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[], foreign(found(1, 0))),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[], found(0, 1)),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(FAILED, &[QUEUED], &[], found(1, 0)),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(FAILED, &[QUEUED], &[], wrong_fault),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[CONFLICT], &[], found(0, 0)),
        ["mismatched"]
    );

    // Conflicts: the first one stays, whichever it was.
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[CONFLICT], found(1, 0)),
        none
    );
    assert_eq!(
        faults_of(ACCEPTED, &[CONFLICT], &[QUEUED], changed(found(1, 0))),
        none
    );
    assert_eq!(
        faults_of(ACCEPTED, &[TIMEOUT], &[CONFLICT], found(1, 0)),
        none
    );
    assert_eq!(
        faults_of(ACCEPTED, &[TIMEOUT], &[QUEUED], changed(found(1, 0))),
        none
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[CONFLICT], changed(found(1, 0))),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[QUEUED], found(1, 0)),
        ["mismatched"]
    );
    assert_eq!(
        faults_of(ACCEPTED, &[QUEUED], &[MALFORMED], found(1, 0)),
        ["mismatched"]
    );
}

/// Ten arrivals in one second.
fn schedule() -> Schedule {
    let text =
        "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"1s\"\nrate = 10";
    let scenario = Scenario::parse(text, "t.toml".as_ref()).expect("a good scenario");
    Schedule::new(&scenario.phases, 1)
}

fn ledger(heard: &[Heard]) -> Ledger {
    Ledger {
        heard: heard.to_vec(),
    }
}

#[test]
fn every_fault_among_good_loans_is_found_and_told() {
    let payloads = Payloads::new(1, "t", &Mix::default());
    let mut findings = Findings::new(&payloads, 6);
    // 0 is good, 1 lost, 2 doubled, 3 changed, 4 refused and stored, and one was never sent.
    for number in [0, 2, 3, 4] {
        let mut record = record_of(&payloads.arrival(number));
        if number == 3 {
            alter(&mut record, "creditScore", 900);
        }
        assert_eq!(findings.loan(&record), Some(number));
    }
    let mut again = record_of(&payloads.arrival(2));
    "t-00000002#2".clone_into(&mut again.id);
    findings.loan(&again);
    assert_eq!(
        findings.loan(&StoredLoan {
            id: "t-00000099".to_owned(),
            attempt: 1,
            ..StoredLoan::default()
        }),
        None
    );
    let ledger = ledger(&[QUEUED, QUEUED, QUEUED, QUEUED, MALFORMED, QUEUED]);
    findings.stuck("t-00000005");
    let (audit, rows) = judge(&payloads, &schedule(), &ledger, &findings, None, 0);
    assert_eq!((audit.lost, audit.duplicated, audit.unexpected), (1, 1, 2));
    assert_eq!((audit.mismatched, audit.stuck), (2, 1));
    let lost = audit
        .examples
        .iter()
        .find(|example| example.class == AuditClass::Lost);
    let lost = lost.expect("an example of the lost one");
    assert_eq!(lost.loan_id, "t-00000001");
    assert!(
        lost.story
            .contains("due at 0.100 s, answered 202; stored nowhere"),
        "{}",
        lost.story
    );
    // Nothing could be read live, so nothing agrees.
    assert!(rows.iter().all(|row| !row.agree));
}

/// A loan that an operator has finished is at its end: another attempt of it is a fault, and each discard is counted.
#[test]
fn a_discarded_loan_does_not_go_on() {
    let went_on = |went_on| Found {
        went_on,
        ..found(0, 2)
    };
    let heard = [QUEUED];
    let none: [&str; 0] = [];
    assert_eq!(faults_of(FAILED, &heard, &[], went_on(false)), none);
    assert_eq!(
        faults_of(FAILED, &heard, &[], went_on(true)),
        ["mismatched"]
    );

    let payloads = Payloads::new(1, "t", &Mix::default());
    let failed = |attempt, discarded| StoredFailure {
        id: "t-00000000#1".to_owned(),
        attempt,
        discarded,
        ..StoredFailure::default()
    };
    let mut findings = Findings::new(&payloads, 1);
    findings.failure(&failed(1, false));
    findings.failure(&failed(2, true));
    assert!(!findings.of(0).went_on);
    findings.failure(&failed(3, false));
    assert!(findings.of(0).went_on);
}

#[test]
fn one_attempt_in_both_collections_is_doubled() {
    let payloads = Payloads::new(1, "t", &Mix::default());
    let mut findings = Findings::new(&payloads, 1);
    findings.loan(&record_of(&payloads.arrival(0)));
    findings.failure(&StoredFailure {
        id: "t-00000000#1".to_owned(),
        attempt: 1,
        error_type: "poison".to_owned(),
        ..StoredFailure::default()
    });
    let (audit, _) = judge(
        &payloads,
        &schedule(),
        &ledger(&[QUEUED]),
        &findings,
        None,
        0,
    );
    assert_eq!(audit.duplicated, 1);
}

#[test]
fn live_counters_agree_within_what_is_unknown() {
    let payloads = Payloads::new(1, "t", &Mix::default());
    let mut findings = Findings::new(&payloads, 2);
    findings.loan(&record_of(&payloads.arrival(0)));
    let ledger = ledger(&[Heard::new(Answer::Queued, true), TIMEOUT]);
    let before = Counters {
        admitted: 10,
        accepted: 10,
        recorded_loans: 10,
        ..Counters::default()
    };
    let mut after = Counters {
        admitted: 11,
        accepted: 11,
        recorded_loans: 11,
        replayed: 1,
        ..Counters::default()
    };
    let agree = |after: &Counters| {
        let counters = Some((&before, after));
        judge(&payloads, &schedule(), &ledger, &findings, counters, 2)
            .1
            .iter()
            .all(|row| row.agree)
    };
    assert!(agree(&after));
    after.replayed = 3;
    assert!(!agree(&after));
    after.replayed = 0;
    after.discarded = 1;
    assert!(!agree(&after), "nothing stored is discarded");
    after.discarded = 0;
    after.admitted = 12;
    assert!(!agree(&after));
}

#[test]
fn dues_are_found_in_any_order() {
    let schedule = schedule();
    let mut dues = Dues::new(&schedule);
    for number in [0, 3, 3, 9, 2] {
        let slot = dues.slot(number).expect("a slot");
        assert_eq!(slot.offset.as_millis(), u128::from(number) * 100);
    }
    assert_eq!(dues.slot(10), None);
}

#[test]
fn a_late_attempt_is_doubled_by_its_own_copy_only() {
    let payloads = Payloads::new(1, "t", &Mix::default());
    let mut findings = Findings::new(&payloads, 1);
    let doubled: Vec<bool> = [1, 8, 9, 100, 8, 100, 0]
        .map(|attempt| findings.note_attempt(0, attempt))
        .to_vec();
    assert_eq!(doubled, [false, false, false, false, true, true, false]);
}

#[test]
fn repeats_are_found_in_order_and_few_are_kept() {
    let mix = Mix {
        duplicate: 0.3,
        conflict: 0.3,
        ..Mix::default()
    };
    let payloads = Payloads::new(5, "GC-1", &mix);
    let arrivals = 20_000;
    let mut all: Vec<(u32, u32, Kind)> = (0..arrivals)
        .map(|number| {
            let (kind, owner) = payloads.kind_and_owner(number);
            (owner, number, kind)
        })
        .filter(|(owner, number, _)| owner != number)
        .collect();
    all.sort_unstable();
    let mut repeats = Repeats::of(&payloads, arrivals);
    let mut found = Vec::new();
    for owner in 0..arrivals {
        // Only some are asked for, as only some have an id of their own.
        if payloads.kind_and_owner(owner).1 == owner {
            let of = repeats.of_owner(owner);
            found.extend(of.into_iter().map(|(number, kind)| (owner, number, kind)));
        }
        assert!(repeats.ahead.len() <= 2 * REACH as usize);
    }
    assert!(found.len() > 5_000);
    assert_eq!(found, all);
}

/// Arrivals of a day at 500 a second.
const A_DAY: u32 = 43_200_000;

/// What the audit of a long run keeps. `SLUICE_ARRIVALS=1000000` for fewer.
#[test]
#[ignore = "a day of arrivals takes minutes"]
fn the_audit_of_a_day_is_small() {
    let arrivals = std::env::var("SLUICE_ARRIVALS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(A_DAY);
    let text = format!(
        "name = \"t\"\ndescription = \"t\"\n[[phase]]\nname = \"p\"\nduration = \"24h\"\nrate = {:?}",
        f64::from(arrivals) / 86_400.0
    );
    let scenario = Scenario::parse(&text, "t.toml".as_ref()).expect("a good scenario");
    let schedule = Schedule::new(&scenario.phases, 1);
    let mix = Mix {
        duplicate: 0.05,
        ..Mix::default()
    };
    let payloads = Payloads::new(1, "t", &mix);
    let arrivals = schedule.arrivals();
    let mut ledger = ledger(&vec![QUEUED; arrivals as usize]);
    let mut findings = Findings::new(&payloads, arrivals);
    let mut dues = Dues::new(&schedule);
    for number in 0..arrivals {
        if payloads.kind_and_owner(number).1 == number {
            let owner = findings.loan(&record_of(&payloads.arrival(number)));
            assert_eq!(
                owner
                    .and_then(|owner| dues.slot(owner))
                    .map(|slot| slot.number),
                Some(number)
            );
        } else {
            ledger.heard[number as usize] = REPLAYED;
        }
    }
    let (audit, _) = judge(&payloads, &schedule, &ledger, &findings, None, 0);
    assert_eq!(audit.recorded, audit.acknowledged);
    assert!(audit.recorded > u64::from(arrivals) / 10 * 9);
    assert!(audit.examples.is_empty(), "{:?}", audit.examples);
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = peak.expect("the most memory that this process had");
    let kib: u64 = peak
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number of KiB");
    println!(
        "{arrivals} arrivals, {} records: {} MiB",
        audit.recorded,
        kib / 1024
    );
    // A byte for what was heard, two for what was found, and this process itself.
    assert!(kib * 1024 < 3 * u64::from(arrivals) + (64 << 20), "{peak}");
}

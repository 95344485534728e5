//! The transitions of a loan in Redis, one by one, on a real Redis.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use redis::FromRedisValue;
use service::clock::now_ms;
use service::enrich::{self, Enrichment, RiskBand};
use service::error::ServiceError;
use service::loan::{Category, Cents, Fault, Fingerprint, LoanId};
use service::queue::admission::Admission::{Admitted, Conflict, Full, MayBeRecorded, Replayed};
use service::queue::admission::{
    Admission, Admitted as AdmittedBatch, Arrival, Entry, Known, LookUp, Marker,
};
use service::queue::bundle::{Holder, IdHash, Instance, Name, Ticket, Unreadable};
use service::queue::claim::{Claimed, Decided, SetAside};
use service::queue::control::Mended;
use service::queue::filter::{Ids, Rebuilding};
use service::queue::recording::{Confirmed, Content, Freed};
use service::queue::refusal::Refusal;
use service::queue::results::{Decision, Results};
use service::queue::state::Whereabouts;
use service::queue::{Partition, Queue};
use service::validate::Failure;
use support::{PATIENCE, held_ids, key, lengths, pending, redis, redis_counters, wait_until};
use testbed::{RedisOptions, RedisServer, Servers};

const NO_BOUND: u64 = u64::MAX >> 12;
/// A lease that does not run out while a test runs.
const HELD: Duration = Duration::from_secs(3600);
/// A lease that has run out when the next call comes.
const RUN_OUT: Duration = Duration::ZERO;

async fn start_redis() -> RedisServer {
    RedisServer::start(&Servers::discover().unwrap(), RedisOptions::default())
        .await
        .unwrap()
}

/// A queue of one partition beside a MongoDB that is empty: its filter is complete.
async fn start() -> (RedisServer, Queue) {
    let server = start_redis().await;
    let queue = queue_at(&server, 1);
    complete_filter(&mut queue.partition(0)).await;
    (server, queue)
}

/// A queue whose memory of bundles is its own, as another process has it.
fn queue_at(server: &RedisServer, partitions: u32) -> Queue {
    Queue::new(&server.url(), partitions).unwrap()
}

async fn complete_filter(partition: &mut Partition) {
    let rebuilding = partition.start_rebuilding().await.unwrap();
    let rebuilding = rebuilding.expect("nobody else is at it");
    assert!(fill(partition, &rebuilding, &Ids::default(), true).await);
}

async fn fill(
    partition: &mut Partition,
    rebuilding: &Rebuilding,
    ids: &Ids,
    is_last: bool,
) -> bool {
    let filled = partition.fill_filter(rebuilding, ids, is_last);
    filled.await.unwrap()
}

fn arrival(number: u64, content: u8) -> Arrival {
    let id = support::loan_id(number);
    Arrival {
        hash: IdHash::of(&id),
        loan_id: LoanId::new(&id).unwrap(),
        fingerprint: Fingerprint::from_bytes(&[content; 16]).unwrap(),
        received_us: 1_700_000_000_000_000 + number,
        attempt: 1,
        trace: None,
        body: Bytes::from(format!("body {number} {content}")),
    }
}

fn holder(place: &str) -> Holder {
    Instance::new(place).holder(0)
}

async fn admit(
    partition: &mut Partition,
    entry: Entry,
    arrivals: &[(Arrival, Known)],
    backlog_max: u64,
) -> Vec<Admission> {
    let admitted = partition.admit(entry, arrivals, backlog_max, PATIENCE);
    admitted.await.unwrap().outcomes
}

async fn admit_one(partition: &mut Partition, arrival: Arrival, known: Known) -> Admission {
    let mut outcomes = admit(partition, Entry::New, &[(arrival, known)], NO_BOUND).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Admits the loans of `numbers`, which nobody knows yet, as one bundle.
async fn admit_all(partition: &mut Partition, numbers: Range<u64>) {
    let arrivals: Vec<_> = numbers
        .map(|number| (arrival(number, 1), Known::Nothing))
        .collect();
    let outcomes = admit(partition, Entry::New, &arrivals, NO_BOUND).await;
    assert_eq!(outcomes, vec![Admission::Admitted; arrivals.len()]);
}

/// Admits each of the loans of `numbers` as a bundle of its own.
async fn admit_each(partition: &mut Partition, numbers: Range<u64>) {
    for number in numbers {
        admit_all(partition, number..number + 1).await;
    }
}

/// A step of a task that is done again has the markers that it took; nobody else has, and no retry gets by.
#[tokio::test]
async fn a_step_that_is_done_again_has_its_markers() {
    let (_server, queue) = start().await;
    let mut partition = queue.partition(0);
    let mut ask = async |known: Known| {
        let second = Arrival {
            attempt: 2,
            ..arrival(0, 1)
        };
        admit(&mut partition, Entry::Retry, &[(second, known)], NO_BOUND)
            .await
            .remove(0)
    };
    let step = |number| Known::NotRecordedFor(Marker::of("a-task", number));
    let is_marked = |outcome: Admission| matches!(outcome, Admission::LookUp(_));
    assert!(is_marked(ask(step(1)).await));
    assert!(is_marked(ask(step(1)).await), "the same step again");
    assert_eq!(ask(step(2)).await, Admission::Busy);
    let other = Known::NotRecordedFor(Marker::of("another", 1));
    assert_eq!(ask(other).await, Admission::Busy);
    assert_eq!(ask(Known::NotRecorded).await, Admission::Busy);
    partition
        .answered(0, &[&arrival(0, 1).loan_id], PATIENCE)
        .await
        .unwrap();
    let mut partition = queue.partition(0);
    let second = [(arrival(0, 1), Known::NotRecorded)];
    let outcome = admit(&mut partition, Entry::Retry, &second, NO_BOUND).await;
    assert!(is_marked(outcome[0].clone()), "{outcome:?}");
}

/// A key of a wrong type stops a call in its middle, and Redis takes nothing back. No loan is then between two keys: what
/// was not answered can be sent again, and what was answered goes on once the key is right.
#[tokio::test]
async fn a_key_of_a_wrong_type_loses_no_loan() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let spoil = async |name: &str| {
        let key = key(&server, name).await;
        let there: u64 = redis(&server, &["EXISTS", &key]).await;
        assert_eq!(there, 0, "{name}: nothing is lost by what the test does");
        let _: () = redis(&server, &["SET", &key, "of another hand"]).await;
    };
    let mend = async |name: &str| {
        let _: u64 = redis(&server, &["DEL", &key(&server, name).await]).await;
    };
    for name in ["waiting", "bundles", "ids"] {
        spoil(name).await;
        let arrivals = [(arrival(0, 1), Known::Nothing)];
        let refused = partition
            .admit(Entry::New, &arrivals, NO_BOUND, PATIENCE)
            .await;
        assert!(refused.is_err(), "{name}: {refused:?}");
        mend(name).await;
    }
    let left: u64 = redis(&server, &["EXISTS", &key(&server, "bundles").await]).await;
    assert_eq!(left, 0, "nothing of what was not admitted stays");
    let again = admit_one(&mut partition, arrival(0, 1), Known::Nothing).await;
    assert_eq!(again, Admission::Admitted, "it is not known");
    for name in ["tickets", "claimed"] {
        spoil(name).await;
        assert!(
            partition.claim(holder("w"), HELD, 1).await.is_err(),
            "{name}"
        );
        mend(name).await;
    }
    let claimed = claim_one(&mut partition, holder("w"), RUN_OUT).await;
    for name in ["results", "decided"] {
        spoil(name).await;
        let results = results(vec![accepted()]);
        let decided = [Decided {
            ticket: &claimed.ticket,
            results: &results,
        }];
        assert!(partition.decide(&decided).await.is_err(), "{name}");
        mend(name).await;
        let _: u64 = redis(&server, &["DEL", &key(&server, "results").await]).await;
    }
    // Whoever held it may be gone: another has it.
    let claimed = claim_one(&mut partition, holder("w2"), HELD).await;
    assert!(accept(&mut partition, &claimed).await);
    assert_eq!(record_all(&mut partition).await, [1, 0]);
}

async fn look_up_of(partition: &mut Partition, arrival: Arrival) -> LookUp {
    match admit_one(partition, arrival, Known::NotRecorded).await {
        Admission::LookUp(look_up) => look_up,
        other => panic!("{other:?}"),
    }
}

fn accepted() -> Decision {
    Decision::Accepted(Enrichment {
        risk_band: RiskBand::B,
        monthly_instalment: Cents(12_345),
        debt_to_income_basis_points: None,
        decision: enrich::Decision::Approve,
    })
}

fn failed() -> Decision {
    Decision::Failed(Failure {
        category: Category::OutOfRange,
        faults: vec![Fault {
            field: "creditScore".into(),
            rule: "300 to 900".into(),
            category: Category::OutOfRange,
            value: "100".to_owned(),
        }],
        applicant_email: Some("ada@example.org".to_owned()),
    })
}

fn results(decisions: Vec<Decision>) -> Results {
    Results {
        claimed_ms: 1,
        processed_ms: 2,
        decisions,
    }
}

async fn decide(partition: &mut Partition, ticket: &Ticket, decisions: Vec<Decision>) -> bool {
    let results = results(decisions);
    let decided = [Decided {
        ticket,
        results: &results,
    }];
    let won = partition.decide(&decided).await.unwrap();
    assert_eq!(won.len(), 1);
    won[0]
}

/// Accepts every loan of a claimed bundle.
async fn accept(partition: &mut Partition, claimed: &Claimed) -> bool {
    let decisions = vec![accepted(); claimed.ticket.len];
    decide(partition, &claimed.ticket, decisions).await
}

async fn claim_one(partition: &mut Partition, holder: Holder, lease: Duration) -> Claimed {
    let mut claimed = partition.claim(holder, lease, 1).await.unwrap();
    assert_eq!(claimed.len(), 1);
    claimed.remove(0)
}

fn confirmed(content: &Content) -> Confirmed {
    let decisions = &content.results.decisions;
    Confirmed {
        name: content.bundle.name,
        loans: decisions
            .iter()
            .filter(|decision| matches!(decision, Decision::Accepted(_)))
            .count(),
        loan_ids: content
            .bundle
            .loans
            .iter()
            .map(|loan| loan.loan_id.clone())
            .collect(),
    }
}

/// What is decided and nobody holds, for `lease`.
async fn take(partition: &mut Partition, lease: Duration, loans_max: usize) -> Vec<Content> {
    let tickets = partition
        .take_decided(holder("recorder"), lease, loans_max)
        .await
        .unwrap();
    let tickets: Vec<_> = tickets.iter().collect();
    let contents = partition.decided_content(&tickets).await.unwrap();
    contents.into_iter().map(Result::unwrap).collect()
}

async fn record(partition: &mut Partition, contents: &[Content]) -> Freed {
    let confirmed: Vec<_> = contents.iter().map(confirmed).collect();
    partition.recorded(&confirmed, 0, &[]).await.unwrap()
}

/// Records whatever is decided; answers how many loans and failures.
async fn record_all(partition: &mut Partition) -> [u64; 2] {
    let contents = take(partition, HELD, 100_000).await;
    let freed = record(partition, &contents).await;
    [freed.loans, freed.failures]
}

/// One loan, from admission to its record.
async fn go_all_the_way(partition: &mut Partition, number: u64) {
    admit_all(partition, number..number + 1).await;
    let claimed = claim_one(partition, holder("w"), HELD).await;
    assert!(accept(partition, &claimed).await);
    assert_eq!(record_all(partition).await, [1, 0]);
}

#[track_caller]
fn assert_counters(counters: &BTreeMap<String, u64>, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        let found = counters.get(*name).copied().unwrap_or_default();
        assert_eq!(found, *count, "{name} of {counters:?}");
    }
}

/// One command to Redis whose words are no text.
async fn command<T: FromRedisValue>(server: &RedisServer, words: &[&[u8]]) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(&mut connection).await.unwrap()
}

/// A bundle's name, as it stands in Redis.
fn bytes_of(name: Name) -> Vec<u8> {
    let digits = name.to_string();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[tokio::test]
async fn a_loan_goes_its_way_once() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let id = arrival(1, 1).loan_id;
    assert_eq!(
        partition.find(&id).await.unwrap(),
        Whereabouts::Elsewhere,
        "nobody knows it"
    );
    for (content, outcome) in [
        (1, Admission::Admitted),
        (1, Admission::Replayed),
        (2, Admission::Conflict),
    ] {
        let admitted = admit_one(&mut partition, arrival(1, content), Known::Nothing).await;
        assert_eq!(admitted, outcome, "content {content}");
    }
    assert!(matches!(
        partition.find(&id).await.unwrap(),
        Whereabouts::Queued(kept) if kept.loan.body == arrival(1, 1).body
    ));

    let (first, second) = (holder("w1"), holder("w2"));
    let claimed = claim_one(&mut partition, first, HELD).await;
    let bundle = claimed.bundle.as_ref().unwrap();
    assert_eq!((claimed.ticket.len, claimed.ticket.deliveries), (1, 1));
    assert_eq!(&*bundle.loans[0].loan_id, id.as_str());
    assert_eq!(bundle.loans[0].fingerprint, arrival(1, 1).fingerprint);
    assert_eq!(bundle.loans[0].received_us, arrival(1, 1).received_us);
    assert_eq!(bundle.loans[0].attempt, 1);
    assert_eq!(bundle.loans[0].body, arrival(1, 1).body);
    for holder in [first, second] {
        let more = partition.claim(holder, HELD, 10).await.unwrap();
        assert!(more.is_empty(), "what is held is not given out");
    }
    assert!(matches!(
        partition.find(&id).await.unwrap(),
        Whereabouts::Processing(_, since) if since == claimed.ticket.since_ms
    ));

    assert!(accept(&mut partition, &claimed).await);
    assert!(!accept(&mut partition, &claimed).await);
    assert!(partition.claim(first, HELD, 10).await.unwrap().is_empty());
    assert_eq!(lengths(&server).await, [0, 1, 0]);
    let replayed = admit_one(&mut partition, arrival(1, 1), Known::Nothing).await;
    assert_eq!(replayed, Admission::Replayed);
    assert!(matches!(
        partition.find(&id).await.unwrap(),
        Whereabouts::Decided { decision, processed_ms: 2, .. } if decision == accepted()
    ));

    let contents = take(&mut partition, HELD, 10).await;
    assert_eq!(contents.len(), 1);
    assert_eq!(contents[0].bundle, *bundle);
    assert_eq!(contents[0].results, results(vec![accepted()]));
    let freed = record(&mut partition, &contents).await;
    assert_eq!((freed.loans, freed.failures, freed.recorded), (1, 0, 1));
    let freed = record(&mut partition, &contents).await;
    assert_eq!((freed.loans, freed.failures, freed.recorded), (0, 0, 1));
    assert_eq!(lengths(&server).await, [0; 3]);
    assert_eq!(pending(&server).await, [0; 3]);
    assert_eq!(held_ids(&server).await, Vec::<String>::new());
    assert_eq!(partition.find(&id).await.unwrap(), Whereabouts::Elsewhere);
    assert_counters(
        &redis_counters(&server).await,
        &[
            ("admitted", 1),
            ("replayed", 2),
            ("accepted", 1),
            ("lost_commit_races", 1),
            ("recorded_loans", 1),
            ("redelivered", 0),
        ],
    );
}

/// Of the loans of one call only those that are admitted are in the bundle, also as another process reads it.
#[tokio::test]
async fn a_bundle_holds_what_was_admitted() {
    let (server, queue) = start().await;
    let other = queue_at(&server, 1);
    for (from, reader) in [(0, &queue), (10, &other)] {
        let mut door = queue.partition(0);
        admit_all(&mut door, from..from + 1).await;
        let batch = [(0, 1), (1, 1), (0, 2), (2, 1), (1, 1), (2, 7)]
            .map(|(number, content)| (arrival(from + number, content), Known::Nothing));
        let outcomes = admit(&mut door, Entry::New, &batch, NO_BOUND).await;
        assert_eq!(
            outcomes,
            [Replayed, Admitted, Conflict, Admitted, Replayed, Conflict]
        );
        let mut worker = reader.partition(0);
        let claimed = worker.claim(holder("w"), HELD, 10).await.unwrap();
        let loans: Vec<Vec<_>> = claimed
            .iter()
            .map(|claimed| {
                let bundle = claimed.bundle.as_ref().unwrap();
                let loans = bundle.loans.iter();
                loans
                    .map(|loan| (loan.loan_id.to_string(), loan.body.clone()))
                    .collect()
            })
            .collect();
        let expected = |number: u64| {
            (
                support::loan_id(from + number),
                batch[number as usize].0.body.clone(),
            )
        };
        let second = [1, 2].map(|number| {
            let arrival = arrival(from + number, 1);
            (arrival.loan_id.to_string(), arrival.body)
        });
        assert_eq!(loans, [vec![expected(0)], second.to_vec()]);
        for claimed in &claimed {
            assert!(accept(&mut worker, claimed).await);
        }
        assert_eq!(record_all(&mut worker).await, [3, 0]);
    }
}

/// 1. One worker claims and falls silent; another is given the bundle when the lease has run out.
/// 2. The silent one's decision comes too late: the ticket that is held now counts, once.
#[tokio::test]
async fn of_two_holders_one_wins() {
    let (server, queue) = start().await;
    let mut slow = queue.partition(0);
    let mut quick = queue.partition(0);
    admit_each(&mut slow, 0..2).await;
    let lost = slow.claim(holder("slow"), RUN_OUT, 10).await.unwrap();
    assert_eq!(lost.len(), 2);
    // The second one is decided before anybody else has it: its lease is over, and it is still the only one.
    assert!(accept(&mut slow, &lost[1]).await);
    let taken = claim_one(&mut quick, holder("quick"), HELD).await;
    assert_eq!(taken.ticket.name, lost[0].ticket.name);
    assert_eq!((lost[0].ticket.deliveries, taken.ticket.deliveries), (1, 2));
    assert_eq!(taken.bundle, lost[0].bundle);

    assert!(!accept(&mut slow, &lost[0]).await);
    assert!(decide(&mut quick, &taken.ticket, vec![failed()]).await);
    assert!(!accept(&mut slow, &lost[0]).await);
    assert!(!accept(&mut slow, &taken).await);
    assert_eq!(lengths(&server).await, [0, 1, 1]);
    assert_counters(
        &redis_counters(&server).await,
        &[
            ("accepted", 1),
            ("failed:out_of_range", 1),
            ("failed_waiting", 1),
            ("lost_commit_races", 3),
            ("redelivered", 1),
        ],
    );
    let slow_state = quick.slow_state(10).await.unwrap();
    assert_eq!(slow_state.applicants, [("ada@example.org".to_owned(), 1)]);
}

/// A delivery counts when a holder let its lease run out, and no bundle is split or cut to fit a claim.
#[tokio::test]
async fn deliveries_are_counted() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_all(&mut partition, 0..5).await;
    for deliveries in 1..=5 {
        let claimed = claim_one(&mut partition, holder("w"), RUN_OUT).await;
        assert_eq!(claimed.ticket.deliveries, deliveries);
        assert_eq!(claimed.bundle.unwrap().loans.len(), 5);
    }
    assert_counters(
        &redis_counters(&server).await,
        &[("redelivered", 20), ("claimed", 5), ("queued", 0)],
    );
}

/// Who says in time that he still works keeps what he holds; who has lost it is told.
#[tokio::test]
async fn a_renewed_lease_is_not_given_away() {
    let (_server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..3).await;
    let held = partition.claim(holder("w"), RUN_OUT, 10).await.unwrap();
    let lost = claim_one(&mut partition, holder("x"), HELD).await;
    let tickets: Vec<_> = held.iter().map(|claimed| &claimed.ticket).collect();
    let still = partition.renew(HELD, &tickets).await.unwrap();
    let expected: Vec<_> = tickets
        .iter()
        .map(|ticket| ticket.name != lost.ticket.name)
        .collect();
    assert_eq!(still, expected);
    assert_eq!(still.iter().filter(|still| **still).count(), 2);
    let more = partition.claim(holder("x"), HELD, 10).await.unwrap();
    assert_eq!(more.len(), 0);
    for (claimed, still) in held.iter().zip(still) {
        assert_eq!(accept(&mut partition, claimed).await, still);
    }
    assert!(accept(&mut partition, &lost).await);
    // Nothing is held with these any more.
    let still = partition.renew(HELD, &tickets).await.unwrap();
    assert_eq!(still, [false; 3]);
    assert!(
        partition
            .claim(holder("x"), HELD, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

/// What waits is given out in order; first comes what another let fall.
#[tokio::test]
async fn a_claim_takes_what_was_let_fall_first() {
    let (_server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..6).await;
    let fallen = claim_one(&mut partition, holder("gone"), RUN_OUT).await;
    let claimed = partition.claim(holder("w"), HELD, 4).await.unwrap();
    let ids: Vec<_> = claimed
        .iter()
        .map(|claimed| {
            claimed.bundle.as_ref().unwrap().loans[0]
                .loan_id
                .to_string()
        })
        .collect();
    assert_eq!(claimed[0].ticket.name, fallen.ticket.name);
    assert_eq!(ids, [0, 1, 2, 3].map(support::loan_id));
}

/// Each of 64 bundles is decided by eight callers at once; each is won once.
#[tokio::test]
async fn decisions_at_once_are_won_once() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..64).await;
    let claimed = partition.claim(holder("w"), HELD, 64).await.unwrap();
    assert_eq!(claimed.len(), 64);
    let tickets: Vec<_> = claimed.into_iter().map(|claimed| claimed.ticket).collect();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (mut partition, tickets) = (queue.partition(0), tickets.clone());
            tokio::spawn(async move {
                let results = results(vec![accepted()]);
                let decided: Vec<_> = tickets
                    .iter()
                    .map(|ticket| Decided {
                        ticket,
                        results: &results,
                    })
                    .collect();
                partition.decide(&decided).await.unwrap()
            })
        })
        .collect();
    let mut wins = vec![0; tickets.len()];
    for call in calls {
        for (wins, won) in wins.iter_mut().zip(call.await.unwrap()) {
            *wins += u32::from(won);
        }
    }
    assert_eq!(wins, vec![1; tickets.len()]);
    assert_eq!(lengths(&server).await, [0, 64, 0]);
}

/// Results that a recorder took and never confirmed go to another one, and are recorded once, whoever confirms them.
#[tokio::test]
async fn abandoned_results_are_taken_again() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_all(&mut partition, 0..2).await;
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    let decisions = vec![accepted(), failed()];
    assert!(decide(&mut partition, &claimed.ticket, decisions).await);
    let lost = take(&mut partition, RUN_OUT, 10).await;
    assert_eq!(lost.len(), 1);
    let taken = take(&mut partition, HELD, 10).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(pending(&server).await, [0, 0, 1]);
    assert!(take(&mut partition, HELD, 10).await.is_empty());
    let freed = record(&mut partition, &lost).await;
    assert_eq!((freed.loans, freed.failures, freed.recorded), (1, 1, 2));
    let freed = record(&mut partition, &taken).await;
    assert_eq!((freed.loans, freed.failures, freed.recorded), (0, 0, 2));
    assert_eq!(lengths(&server).await, [0; 3]);
    assert_eq!(pending(&server).await, [0; 3]);
    assert_counters(
        &redis_counters(&server).await,
        &[
            ("recorded_loans", 1),
            ("recorded_failures", 1),
            ("failed_waiting", 1),
            ("decided", 0),
            ("filter_loans", 2),
        ],
    );
}

/// What an instance held is free when it leaves, when another start has followed it at its place, and when it has not
/// been heard of; what a living one holds is not.
#[tokio::test]
async fn the_leases_of_a_dead_instance_are_free() {
    let (_server, queue) = start().await;
    let mut partition = queue.partition(0);
    let beat = async |instance: Instance, kept: Duration| {
        let mut partition = queue.partition(0);
        let (alive, _) = partition.beat(instance, 1, 2, "{}", kept).await.unwrap();
        alive.len()
    };
    let (alive, leaving) = (Instance::new("alive"), Instance::new("leaving"));
    let (first, second) = (Instance::new("place"), Instance::new("place"));
    for (instance, expected) in [(alive, 1), (leaving, 2), (first, 3)] {
        assert_eq!(beat(instance, HELD).await, expected);
    }
    admit_each(&mut partition, 0..3).await;
    let mut held = Vec::new();
    for instance in [alive, leaving, first] {
        held.push(claim_one(&mut partition, instance.holder(3), HELD).await);
    }
    // Results that a recorder of an instance holds.
    admit_each(&mut partition, 3..4).await;
    let decided = claim_one(&mut partition, alive.holder(1), HELD).await;
    assert!(accept(&mut partition, &decided).await);
    let recorder = leaving.holder(250);
    let taken = partition.take_decided(recorder, HELD, 10).await.unwrap();
    assert_eq!(taken.len(), 1);

    let w = alive.holder(0);
    assert!(partition.claim(w, HELD, 10).await.unwrap().is_empty());
    assert!(take(&mut partition, HELD, 10).await.is_empty());
    partition.leave(leaving).await.unwrap();
    let again = claim_one(&mut partition, w, HELD).await;
    assert_eq!(again.ticket.name, held[1].ticket.name);
    assert_eq!(again.ticket.deliveries, 1, "it has been given back");
    assert!(!accept(&mut partition, &held[1]).await);
    assert_eq!(take(&mut partition, HELD, 10).await.len(), 1);

    assert!(partition.claim(w, HELD, 10).await.unwrap().is_empty());
    assert_eq!(beat(second, HELD).await, 2);
    let again = claim_one(&mut partition, w, HELD).await;
    assert_eq!(again.ticket.name, held[2].ticket.name);
    assert_eq!(again.ticket.deliveries, 2, "it was let fall");
    assert!(!accept(&mut partition, &held[2]).await);

    // The others are unheard of for a millisecond, sooner or later.
    wait_until("the silent are gone", async || {
        beat(second, Duration::from_millis(1)).await == 1
    })
    .await;
    let again = partition.claim(second.holder(0), HELD, 10).await.unwrap();
    let names = |claimed: &[&Claimed]| {
        let names = claimed.iter().map(|claimed| claimed.ticket.name);
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(
        names(&again.iter().collect::<Vec<_>>()),
        names(&held.iter().collect::<Vec<_>>())
    );
}

/// A holder that lost the answer to its claim gives back what it may have been given. That counts as no delivery, and
/// another's lease stays.
#[tokio::test]
async fn what_is_given_back_is_no_delivery() {
    let (_server, queue) = start().await;
    let mut partition = queue.partition(0);
    let here = Instance::new("here");
    let (first, second) = (here.holder(1), here.holder(2));
    admit_each(&mut partition, 0..2).await;
    let given_back = claim_one(&mut partition, first, HELD).await;
    let kept = claim_one(&mut partition, second, HELD).await;
    for _ in 0..2 {
        partition.release(first).await.unwrap();
    }
    assert!(!accept(&mut partition, &given_back).await);
    let again = partition.claim(second, HELD, 10).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].ticket.name, given_back.ticket.name);
    assert_eq!(again[0].ticket.deliveries, 1);
    assert!(accept(&mut partition, &kept).await);
    assert!(accept(&mut partition, &again[0]).await);

    let results = partition.take_decided(first, HELD, 10).await.unwrap();
    assert_eq!(results.len(), 2);
    assert!(take(&mut partition, HELD, 10).await.is_empty());
    partition.release(first).await.unwrap();
    let contents = take(&mut partition, HELD, 10).await;
    assert_eq!(record(&mut partition, &contents).await.loans, 2);
}

/// Partitions that are connected already find the functions, then everything, gone.
#[tokio::test]
async fn what_redis_has_lost_is_made_again() {
    let (server, queue) = start().await;
    let mut partitions = [queue.partition(0), queue.partition(0), queue.partition(0)];
    let [door, worker, recorder] = &mut partitions;
    let w = holder("w");
    admit_all(door, 0..1).await;
    let held = claim_one(worker, w, HELD).await;
    assert_eq!(record_all(recorder).await, [0, 0]);

    let flush_functions = async || {
        let _: String = redis(&server, &["FUNCTION", "FLUSH"]).await;
    };
    let flush_all = async || {
        let _: String = redis(&server, &["FLUSHALL"]).await;
    };
    flush_functions().await;
    assert!(accept(worker, &held).await);
    flush_functions().await;
    admit_all(door, 1..2).await;
    flush_functions().await;
    assert_eq!(record_all(recorder).await, [1, 0]);

    flush_all().await;
    assert!(worker.claim(w, HELD, 1).await.unwrap().is_empty());
    assert!(!accept(worker, &held).await);
    flush_all().await;
    assert_eq!(record_all(recorder).await, [0, 0]);
    flush_all().await;
    flush_functions().await;
    let look_up = look_up_of(door, arrival(3, 1)).await;
    let admitted = admit_one(door, arrival(3, 1), Known::LookedUp(look_up)).await;
    assert_eq!(admitted, Admission::Admitted);
    let held = claim_one(worker, w, HELD).await;

    // Between MongoDB's confirmation and its note here, Redis forgets. MongoDB is asked for every id then.
    assert!(accept(worker, &held).await);
    let taken = take(recorder, HELD, 1).await;
    assert_eq!(taken.len(), 1);
    flush_all().await;
    let freed = record(recorder, &taken).await;
    assert_eq!(freed, Freed::default());
    assert!(matches!(
        admit_one(door, arrival(3, 1), Known::Nothing).await,
        Admission::LookUp(_)
    ));
}

/// Redis closes links at which it hears nothing: who calls next has lost no call on one of them.
#[tokio::test]
async fn a_link_that_was_closed_at_rest_loses_no_call() {
    let (server, queue) = start().await;
    let (mut partition, mut reader) = (queue.partition(0), queue.reader(0));
    admit_all(&mut partition, 0..1).await;
    assert_eq!(reader.state().await.unwrap().queued, 1);
    let killed: u32 = redis(&server, &["CLIENT", "KILL", "TYPE", "normal"]).await;
    assert!(killed >= 2);
    // Longer than a link rests before it is asked.
    tokio::time::sleep(Duration::from_millis(200)).await;
    admit_all(&mut partition, 1..2).await;
    assert_eq!(reader.state().await.unwrap().queued, 2);
}

/// What goes wrong before a call is sent leaves nothing open: the loan is not queued.
#[tokio::test]
async fn a_call_that_cannot_be_prepared_has_not_run() {
    let options = RedisOptions {
        arguments: ["--rename-command", "FUNCTION", ""]
            .map(String::from)
            .to_vec(),
        ..RedisOptions::default()
    };
    let server = RedisServer::start(&Servers::discover().unwrap(), options)
        .await
        .unwrap();
    let mut partition = queue_at(&server, 1).partition(0);
    let arrivals = [(arrival(0, 1), Known::Nothing)];
    let refused = partition
        .admit(Entry::New, &arrivals, NO_BOUND, PATIENCE)
        .await
        .unwrap_err();
    assert!(refused.has_not_run(), "{refused:?}");
    let words = refused.to_string();
    assert!(words.contains("FUNCTION"), "{words}");
    assert!(!words.contains("#!lua"), "{words}");
}

/// A full Redis takes no functions: then nothing can leave it, and who runs it must be told what to do.
#[tokio::test]
async fn a_full_redis_without_functions_says_what_it_needs() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_all(&mut partition, 0..1).await;
    let _: String = redis(&server, &["FUNCTION", "FLUSH"]).await;
    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    for partition in [&mut partition, &mut queue_at(&server, 1).partition(0)] {
        let refused = partition.claim(holder("w"), HELD, 1).await.unwrap_err();
        assert!(refused.has_not_run(), "{refused:?}");
        let words = refused.to_string();
        assert!(words.contains("raise maxmemory"), "{words}");
    }
    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert!(accept(&mut partition, &claimed).await);
    // Also to a process that finds them there.
    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut another = queue_at(&server, 1).partition(0);
    assert_eq!(record_all(&mut another).await, [1, 0]);
}

/// Somebody has loaded another library under this one's name. It is not called: neither by who finds a function lacking in
/// it, nor by who begins.
#[tokio::test]
async fn a_library_of_another_text_is_replaced() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    go_all_the_way(&mut partition, 0).await;
    let library: Vec<HashMap<String, redis::Value>> = redis(&server, &["FUNCTION", "LIST"]).await;
    let name: String = redis::from_redis_value_ref(&library[0]["library_name"]).unwrap();
    let replace = async |functions: &[&str]| {
        let mut text = format!("#!lua name={name}\n");
        for function in functions {
            writeln!(
                text,
                "redis.register_function('{name}_{function}', function() redis.call('SET', 'called', '{function}') return 0 end)"
            )
            .unwrap();
        }
        let _: String = redis(&server, &["FUNCTION", "LOAD", "REPLACE", &text]).await;
    };
    replace(&["prepare"]).await;
    go_all_the_way(&mut partition, 1).await;
    replace(&["prepare", "admit", "claim", "decide", "take", "recorded"]).await;
    go_all_the_way(&mut queue_at(&server, 1).partition(0), 2).await;
    let called: Option<String> = redis(&server, &["GET", "called"]).await;
    assert_eq!(called, None);
}

/// A Redis that went back in time, or is another one, is told by its count of admissions, and the very call that finds it
/// believes the filter no longer: it may lack what was recorded since.
#[tokio::test]
async fn a_rollback_is_noticed() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..3).await;
    // What the call says of a new loan, and how many admissions it misses.
    let admit = async |number: u64| {
        let mut partition = queue.partition(0);
        let arrivals = [(arrival(number, 1), Known::Nothing)];
        let admitted = partition.admit(Entry::New, &arrivals, NO_BOUND, PATIENCE);
        let AdmittedBatch {
            outcomes,
            rolled_back,
            ..
        } = admitted.await.unwrap();
        let is_looked_up = matches!(outcomes[..], [Admission::LookUp(_)]);
        assert!(is_looked_up || outcomes == [Admission::Admitted]);
        (rolled_back, is_looked_up)
    };
    assert_eq!(admit(3).await, (0, false));
    let counters = key(&server, "counters").await;
    let _: u32 = redis(&server, &["HSET", &counters, "admissions", "1"]).await;
    let arrivals = [(arrival(4, 1), Known::Nothing)];
    let recognised = partition.recognise(&arrivals, PATIENCE).await.unwrap();
    assert_eq!(recognised, [Admission::MayBeRecorded]);
    assert_eq!(admit(4).await, (3, true));
    assert_eq!(admit(5).await, (0, true));
    complete_filter(&mut partition).await;
    assert_eq!(admit(6).await, (0, false));
    let _: String = redis(&server, &["FLUSHALL"]).await;
    assert_eq!(admit(7).await, (2, true));
    assert_eq!(admit(8).await, (0, true));
}

#[tokio::test]
async fn pause_and_backlog_hold_new_loans_only() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    go_all_the_way(&mut partition, 9).await;
    admit_all(&mut partition, 0..1).await;
    let batch = [(1, 1), (0, 1), (0, 2), (9, 1), (9, 2)]
        .map(|(number, content)| (arrival(number, content), Known::Nothing));
    let known = |first: Admission| {
        let (recorded, again) = (Admission::MayBeRecorded, Admission::MayBeRecorded);
        [
            first,
            Admission::Replayed,
            Admission::Conflict,
            recorded,
            again,
        ]
    };
    assert!(partition.set_paused(true, 1).await.unwrap());
    assert!(!partition.set_paused(true, 1).await.unwrap());
    assert!(partition.state().await.unwrap().paused);
    assert!(partition.paused_ms().await.unwrap().is_some());
    let outcomes = admit(&mut partition, Entry::New, &batch, NO_BOUND).await;
    assert_eq!(outcomes, known(Admission::Paused));
    let looked_up = admit_one(&mut partition, arrival(1, 1), Known::NotRecorded).await;
    assert_eq!(looked_up, Admission::Paused);
    assert!(partition.set_paused(false, 2).await.unwrap());
    assert_eq!(partition.paused_ms().await.unwrap(), None);

    let outcomes = admit(&mut partition, Entry::New, &batch, 1).await;
    assert_eq!(outcomes, known(Admission::Full));
    // One has its place; of three more, one finds room for two.
    let batch = [1, 0, 2, 3].map(|number| (arrival(number, 1), Known::Nothing));
    let outcomes = admit(&mut partition, Entry::New, &batch, 2).await;
    assert_eq!(outcomes, [Admitted, Replayed, Full, Full]);
    assert_eq!(lengths(&server).await, [2, 0, 0]);
    assert_eq!(held_ids(&server).await.len(), 2);

    // What is claimed or decided is in Redis all the same.
    let new = [(arrival(4, 1), Known::Nothing)];
    let claimed = partition.claim(holder("w"), HELD, 10).await.unwrap();
    assert_eq!(admit(&mut partition, Entry::New, &new, 2).await, [Full]);
    assert!(accept(&mut partition, &claimed[0]).await);
    assert!(accept(&mut partition, &claimed[1]).await);
    assert_eq!(admit(&mut partition, Entry::New, &new, 2).await, [Full]);
    assert_eq!(record_all(&mut partition).await, [2, 0]);
    assert_eq!(admit(&mut partition, Entry::New, &new, 2).await, [Admitted]);
}

/// 1. A recorded loan: its id is freed, and asked for again it has to be looked up.
/// 2. Two clients look it up; the first one's look-up is worth nothing then.
/// 3. The second one's admits (MongoDB did not know it, say), once.
/// 4. A look-up that found the loan frees its marker, and touches no loan.
#[tokio::test]
async fn a_stale_look_up_admits_nothing() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    go_all_the_way(&mut partition, 0).await;
    assert_eq!(held_ids(&server).await, Vec::<String>::new());
    let asked = admit_one(&mut partition, arrival(0, 1), Known::Nothing).await;
    assert_eq!(asked, Admission::MayBeRecorded);
    assert_eq!(held_ids(&server).await, Vec::<String>::new());

    let first = look_up_of(&mut partition, arrival(0, 1)).await;
    let second = look_up_of(&mut partition, arrival(0, 1)).await;
    assert_ne!(first, second);
    let stale = Known::LookedUp(first);
    let Admission::LookUp(third) = admit_one(&mut partition, arrival(0, 1), stale).await else {
        panic!("a stale look-up counts");
    };
    let id = arrival(0, 1).loan_id;
    assert_eq!(
        partition.find(&id).await.unwrap(),
        Whereabouts::Elsewhere,
        "a marker is no loan"
    );
    let newest = Known::LookedUp(third);
    for outcome in [Admission::Admitted, Admission::Replayed] {
        let admitted = admit_one(&mut partition, arrival(0, 1), newest.clone()).await;
        assert_eq!(admitted, outcome);
    }
    assert_eq!(lengths(&server).await, [1, 0, 0]);
    partition.answered(1, &[&id], PATIENCE).await.unwrap();
    assert_eq!(held_ids(&server).await.len(), 1, "a loan is no marker");

    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert!(accept(&mut partition, &claimed).await);
    assert_eq!(record_all(&mut partition).await, [1, 0]);
    let _ = look_up_of(&mut partition, arrival(0, 1)).await;
    assert_eq!(held_ids(&server).await.len(), 1);
    partition.answered(1, &[&id], PATIENCE).await.unwrap();
    assert_eq!(held_ids(&server).await, Vec::<String>::new());
    let look_ups: u64 = redis(&server, &["ZCARD", &key(&server, "lookups").await]).await;
    assert_eq!(look_ups, 0);
}

/// A look-up that nobody has ended is forgotten by and by.
#[tokio::test]
async fn abandoned_look_ups_are_swept() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let _ = look_up_of(&mut partition, arrival(0, 1)).await;
    let look_ups = key(&server, "lookups").await;
    let _: u32 = redis(&server, &["ZADD", &look_ups, "1", &support::loan_id(0)]).await;
    let _ = look_up_of(&mut partition, arrival(1, 1)).await;
    assert_eq!(held_ids(&server).await, [support::loan_id(1)]);
    let kept: Vec<String> = redis(&server, &["ZRANGE", &look_ups, "0", "-1"]).await;
    assert_eq!(kept, [support::loan_id(1)]);
    // No other one comes: failures that wait could not be counted as long as it stands.
    let _: u32 = redis(&server, &["ZADD", &look_ups, "1", &support::loan_id(1)]).await;
    mend(&mut partition).await;
    assert!(held_ids(&server).await.is_empty());
    let left: u32 = redis(&server, &["ZCARD", &look_ups]).await;
    assert_eq!(left, 0);
}

/// 1. A new Redis knows nothing of what MongoDB holds: every id is looked up.
/// 2. One rebuilding at a time; what it brings counts as recorded, and when it is complete the rest is new.
/// 3. In doubt, every id is looked up again; a rebuilding of a Redis that was lost meanwhile is given up.
#[tokio::test]
async fn an_incomplete_filter_asks_for_every_id() {
    let server = start_redis().await;
    let queue = queue_at(&server, 1);
    let mut partition = queue.partition(0);
    assert!(!partition.state().await.unwrap().is_filter_complete);
    let batch = [0, 1].map(|number| (arrival(number, 1), Known::Nothing));
    let outcomes = admit(&mut partition, Entry::New, &batch, NO_BOUND).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Admission::LookUp(_))),
        "{outcomes:?}"
    );
    let ids: Vec<_> = batch.iter().map(|(arrival, _)| &arrival.loan_id).collect();
    partition.answered(0, &ids, PATIENCE).await.unwrap();

    let rebuilding = partition.start_rebuilding().await.unwrap().unwrap();
    assert_eq!(partition.start_rebuilding().await.unwrap(), None);
    let mut recorded = Ids::default();
    recorded.push(arrival(0, 1).hash);
    assert!(fill(&mut partition, &rebuilding, &recorded, false).await);
    assert!(!partition.state().await.unwrap().is_filter_complete);
    assert!(fill(&mut partition, &rebuilding, &Ids::default(), true).await);
    assert!(partition.state().await.unwrap().is_filter_complete);
    assert_eq!(partition.start_rebuilding().await.unwrap(), None);
    let outcomes = admit(&mut partition, Entry::New, &batch, NO_BOUND).await;
    assert_eq!(outcomes, [MayBeRecorded, Admitted]);

    assert!(partition.doubt_filter().await.unwrap());
    assert!(!partition.doubt_filter().await.unwrap());
    let asked = admit_one(&mut partition, arrival(2, 1), Known::Nothing).await;
    assert!(matches!(asked, Admission::LookUp(_)), "{asked:?}");
    let rebuilding = partition.start_rebuilding().await.unwrap().unwrap();
    partition.doubt_filter().await.unwrap();
    assert!(!fill(&mut partition, &rebuilding, &recorded, true).await);
    assert!(!partition.state().await.unwrap().is_filter_complete);
    let rebuilding = partition.start_rebuilding().await.unwrap().unwrap();
    let _: String = redis(&server, &["FLUSHALL"]).await;
    // The first call finds the partition unprepared, and prepares it.
    assert!(!partition.state().await.unwrap().is_filter_complete);
    let _ = look_up_of(&mut partition, arrival(2, 1)).await;
    assert!(!fill(&mut partition, &rebuilding, &recorded, true).await);
    assert!(!partition.state().await.unwrap().is_filter_complete);
}

/// A generation that is full takes fewer than 1 in 200 unknown ids for recorded ones, and knows each of its own.
#[tokio::test]
async fn a_full_filter_suspects_few() {
    const FULL: u64 = 262_144;
    const OTHERS: u64 = 20_000;
    let server = start_redis().await;
    let queue = queue_at(&server, 1);
    let mut partition = queue.partition(0);
    let rebuilding = partition.start_rebuilding().await.unwrap().unwrap();
    let mut ids = Ids::default();
    for number in 0..FULL {
        ids.push(arrival(number, 1).hash);
        if ids.len() == 2_048 || number == FULL - 1 {
            let is_last = number == FULL - 1;
            let filled = partition.fill_filter(&rebuilding, &ids, is_last).await;
            assert!(filled.unwrap());
            ids = Ids::default();
        }
    }
    let counters = redis_counters(&server).await;
    assert_counters(&counters, &[("filter_last", 1), ("filter_loans", 0)]);
    // There is no room, so nothing is admitted: an id is known or unknown.
    let mut suspected = async |numbers: Range<u64>| {
        let mut suspected = 0;
        let numbers: Vec<_> = numbers.collect();
        for numbers in numbers.chunks(500) {
            let batch: Vec<_> = numbers
                .iter()
                .map(|&number| (arrival(number, 1), Known::Nothing))
                .collect();
            for outcome in admit(&mut partition, Entry::New, &batch, 0).await {
                match outcome {
                    Admission::MayBeRecorded => suspected += 1,
                    Admission::Full => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        suspected
    };
    assert_eq!(suspected(FULL - OTHERS..FULL).await, OTHERS);
    let wrongly = suspected(FULL..FULL + OTHERS).await;
    assert!(wrongly * 200 < OTHERS, "{wrongly} of {OTHERS}");
    assert!(wrongly > 0, "a full filter suspects some: is it asked?");
}

/// A full Redis refuses new loans, tells those that it knows, and lets out those that it has: also to workers and
/// recorders that connect anew.
#[tokio::test]
async fn a_full_redis_drains() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    go_all_the_way(&mut partition, 8).await;
    for from in [0, 2] {
        admit_all(&mut partition, from..from + 2).await;
    }
    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let batch = [(9, 1), (0, 1), (0, 2), (8, 1)]
        .map(|(number, content)| (arrival(number, content), Known::Nothing));
    let refused = partition
        .admit(Entry::New, &batch[..1], NO_BOUND, PATIENCE)
        .await;
    assert!(
        matches!(refused, Err(ServiceError::RedisRefused(Refusal::Full))),
        "{refused:?}"
    );
    let told = partition.recognise(&batch, PATIENCE).await.unwrap();
    assert_eq!(told, [Full, Replayed, Conflict, MayBeRecorded]);
    assert_eq!(lengths(&server).await, [4, 0, 0]);
    assert_eq!(held_ids(&server).await.len(), 4);

    for partition in [&mut partition, &mut queue.partition(0)] {
        let claimed = claim_one(partition, holder("w"), HELD).await;
        let decisions = vec![accepted(), failed()];
        assert!(decide(partition, &claimed.ticket, decisions).await);
        assert_eq!(record_all(partition).await, [1, 1]);
    }
    assert_eq!(lengths(&server).await, [0; 3]);

    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    admit_all(&mut partition, 9..10).await;
}

/// Loans that have gone their whole way leave nothing but their bits in the filter: memory follows the backlog.
#[tokio::test]
async fn recorded_loans_leave_no_key() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let mut before = None;
    for round in 0..4 {
        admit_all(&mut partition, round * 500..(round + 1) * 500).await;
        let claimed = claim_one(&mut partition, holder("w"), HELD).await;
        assert!(accept(&mut partition, &claimed).await);
        assert_eq!(held_ids(&server).await.len(), 500);
        assert_eq!(record_all(&mut partition).await, [500, 0]);
        let keys: BTreeSet<String> = redis(&server, &["KEYS", "*"]).await;
        let names: Vec<_> = keys
            .iter()
            .map(|key| key.split_once(':').unwrap().1)
            .map(|key| key.split_once("}:").unwrap().1.to_owned())
            .collect();
        assert_eq!(names, ["about", "counters", "filter:0"]);
        assert_eq!(*before.get_or_insert(keys.clone()), keys);
    }
}

/// More loans in a call than Lua's stack has room for.
#[tokio::test]
async fn long_lists_go_in_steps() {
    const LOANS: u64 = 9_000;
    let (server, queue) = start().await;
    let mut partition = queue_at(&server, 1).partition(0);
    admit_all(&mut queue.partition(0), 0..LOANS).await;
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert_eq!(claimed.bundle.as_ref().unwrap().loans.len() as u64, LOANS);
    assert!(accept(&mut partition, &claimed).await);
    assert_eq!(record_all(&mut partition).await, [LOANS, 0]);
    let batch: Vec<_> = (0..LOANS)
        .map(|number| (arrival(number, 1), Known::Nothing))
        .collect();
    let outcomes = admit(&mut partition, Entry::New, &batch, NO_BOUND).await;
    let known = outcomes
        .iter()
        .filter(|outcome| **outcome == Admission::MayBeRecorded);
    assert_eq!(known.count() as u64, LOANS);
    assert_eq!(held_ids(&server).await, Vec::<String>::new());
}

/// 1. A failed loan is recorded and queued again as its second attempt, while ingestion is paused.
/// 2. Its content is a replay as ever; other content may have been an earlier attempt's: MongoDB is asked.
/// 3. The bound of the backlog holds for a retry too.
#[tokio::test]
async fn a_retry_is_another_attempt() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_all(&mut partition, 0..2).await;
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    let decisions = vec![failed(), failed()];
    assert!(decide(&mut partition, &claimed.ticket, decisions).await);
    let second = |number: u64| Arrival {
        attempt: 2,
        ..arrival(number, 3)
    };
    let retry = async |number: u64, known: Known, backlog_max: u64| {
        let mut partition = queue.partition(0);
        let arrivals = [(second(number), known)];
        admit(&mut partition, Entry::Retry, &arrivals, backlog_max)
            .await
            .remove(0)
    };
    let early = retry(0, Known::NotRecorded, NO_BOUND).await;
    assert_eq!(early, Admission::Conflict, "its failure is not recorded");
    assert_eq!(record_all(&mut partition).await, [0, 2]);
    assert!(partition.set_paused(true, 1).await.unwrap());
    let Admission::LookUp(look_up) = retry(0, Known::NotRecorded, 1).await else {
        panic!("a retry is looked up");
    };
    let admitted = retry(0, Known::LookedUp(look_up.clone()), 1).await;
    assert_eq!(admitted, Admission::Admitted);
    let again = retry(0, Known::LookedUp(look_up), 1).await;
    assert_eq!(again, Admission::Replayed);
    assert_eq!(retry(1, Known::NotRecorded, 1).await, Admission::Full);
    let same = admit_one(&mut partition, arrival(0, 3), Known::Nothing).await;
    assert_eq!(same, Admission::Replayed);
    let first = admit_one(&mut partition, arrival(0, 1), Known::Nothing).await;
    assert_eq!(first, Admission::ConflictUnlessReplaced);
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert_eq!(claimed.bundle.unwrap().loans[0].attempt, 2);
    assert_counters(
        &redis_counters(&server).await,
        &[("admitted", 2), ("retried", 1), ("failed_waiting", 1)],
    );
}

/// A bundle's name stands for its content and no other: what another Redis, or an older one, holds under the same id is
/// not touched by a call about this one.
#[tokio::test]
async fn a_name_stands_for_one_bundle() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let w = holder("w");
    admit_all(&mut partition, 0..1).await;
    let before = claim_one(&mut partition, w, HELD).await;
    admit_all(&mut partition, 1..2).await;
    let decided = claim_one(&mut partition, w, HELD).await;
    assert!(accept(&mut partition, &decided).await);
    let taken = take(&mut partition, HELD, 1).await;

    let _: String = redis(&server, &["FLUSHALL"]).await;
    assert!(partition.claim(w, HELD, 1).await.unwrap().is_empty());
    assert_eq!(queue.admissions_lost(0, 2, 0), 2, "it is told");
    complete_filter(&mut partition).await;
    for number in [0, 1] {
        let other = admit_one(&mut partition, arrival(number, 2), Known::Nothing).await;
        assert_eq!(other, Admission::Admitted);
    }
    assert!(!accept(&mut partition, &before).await);
    let set_aside = partition.set_aside(&before.ticket, "by mistake").await;
    assert_eq!(set_aside.unwrap(), SetAside::Gone);
    assert_eq!(record(&mut partition, &taken).await, Freed::default());
    assert_eq!(lengths(&server).await, [2, 0, 0]);
    assert_eq!(held_ids(&server).await.len(), 2);
    let claimed = partition.claim(w, HELD, 10).await.unwrap();
    assert_eq!(claimed.len(), 2);
    assert!(!accept(&mut partition, &before).await);
    assert!(!accept(&mut partition, &decided).await);
    for (claimed, number) in claimed.iter().zip([0, 1]) {
        assert_ne!(claimed.ticket.name, before.ticket.name);
        let bundle = claimed.bundle.as_ref().unwrap();
        assert_eq!(bundle.loans[0].body, arrival(number, 2).body);
        assert!(accept(&mut partition, claimed).await);
    }
    assert_eq!(record(&mut partition, &taken).await, Freed::default());
    assert_eq!(record_all(&mut partition).await, [2, 0]);
}

/// Loans that wait, that are claimed and that are decided, by their counts.
async fn counted(partition: &mut Partition) -> [u64; 3] {
    let state = partition.state().await.unwrap();
    [state.queued, state.claimed, state.decided]
}

/// What mends a partition.
async fn mend(partition: &mut Partition) -> Mended {
    let beat = partition.beat(Instance::new("mends"), 0, 0, "{}", HELD);
    beat.await.unwrap().1
}

/// Redis loses one key of several, or a hand takes it away: what stands in no line any more is put into one, and ends.
#[tokio::test]
async fn no_bundle_is_out_of_line_for_good() {
    for lost in ["waiting", "claimed", "decided", "tickets", "results"] {
        let (server, queue) = start().await;
        let mut partition = queue.partition(0);
        admit_each(&mut partition, 0..6).await;
        for _ in 0..2 {
            let claimed = claim_one(&mut partition, holder("w"), HELD).await;
            assert!(accept(&mut partition, &claimed).await);
        }
        let held = claim_one(&mut partition, holder("w"), HELD).await;
        assert_eq!(mend(&mut partition).await, Mended::default(), "{lost}");
        assert_eq!(counted(&mut partition).await, [3, 1, 2]);
        let lost_key = key(&server, lost).await;
        let _: u32 = redis(&server, &["DEL", &lost_key]).await;
        // Whoever holds one with a ticket that is gone decides it in vain.
        if lost == "tickets" {
            assert!(!accept(&mut partition, &held).await);
        }
        // Everybody does his work, until there is nothing left to do.
        let mut ended = 0;
        for _ in 0..4 {
            mend(&mut partition).await;
            for claimed in partition.claim(holder("other"), HELD, 100).await.unwrap() {
                assert!(accept(&mut partition, &claimed).await, "{lost}");
            }
            for ticket in partition
                .take_decided(holder("r"), RUN_OUT, 100)
                .await
                .unwrap()
            {
                match partition.decided_content(&[&ticket]).await.unwrap().pop() {
                    Some(Ok(content)) => ended += record(&mut partition, &[content]).await.loans,
                    unreadable => {
                        let set_aside = partition.set_aside(&ticket, "no results").await;
                        assert_eq!(set_aside.unwrap(), SetAside::Gone, "{lost}: {unreadable:?}");
                    }
                }
            }
        }
        // The one that a worker holds alone is still there.
        let is_held = !matches!(lost, "claimed" | "tickets");
        assert_eq!(ended, 6 - u64::from(is_held), "{lost}");
        let left = counted(&mut partition).await;
        assert_eq!(left, [0, u64::from(is_held), 0], "{lost}");
        assert_eq!(held_ids(&server).await.len(), usize::from(is_held));
        let aside = key(&server, "aside").await;
        let aside: u32 = redis(&server, &["HLEN", &aside]).await;
        assert_eq!(aside, 0, "{lost}");
    }
}

/// Entries of any form in any line, and tickets that are none, stop nobody: they stand aside, and what they hid goes on.
#[tokio::test]
async fn entries_of_any_form_stop_no_line() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..2).await;
    let key_of = async |name: &str| key(&server, name).await;
    let (waiting, claimed, decided, tickets) = (
        key_of("waiting").await,
        key_of("claimed").await,
        key_of("decided").await,
        key_of("tickets").await,
    );
    let many = [&b"abcdefghijkl"[..], b"\xff\xff12345678"].concat();
    for place in [&b""[..], b"junk", &many] {
        let _: u32 = command(&server, &[b"LPUSH", waiting.as_bytes(), place]).await;
    }
    for line in [&claimed, &decided] {
        for name in ["", "junk", "abcdefghijkl", "longer than a bundle's"] {
            let _: u32 = redis(&server, &["ZADD", line, "0", name]).await;
        }
        let _: u32 = redis(&server, &["ZADD", line, "0", "short ticket"]).await;
    }
    let _: u32 = redis(&server, &["HSET", &tickets, "short ticket", "xy"]).await;
    let bundles = key_of("bundles").await;
    let _: u32 = redis(&server, &["HSET", &bundles, "no name", "no content"]).await;
    let _: u32 = redis(&server, &["HSET", &bundles, "of some name", "junk"]).await;

    for _ in 0..2 {
        for claimed in partition.claim(holder("w"), HELD, 100).await.unwrap() {
            assert!(accept(&mut partition, &claimed).await);
        }
    }
    assert_eq!(record_all(&mut partition).await, [2, 0]);
    mend(&mut partition).await;
    assert_eq!(mend(&mut partition).await, Mended::default());
    assert_eq!(counted(&mut partition).await, [0, 0, 0]);
    let state = partition.state().await.unwrap();
    // Each has its text; of those that stood in two lines there is one.
    let aside = key_of("aside").await;
    let aside: u32 = redis(&server, &["HLEN", &aside]).await;
    assert_eq!(aside, 8);
    let count = state.counters["set_aside_places"];
    assert_eq!(count, 15);
    assert!(!state.counters.contains_key("set_aside"), "{state:?}");
}

/// What is no number, or no text, in a field that a hand has written keeps nobody from reading the rest, and does not stay.
#[tokio::test]
async fn fields_of_any_form_hide_no_others() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..3).await;
    let counters = key(&server, "counters").await;
    for field in ["queued", "recorded_loans", "filter_last", "by hand"] {
        let _: u32 = redis(&server, &["HSET", &counters, field, "abc"]).await;
    }
    let _: u32 = command(&server, &[b"HSET", counters.as_bytes(), b"\xff", b"1"]).await;
    let control = key(&server, "control").await;
    let _: u32 = redis(&server, &["HSET", &control, "decided", "abc"]).await;
    let instances = key(&server, "instances").await;
    for facts in [
        &b"junk"[..],
        b"9999999999999 1 1 \xff",
        b"99 1 99999999999999999999999 {}",
    ] {
        let id = [&b"abcdefghij"[..], &facts[..1]].concat();
        let _: u32 = command(&server, &[b"HSET", instances.as_bytes(), &id, facts]).await;
    }
    let applicants = key(&server, "applicants").await;
    let _: u32 = redis(&server, &["ZADD", &applicants, "1.5", "half@example.org"]).await;

    partition.state().await.unwrap();
    partition.slow_state(10).await.unwrap();
    let beat = partition.beat(Instance::new("here"), 1, 1, "{}", HELD);
    let (alive, mended) = beat.await.unwrap();
    assert_eq!(alive.len(), 1, "{alive:?}");
    let mut counts = mended.counts;
    counts.sort();
    assert_eq!(
        counts,
        ["by hand", "filter_last", "queued", "recorded_loans"]
    );
    let state = partition.state().await.unwrap();
    assert_eq!(state.queued, 3);
    assert!(!state.is_filter_complete, "it lacked its bounds");
    assert!(partition.set_paused(true, 1).await.unwrap());
    assert!(partition.state().await.unwrap().paused);
    assert_eq!(mend(&mut partition).await, Mended::default());
    for _ in 0..3 {
        let claimed = claim_one(&mut partition, holder("w"), HELD).await;
        assert!(accept(&mut partition, &claimed).await);
    }
    assert_eq!(record_all(&mut partition).await, [3, 0]);
}

/// A filter that has lost a part is not believed.
#[tokio::test]
async fn a_filter_that_lacks_a_part_is_doubted() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    go_all_the_way(&mut partition, 0).await;
    let filter = key(&server, "filter:0").await;
    let _: u32 = redis(&server, &["DEL", &filter]).await;
    mend(&mut partition).await;
    let known = admit_one(&mut partition, arrival(0, 2), Known::Nothing).await;
    assert!(matches!(known, Admission::LookUp(_)), "{known:?}");
}

/// A hand has written counts that no call can count with: each call comes to an end, no id is taken for new by a filter that
/// is not there, and the counts begin anew.
#[tokio::test]
async fn counts_beyond_all_bounds_hold_up_nobody() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    go_all_the_way(&mut partition, 0).await;
    admit_all(&mut partition, 1..2).await;
    let counters = key(&server, "counters").await;
    for (first, last) in [
        ("0", "9223372036854775807"),
        ("-9223372036854775808", "0"),
        ("0", "1000000"),
        ("5", "0"),
        ("0.5", "0.5"),
        ("nan", "nan"),
    ] {
        let fields = [
            "HSET",
            &counters,
            "filter_first",
            first,
            "filter_last",
            last,
        ];
        let _: u32 = redis(&server, &fields).await;
        let known = admit_one(&mut partition, arrival(0, 1), Known::Nothing).await;
        assert!(
            matches!(known, Admission::LookUp(_)),
            "{first} {last}: {known:?}"
        );
        let batch = [(arrival(0, 1), Known::Nothing)];
        let told = partition.recognise(&batch, PATIENCE).await.unwrap();
        assert_eq!(told, [MayBeRecorded]);
        partition
            .answered(0, &[&arrival(0, 1).loan_id], PATIENCE)
            .await
            .unwrap();
        mend(&mut partition).await;
        complete_filter(&mut partition).await;
    }
    // What is recorded meanwhile is remembered by no filter: so that is not whole.
    let fields = ["HSET", &counters, "filter_last", "9223372036854775807"];
    let _: u32 = redis(&server, &fields).await;
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert!(accept(&mut partition, &claimed).await);
    assert_eq!(record_all(&mut partition).await, [1, 0]);
    assert!(!partition.state().await.unwrap().is_filter_complete);
    mend(&mut partition).await;
    assert!(!partition.state().await.unwrap().is_filter_complete);

    for field in ["admitted", "admissions", "replayed"] {
        for count in ["9223372036854775807", "-9223372036854775808"] {
            let _: u32 = redis(&server, &["HSET", &counters, field, count]).await;
            assert_eq!(mend(&mut partition).await.counts, [field]);
        }
    }
    assert_eq!(mend(&mut partition).await, Mended::default());
}

/// Instants of the future are from before the clock was set back: they hold up nobody.
#[tokio::test]
async fn instants_of_the_future_hold_up_nobody() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let gone = Instance::new("gone");
    admit_each(&mut partition, 0..1).await;
    let kept = Duration::from_secs(60);
    partition.beat(gone, 1, 1, "{}", kept).await.unwrap();
    claim_one(&mut partition, gone.holder(0), HELD).await;
    let ahead = (now_ms() + 3_600_000).to_string();
    let instances = key(&server, "instances").await;
    let id: Vec<Vec<u8>> = redis(&server, &["HKEYS", &instances]).await;
    let facts = format!("{ahead} 1 1 {{}}");
    let words = [b"HSET", instances.as_bytes(), &id[0], facts.as_bytes()];
    let _: u32 = command(&server, &words).await;
    let (alive, _) = partition
        .beat(Instance::new("here"), 1, 1, "{}", kept)
        .await
        .unwrap();
    assert_eq!(alive.len(), 1, "{alive:?}");
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert!(accept(&mut partition, &claimed).await);

    partition.doubt_filter().await.unwrap();
    let counters = key(&server, "counters").await;
    let _: u32 = redis(&server, &["HSET", &counters, "filter_rebuilt_ms", &ahead]).await;
    assert!(partition.start_rebuilding().await.unwrap().is_some());
}

/// As many stand aside as are allowed: the next one stays where it is, and that is said.
#[tokio::test]
async fn what_stands_aside_is_bounded() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    admit_each(&mut partition, 0..1).await;
    let aside = key(&server, "aside").await;
    let mut fill = vec!["HSET".to_owned(), aside];
    fill.extend((0..1_000).flat_map(|number| [number.to_string(), "by hand".to_owned()]));
    let fill: Vec<_> = fill.iter().map(String::as_bytes).collect();
    let _: u32 = command(&server, &fill).await;
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    let set_aside = partition.set_aside(&claimed.ticket, "a test").await;
    assert_eq!(set_aside.unwrap(), SetAside::Full);
    assert!(partition.slow_state(1).await.unwrap().is_aside_full);
    assert_eq!(counted(&mut partition).await, [0, 1, 0]);
}

/// Bundles that nobody can read are set aside one by one, with their content and the reason; the line goes on.
#[tokio::test]
async fn what_nobody_can_read_is_set_aside() {
    let (server, queue) = start().await;
    let mut door = queue.partition(0);
    // Another process: it reads from Redis.
    let mut worker = queue_at(&server, 1).partition(0);
    admit_each(&mut door, 0..5).await;
    let places: Vec<Vec<u8>> = redis(
        &server,
        &["LRANGE", &key(&server, "waiting").await, "0", "-1"],
    )
    .await;
    let name = |number: usize| places[number][..12].to_vec();
    let bundles = key(&server, "bundles").await;
    let content: Vec<u8> = command(&server, &[b"HGET", bundles.as_bytes(), &name(0)]).await;
    let newer = [&[9], &content[1..]].concat();
    for (number, content) in [(0, &newer[..]), (1, b"\x02junk"), (4, &content)] {
        let words = [b"HSET", bundles.as_bytes(), &name(number), content];
        let _: u32 = command(&server, &words).await;
    }
    let _: u32 = command(&server, &[b"HDEL", bundles.as_bytes(), &name(2)]).await;

    let claimed = worker.claim(holder("w"), HELD, 10).await.unwrap();
    assert_eq!(claimed.len(), 5);
    let faults: Vec<_> = claimed
        .iter()
        .map(|claimed| claimed.bundle.as_ref().err().copied())
        .collect();
    assert_eq!(
        faults,
        [
            Some(Unreadable::Version(9)),
            Some(Unreadable::Torn),
            Some(Unreadable::Missing),
            None,
            // Whole, and of another bundle: nothing tells it from its own.
            None,
        ]
    );
    for claimed in &claimed[..3] {
        let reason = claimed.bundle.as_ref().unwrap_err().to_string();
        for expected in [SetAside::Done, SetAside::Gone] {
            let set_aside = worker.set_aside(&claimed.ticket, &reason).await;
            assert_eq!(set_aside.unwrap(), expected);
        }
        assert!(!accept(&mut worker, claimed).await, "it has left the line");
    }
    let state = worker.state().await.unwrap();
    assert_eq!((state.queued, state.claimed, state.decided), (0, 2, 0));
    assert_eq!(state.counters["set_aside"], 3);
    let aside = key(&server, "aside").await;
    let kept: Vec<u8> = command(&server, &[b"HGET", aside.as_bytes(), &name(1)]).await;
    assert!(kept.starts_with(b"its content is not whole\n"), "{kept:?}");
    assert!(kept.ends_with(b"\0\0\0\x05\x02junk"), "{kept:?}");
    let found = worker.find(&arrival(0, 1).loan_id).await.unwrap();
    assert!(
        matches!(&found, Whereabouts::Aside { reason, .. } if reason.contains("version 9")),
        "{found:?}"
    );
    assert!(accept(&mut worker, &claimed[3]).await);
    assert!(accept(&mut worker, &claimed[4]).await);

    // Results of which one cannot be read.
    let results = key(&server, "results").await;
    let junk = [b"HSET", results.as_bytes(), &name(4), b"junk"];
    let _: u32 = command(&server, &junk).await;
    let tickets = worker.take_decided(holder("r"), HELD, 10).await.unwrap();
    let tickets: Vec<_> = tickets.iter().collect();
    let contents = worker.decided_content(&tickets).await.unwrap();
    let mut recorded = Vec::new();
    for (ticket, content) in tickets.into_iter().zip(contents) {
        match content {
            Ok(content) => recorded.push(content),
            Err(reason) => {
                assert_eq!(bytes_of(ticket.name), name(4));
                let reason = reason.to_string();
                let set_aside = worker.set_aside(ticket, &reason).await;
                assert_eq!(set_aside.unwrap(), SetAside::Done);
            }
        }
    }
    assert_eq!(record(&mut worker, &recorded).await.loans, 1);
    let state = worker.state().await.unwrap();
    assert_eq!((state.queued, state.claimed, state.decided), (0, 0, 0));
    assert_eq!(state.counters["set_aside"], 4);
    for (word, name) in [
        ("HLEN", "bundles"),
        ("HLEN", "tickets"),
        ("HLEN", "results"),
    ] {
        let len: u64 = redis(&server, &[word, &key(&server, name).await]).await;
        assert_eq!(len, 0, "{name}");
    }
    go_all_the_way(&mut worker, 7).await;
}

/// What a hand has put into the line, and is no bundle of this queue, does not hold it up.
#[tokio::test]
async fn what_a_hand_has_written_does_not_hold_the_line() {
    let (server, queue) = start().await;
    let mut partition = queue.partition(0);
    let waiting = key(&server, "waiting").await;
    let _: u32 = redis(&server, &["RPUSH", &waiting, "no place"]).await;
    admit_all(&mut partition, 0..1).await;
    let claimed_key = key(&server, "claimed").await;
    let _: u32 = redis(&server, &["ZADD", &claimed_key, "1", "without-tick"]).await;
    let claimed = partition.claim(holder("w"), HELD, 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].ticket.len, 1);
    assert!(accept(&mut partition, &claimed[0]).await);
    let decided = key(&server, "decided").await;
    let _: u32 = redis(&server, &["ZADD", &decided, "1", "without-resu"]).await;
    let taken = take(&mut partition, HELD, 10).await;
    assert_eq!(record(&mut partition, &taken).await.loans, 1);
    let counters = redis_counters(&server).await;
    assert_counters(
        &counters,
        &[
            ("queued", 0),
            ("claimed", 0),
            ("decided", 0),
            ("set_aside", 0),
            ("set_aside_places", 3),
        ],
    );
    let aside: Vec<String> = redis(&server, &["HKEYS", &key(&server, "aside").await]).await;
    assert_eq!(
        BTreeSet::from_iter(aside),
        BTreeSet::from(["no place", "without-resu", "without-tick"].map(str::to_owned))
    );
    go_all_the_way(&mut partition, 1).await;
}

/// 1. An older version's functions are there, under that version's names. None of them is called.
/// 2. They stay as long as somebody uses them, and a day longer; then they go, and nobody else's do.
#[tokio::test]
async fn two_versions_live_side_by_side() {
    const OLDER: &str = "sluice_0123456789abcdef";
    let (server, _queue) = start().await;
    let functions: Vec<redis::Value> = redis(&server, &["FUNCTION", "LIST"]).await;
    assert_eq!(functions.len(), 1);
    let names = [
        "prepare",
        "admit",
        "recognise",
        "found",
        "claim",
        "decide",
        "take",
        "recorded",
        "set_aside",
        "beat",
        "doubt",
        "rebuild",
        "control",
    ];
    let load = async |library: &str, prefix: &str| {
        let mut text = format!("#!lua name={library}\n");
        for name in names {
            writeln!(
                text,
                "redis.register_function('{prefix}{name}', function() redis.call('SET', 'called', '{name}') return 0 end)"
            )
            .unwrap();
        }
        let _: String = redis(&server, &["FUNCTION", "LOAD", &text]).await;
    };
    load(OLDER, &format!("{OLDER}_")).await;
    load("elsewhere", "").await;
    let mut partition = queue_at(&server, 1).partition(0);
    go_all_the_way(&mut partition, 0).await;
    let alive = partition
        .beat(Instance::new("here"), 1, 1, "{}", HELD)
        .await;
    assert_eq!(alive.unwrap().0.len(), 1);
    assert!(partition.set_paused(true, 1).await.unwrap());
    let called: Option<String> = redis(&server, &["GET", "called"]).await;
    assert_eq!(called, None);

    let libraries = async || -> BTreeSet<String> {
        let client = redis::Client::open(server.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut list = redis::cmd("FUNCTION");
        list.arg("LIST");
        let libraries: Vec<HashMap<String, redis::Value>> =
            list.query_async(&mut connection).await.unwrap();
        libraries
            .iter()
            .map(|library| redis::from_redis_value_ref(&library["library_name"]).unwrap())
            .collect()
    };
    let about = key(&server, "about").await;
    let now_ms = service::clock::now_ms();
    let used = format!("used:{OLDER}");
    for (age_hours, remains) in [(23, true), (25, false)] {
        let then_ms = now_ms - age_hours * 3_600_000;
        let _: u32 = redis(&server, &["HSET", &about, &used, &then_ms.to_string()]).await;
        partition.tidy_libraries().await.unwrap();
        assert_eq!(libraries().await.contains(OLDER), remains, "{age_hours} h");
    }
    assert_eq!(libraries().await.len(), 2);
    let noted: bool = redis(&server, &["HEXISTS", &about, &used]).await;
    assert!(!noted);
    assert!(partition.set_paused(false, 2).await.unwrap());
    go_all_the_way(&mut partition, 1).await;
}

/// Data of another number of partitions, or of another version, is refused; it can be cleared away when it is empty.
#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let (server, one) = start().await;
    let four = queue_at(&server, 4);
    let refused = async |queue: &Queue| match queue.partition(0).probe(PATIENCE).await {
        Ok(()) => None,
        Err(ServiceError::RedisRefused(Refusal::OtherQueue {
            version,
            partitions,
        })) => Some((version, partitions)),
        Err(other) => panic!("{other:?}"),
    };
    let told = |version: &str, partitions: &str| Some((version.to_owned(), partitions.to_owned()));
    assert_eq!(refused(&four).await, told("2", "1"));
    assert_eq!(refused(&one).await, None);

    let mut partition = one.partition(0);
    admit_all(&mut partition, 0..3).await;
    for _ in 0..2 {
        assert_eq!(four.clear_other_partitions().await.unwrap(), 3);
        assert_eq!(one.clear_other_partitions().await.unwrap(), 0);
    }
    let claimed = claim_one(&mut partition, holder("w"), HELD).await;
    assert_eq!(four.clear_other_partitions().await.unwrap(), 3);
    assert!(accept(&mut partition, &claimed).await);
    assert_eq!(four.clear_other_partitions().await.unwrap(), 3);
    assert_eq!(record_all(&mut partition).await, [3, 0]);
    assert_eq!(four.clear_other_partitions().await.unwrap(), 0);
    let keys: u64 = redis(&server, &["DBSIZE"]).await;
    assert_eq!(keys, 0);

    for number in 0..4 {
        complete_filter(&mut four.partition(number)).await;
    }
    assert_eq!(refused(&one).await, told("2", "4"));
    let number = four.partition_of(&arrival(5, 1).loan_id);
    admit_all(&mut four.partition(number), 5..6).await;
    assert_eq!(one.clear_other_partitions().await.unwrap(), 1);
    let about = key(&server, "about").await;
    let _: u32 = redis(&server, &["HSET", &about, "version", "3"]).await;
    assert_eq!(refused(&queue_at(&server, 4)).await, told("3", "4"));
}

/// What clients, workers, recorders and operators do.
#[derive(Clone, Debug)]
enum Step {
    /// Loans with their contents, in one call; room for how many.
    Admit(Vec<(u64, u8)>, u64),
    /// A look-up that nobody ends.
    AbandonLookUp(u64),
    /// A failed loan again, with this content.
    Retry(u64, u8),
    /// By which instance, loans, whether the lease runs out at once.
    Claim(usize, usize, bool),
    /// Which of the tickets that were ever given out, and which loans are accepted.
    Decide(usize, u8),
    /// Which of the tickets that were ever given out.
    Renew(usize),
    /// Loans; whether the recorder lets its lease run out.
    Take(usize, bool),
    /// Which of what was ever taken.
    Record(usize),
    /// Which of the tickets that were ever given out.
    SetAside(usize),
    /// Which instance; whether another start follows it, or it leaves in order.
    End(usize, bool),
    Pause(bool),
    Doubt,
    Rebuild,
}

fn step() -> impl Strategy<Value = Step> {
    let loans = prop::collection::vec((0..8u64, 0..2u8), 1..5);
    prop_oneof![
        10 => (loans, 1..12u64).prop_map(|(loans, room)| Step::Admit(loans, room)),
        1 => (0..8u64).prop_map(Step::AbandonLookUp),
        3 => (0..8u64, 0..3u8).prop_map(|(loan, content)| Step::Retry(loan, content)),
        6 => (0..2usize, 1..6usize, prop::bool::weighted(0.3))
            .prop_map(|(instance, len, runs_out)| Step::Claim(instance, len, runs_out)),
        7 => (any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(which, accepted)| Step::Decide(which.index(1_000), accepted)),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Renew(which.index(1_000))),
        3 => (1..6usize, prop::bool::weighted(0.3)).prop_map(|(len, runs_out)| Step::Take(len, runs_out)),
        5 => any::<prop::sample::Index>().prop_map(|which| Step::Record(which.index(1_000))),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::SetAside(which.index(1_000))),
        1 => (0..2usize, any::<bool>()).prop_map(|(instance, is_followed)| Step::End(instance, is_followed)),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => Just(Step::Doubt),
        1 => Just(Step::Rebuild),
    ]
}

/// A loan: number, content, attempt.
type ModelLoan = (u64, u8, u32);

/// A bundle that a worker holds, or held last.
#[derive(Clone)]
struct ModelClaim {
    loans: Vec<ModelLoan>,
    /// The one that counts; none once its holder has given it back.
    ticket: Option<Ticket>,
    deliveries: u8,
    instance: Instance,
    has_run_out: bool,
}

/// A bundle that is decided.
#[derive(Clone)]
struct ModelDecided {
    loans: Vec<ModelLoan>,
    accepted: Vec<bool>,
    is_taken: bool,
    /// Whether a recorder has had it already.
    was_taken: bool,
}

/// What MongoDB holds of a loan.
#[derive(Clone, Default)]
struct ModelRecord {
    contents: BTreeSet<u8>,
    is_accepted: bool,
    last_attempt: u32,
    waits: bool,
}

/// What the functions promise, without Redis.
#[derive(Default)]
struct Model {
    /// Content and attempt of the loans in Redis.
    held: HashMap<u64, (u8, u32)>,
    look_ups: HashMap<u64, LookUp>,
    records: HashMap<u64, ModelRecord>,
    waiting: VecDeque<Vec<ModelLoan>>,
    claimed: BTreeMap<Name, ModelClaim>,
    decided: BTreeMap<Name, ModelDecided>,
    paused: bool,
    is_filter_complete: bool,
    counters: BTreeMap<&'static str, u64>,
}

impl Model {
    fn count(&mut self, name: &'static str, count: usize) {
        *self.counters.entry(name).or_default() += count as u64;
    }

    fn unrecorded(&self) -> [usize; 3] {
        [
            self.waiting.iter().map(Vec::len).sum(),
            self.claimed.values().map(|claim| claim.loans.len()).sum(),
            self.decided
                .values()
                .map(|decided| decided.loans.len())
                .sum(),
        ]
    }

    /// Whether `outcome` is what one arrival is to be told, with `room` for more loans; notes what follows of it.
    /// Answers whether it is admitted.
    fn arrive(
        &mut self,
        entry: Entry,
        (loan, content, attempt): ModelLoan,
        known: &Known,
        room: usize,
        outcome: &Admission,
    ) -> bool {
        let describe = format!("{loan} {content} {known:?} {entry:?}: {outcome:?}");
        if let Some(&(held, attempt)) = self.held.get(&loan) {
            let expected = if held == content {
                self.count("replayed", 1);
                Admission::Replayed
            } else if attempt > 1 {
                Admission::ConflictUnlessReplaced
            } else {
                Admission::Conflict
            };
            assert_eq!(*outcome, expected, "{describe}");
            return false;
        }
        let is_retry = entry == Entry::Retry;
        let is_paused = self.paused && !is_retry;
        let look_up = self.look_ups.get(&loan);
        let is_certain = matches!(known, Known::LookedUp(shown) if Some(shown) == look_up);
        let is_new = *known == Known::Nothing
            && !is_retry
            && look_up.is_none()
            && self.is_filter_complete
            && !self.records.contains_key(&loan);
        let can_enter = !is_paused && room > 0;
        if is_certain || is_new {
            if can_enter {
                assert_eq!(*outcome, Admission::Admitted, "{describe}");
                self.look_ups.remove(&loan);
                self.held.insert(loan, (content, attempt));
                self.count(if is_retry { "retried" } else { "admitted" }, 1);
                return true;
            }
        } else if *known == Known::Nothing && !is_retry && (self.is_filter_complete || !can_enter) {
            assert_eq!(*outcome, Admission::MayBeRecorded, "{describe}");
            return false;
        } else if can_enter {
            let Admission::LookUp(look_up) = outcome else {
                panic!("{describe}");
            };
            self.look_ups.insert(loan, look_up.clone());
            return false;
        }
        let expected = if is_paused {
            Admission::Paused
        } else {
            Admission::Full
        };
        assert_eq!(*outcome, expected, "{describe}");
        false
    }

    fn finish(&mut self, name: Name) {
        let Some(decided) = self.decided.remove(&name) else {
            return;
        };
        for ((loan, content, attempt), is_accepted) in
            decided.loans.into_iter().zip(decided.accepted)
        {
            self.held.remove(&loan);
            let record = self.records.entry(loan).or_default();
            record.contents.insert(content);
            record.is_accepted |= is_accepted;
            record.waits = !is_accepted;
            record.last_attempt = attempt;
            self.count(
                if is_accepted {
                    "recorded_loans"
                } else {
                    "recorded_failures"
                },
                1,
            );
        }
    }
}

/// Those who act on the queue, and what they remember.
struct Actors {
    model: Model,
    door: Partition,
    worker: Partition,
    instances: [Instance; 2],
    tickets: Vec<(Ticket, Vec<ModelLoan>)>,
    taken: Vec<Content>,
    room: u64,
    /// Looks at the data.
    connection: redis::aio::MultiplexedConnection,
    about: String,
}

impl Actors {
    /// One call of admission; each outcome is what the model says.
    async fn call(&mut self, entry: Entry, arrivals: &[(ModelLoan, Known)]) -> Vec<Admission> {
        let unrecorded: usize = self.model.unrecorded().iter().sum();
        let backlog_max = self.room;
        let sent: Vec<_> = arrivals
            .iter()
            .map(|(loan, known)| {
                let arrival = Arrival {
                    attempt: loan.2,
                    ..arrival(loan.0, loan.1)
                };
                (arrival, known.clone())
            })
            .collect();
        let outcomes = admit(&mut self.door, entry, &sent, backlog_max).await;
        let mut room = (backlog_max as usize).saturating_sub(unrecorded);
        let mut bundle = Vec::new();
        for ((loan, known), outcome) in arrivals.iter().zip(&outcomes) {
            if self.model.arrive(entry, *loan, known, room, outcome) {
                bundle.push(*loan);
                room -= 1;
            }
        }
        if !bundle.is_empty() {
            if entry == Entry::Retry {
                for loan in &bundle {
                    self.model.records.get_mut(&loan.0).unwrap().waits = false;
                }
            }
            self.model.waiting.push_back(bundle);
        }
        outcomes
    }

    async fn answered(&mut self, replayed: usize, loan: u64) {
        let id = arrival(loan, 0).loan_id;
        self.door
            .answered(replayed, &[&id], PATIENCE)
            .await
            .unwrap();
        self.model.look_ups.remove(&loan);
        self.model.count("replayed", replayed);
    }

    /// What the door does for an arrival that MongoDB has to be asked about.
    async fn ask(&mut self, loan: ModelLoan, mut outcome: Admission) {
        for _ in 0..5 {
            let known = match outcome {
                Admission::MayBeRecorded => Known::NotRecorded,
                Admission::LookUp(look_up) => Known::LookedUp(look_up),
                _ => return,
            };
            if let Some(record) = self.model.records.get(&loan.0) {
                let is_replay = record.contents.contains(&loan.1);
                return self.answered(usize::from(is_replay), loan.0).await;
            }
            outcome = self.call(Entry::New, &[(loan, known)]).await.remove(0);
        }
        panic!("nobody else looks it up");
    }

    /// What a retry does.
    async fn retry(&mut self, loan: u64, content: u8) {
        let may = |model: &Model| {
            let record = model.records.get(&loan)?;
            (!record.is_accepted && record.waits).then_some(record.last_attempt)
        };
        let Some(attempt) = may(&self.model) else {
            return;
        };
        let again = (loan, content, attempt + 1);
        let asked = self
            .call(Entry::Retry, &[(again, Known::NotRecorded)])
            .await;
        if let Admission::LookUp(look_up) = &asked[0] {
            let known = Known::LookedUp(look_up.clone());
            self.call(Entry::Retry, &[(again, known)]).await;
        }
    }

    async fn claim(&mut self, number: usize, len_max: usize, runs_out: bool) {
        let lease = if runs_out { RUN_OUT } else { HELD };
        let holder = self.instances[number].holder(0);
        let claimed = self.worker.claim(holder, lease, len_max).await.unwrap();
        let mut taken = 0;
        let mut let_fall: BTreeSet<_> = self
            .model
            .claimed
            .iter()
            .filter(|(_, claim)| claim.has_run_out)
            .map(|(name, _)| *name)
            .collect();
        for Claimed { ticket, bundle } in claimed {
            assert!(taken < len_max, "one more than was asked for");
            taken += ticket.len;
            let loans: Vec<ModelLoan> = bundle
                .unwrap()
                .loans
                .iter()
                .map(|loan| {
                    let number = loan.loan_id[3..].parse().unwrap();
                    let content = loan.fingerprint.as_bytes()[0];
                    assert_eq!(loan.body, arrival(number, content).body);
                    (number, content, loan.attempt)
                })
                .collect();
            if let_fall.remove(&ticket.name) {
                let before = &self.model.claimed[&ticket.name];
                assert_eq!(loans, before.loans);
                assert_eq!(ticket.deliveries, before.deliveries + 1);
                self.model.count("redelivered", loans.len());
            } else {
                assert!(let_fall.is_empty(), "what was let fall comes first");
                let first = self.model.waiting.pop_front();
                assert_eq!(Some(&loans), first.as_ref(), "first come, first served");
                assert_eq!(ticket.deliveries, 1);
            }
            self.tickets.push((ticket.clone(), loans.clone()));
            let claim = ModelClaim {
                loans,
                ticket: Some(ticket.clone()),
                deliveries: ticket.deliveries,
                instance: self.instances[number],
                has_run_out: runs_out,
            };
            self.model.claimed.insert(ticket.name, claim);
        }
        let rest = !let_fall.is_empty() || !self.model.waiting.is_empty();
        assert!(
            taken >= len_max || !rest,
            "less than was asked for, and there is more"
        );
    }

    async fn decide(&mut self, which: usize, accepts: u8) {
        let Some((ticket, loans)) = pick(&self.tickets, which) else {
            return;
        };
        let accepts: Vec<_> = (0..loans.len())
            .map(|n| accepts >> (n % 8) & 1 == 1)
            .collect();
        let decisions = accepts
            .iter()
            .map(|&accepts| if accepts { accepted() } else { failed() })
            .collect();
        let won = decide(&mut self.worker, &ticket, decisions).await;
        let is_held = self
            .model
            .claimed
            .get(&ticket.name)
            .is_some_and(|claim| claim.ticket.as_ref() == Some(&ticket));
        assert_eq!(won, is_held);
        if !won {
            self.model.count("lost_commit_races", loans.len());
            return;
        }
        self.model.claimed.remove(&ticket.name);
        for is_accepted in &accepts {
            let name = if *is_accepted {
                "accepted"
            } else {
                "failed:out_of_range"
            };
            self.model.count(name, 1);
        }
        let decided = ModelDecided {
            loans,
            accepted: accepts,
            is_taken: false,
            was_taken: false,
        };
        self.model.decided.insert(ticket.name, decided);
    }

    async fn renew(&mut self, which: usize) {
        let Some((ticket, _)) = pick(&self.tickets, which) else {
            return;
        };
        let still = self.worker.renew(HELD, &[&ticket]).await.unwrap();
        let claim = self.model.claimed.get_mut(&ticket.name);
        let held = claim.filter(|claim| claim.ticket.as_ref() == Some(&ticket));
        assert_eq!(still, [held.is_some()]);
        if let Some(claim) = held {
            claim.has_run_out = false;
        }
    }

    async fn take(&mut self, len_max: usize, runs_out: bool) {
        let lease = if runs_out { RUN_OUT } else { HELD };
        let contents = take(&mut self.worker, lease, len_max).await;
        let mut len = 0;
        for content in &contents {
            assert!(len < len_max, "one more than was asked for");
            len += content.bundle.loans.len();
            let decided = self.model.decided.get_mut(&content.bundle.name).unwrap();
            assert!(!decided.is_taken, "another has it");
            decided.is_taken = !runs_out;
            if std::mem::replace(&mut decided.was_taken, true) {
                let len = content.bundle.loans.len();
                self.model.count("redelivered", len);
            }
            let decided = &self.model.decided[&content.bundle.name];
            let accepted: Vec<_> = content
                .results
                .decisions
                .iter()
                .map(|decision| matches!(decision, Decision::Accepted(_)))
                .collect();
            assert_eq!(accepted, decided.accepted);
        }
        let free = self.model.decided.values().any(|decided| !decided.is_taken);
        assert!(
            len >= len_max || !free || runs_out,
            "less than was asked for, and there is more"
        );
        self.taken.extend(contents);
    }

    async fn record(&mut self, which: usize) {
        if self.taken.is_empty() {
            return;
        }
        let content = &self.taken[which % self.taken.len()];
        let name = content.bundle.name;
        let expected = self
            .model
            .decided
            .get(&name)
            .map_or(0, |decided| decided.loans.len());
        let freed = record(&mut self.worker, std::slice::from_ref(content)).await;
        assert_eq!(freed.loans + freed.failures, expected as u64);
        self.model.finish(name);
        let count = |name: &str| self.model.counters.get(name).copied().unwrap_or_default();
        assert_eq!(
            freed.recorded,
            count("recorded_loans") + count("recorded_failures")
        );
    }

    async fn set_aside(&mut self, which: usize) {
        let Some((ticket, loans)) = pick(&self.tickets, which) else {
            return;
        };
        let was_there = self.model.claimed.remove(&ticket.name).is_some()
            | self.model.decided.remove(&ticket.name).is_some();
        let set_aside = self.worker.set_aside(&ticket, "for a test").await.unwrap();
        assert_eq!(set_aside == SetAside::Done, was_there);
        if was_there {
            self.model.count("set_aside", loans.len());
        }
    }

    async fn end(&mut self, number: usize, is_followed: bool) {
        let former = self.instances[number];
        let next = Instance::new(&number.to_string());
        if !is_followed {
            self.worker.leave(former).await.unwrap();
        }
        let (alive, mended) = self.worker.beat(next, 1, 1, "{}", HELD).await.unwrap();
        assert_eq!(alive.len(), 2);
        // What is set aside is counted anew then; nothing else is ever to be mended.
        assert_eq!(mended, Mended::default());
        self.instances[number] = next;
        for claim in self.model.claimed.values_mut() {
            if claim.instance == former {
                claim.has_run_out = true;
                if !is_followed && claim.ticket.take().is_some() {
                    claim.deliveries -= 1;
                }
            }
        }
    }

    async fn rebuild(&mut self) {
        let started = self.worker.start_rebuilding().await.unwrap();
        assert_eq!(started.is_some(), !self.model.is_filter_complete);
        let Some(rebuilding) = started else {
            return;
        };
        let mut ids = Ids::default();
        for loan in self.model.records.keys() {
            ids.push(arrival(*loan, 0).hash);
        }
        let filled = self.worker.fill_filter(&rebuilding, &ids, true).await;
        assert!(filled.unwrap());
        self.model.is_filter_complete = true;
    }

    async fn act(&mut self, step: Step) {
        match step {
            Step::Admit(loans, room) => {
                self.room = room;
                let arrivals: Vec<_> = loans
                    .into_iter()
                    .map(|(loan, content)| ((loan, content, 1), Known::Nothing))
                    .collect();
                let outcomes = self.call(Entry::New, &arrivals).await;
                for ((loan, _), outcome) in arrivals.into_iter().zip(outcomes) {
                    self.ask(loan, outcome).await;
                }
            }
            Step::AbandonLookUp(loan) => {
                self.call(Entry::New, &[((loan, 0, 1), Known::NotRecorded)])
                    .await;
            }
            Step::Retry(loan, content) => self.retry(loan, content).await,
            Step::Claim(number, len_max, runs_out) => self.claim(number, len_max, runs_out).await,
            Step::Decide(which, accepts) => self.decide(which, accepts).await,
            Step::Renew(which) => self.renew(which).await,
            Step::Take(len_max, runs_out) => self.take(len_max, runs_out).await,
            Step::Record(which) => self.record(which).await,
            Step::SetAside(which) => self.set_aside(which).await,
            Step::End(number, is_followed) => self.end(number, is_followed).await,
            Step::Pause(paused) => {
                let changed = self.worker.set_paused(paused, 1).await.unwrap();
                assert_eq!(changed, paused != self.model.paused);
                self.model.paused = paused;
            }
            Step::Doubt => {
                let was_complete = self.worker.doubt_filter().await.unwrap();
                assert!(was_complete || !self.model.is_filter_complete);
                self.model.is_filter_complete = false;
            }
            Step::Rebuild => self.rebuild().await,
        }
    }

    /// What Redis counts, what is in its data, and what the model has are the same.
    async fn compare(&mut self) {
        let state = self.worker.state().await.unwrap();
        let counted = [state.queued, state.claimed, state.decided];
        assert_eq!(counted, self.model.unrecorded().map(|len| len as u64));
        let data = Data::read(&mut self.connection, &self.about).await;
        assert_eq!(counted, data.recount());
        assert_eq!(state.paused, self.model.paused);
        assert_eq!(state.is_filter_complete, self.model.is_filter_complete);
        let count = |name: &str| self.model.counters.get(name).copied().unwrap_or_default();
        for name in [
            "admitted",
            "retried",
            "replayed",
            "accepted",
            "failed:out_of_range",
            "lost_commit_races",
            "redelivered",
            "recorded_loans",
            "recorded_failures",
            "set_aside",
        ] {
            let found = state.counters.get(name).copied().unwrap_or_default();
            assert_eq!(found, count(name), "{name}");
        }
        let waiting = count("failed:out_of_range") - count("retried");
        assert_eq!(state.failed_waiting, waiting);
        let ids: BTreeSet<_> = data.ids.into_iter().collect();
        let known = self.model.held.keys().chain(self.model.look_ups.keys());
        assert_eq!(ids, known.map(|loan| support::loan_id(*loan)).collect());
    }
}

fn pick<T: Clone>(items: &[T], which: usize) -> Option<T> {
    (!items.is_empty()).then(|| items[which % items.len()].clone())
}

/// What stands in Redis, read at one instant.
struct Data {
    ids: Vec<String>,
    bundles: HashMap<Vec<u8>, Vec<u8>>,
    waiting: Vec<Vec<u8>>,
    claimed: Vec<Vec<u8>>,
    decided: Vec<Vec<u8>>,
    tickets: HashMap<Vec<u8>, Vec<u8>>,
    results: HashMap<Vec<u8>, Vec<u8>>,
}

impl Data {
    async fn read(connection: &mut redis::aio::MultiplexedConnection, about: &str) -> Self {
        let key = |name: &str| about.replace("about", name);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.hkeys(key("ids")).hgetall(key("bundles"));
        pipeline.lrange(key("waiting"), 0, -1);
        pipeline.zrange(key("claimed"), 0, -1);
        pipeline.zrange(key("decided"), 0, -1);
        pipeline.hgetall(key("tickets")).hgetall(key("results"));
        let (ids, bundles, waiting, claimed, decided, tickets, results) =
            pipeline.query_async(connection).await.unwrap();
        Self {
            ids,
            bundles,
            waiting,
            claimed,
            decided,
            tickets,
            results,
        }
    }

    /// Loans that wait, are claimed and are decided. Every bundle is in one of these states, and has what belongs to it.
    fn recount(&self) -> [u64; 3] {
        let len_at = |bytes: &[u8], at: usize| {
            u64::from(u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()))
        };
        let len_of = |name: &[u8]| len_at(&self.bundles[name], 9);
        let mut lens = [0; 3];
        for place in &self.waiting {
            let name = &place[..12];
            assert_eq!(len_at(place, 12), len_of(name));
            assert!(!self.tickets.contains_key(name) && !self.results.contains_key(name));
            lens[0] += len_of(name);
        }
        for name in &self.claimed {
            assert!(self.tickets.contains_key(name) && !self.results.contains_key(name));
            lens[1] += len_of(name);
        }
        for name in &self.decided {
            assert!(self.tickets.contains_key(name) && self.results.contains_key(name));
            lens[2] += len_of(name);
        }
        let with_ticket = self.claimed.len() + self.decided.len();
        assert_eq!(self.tickets.len(), with_ticket);
        assert_eq!(self.results.len(), self.decided.len());
        assert_eq!(self.bundles.len(), self.waiting.len() + with_ticket);
        lens
    }
}

/// Any order of steps has the outcomes that a few maps in memory have.
#[test]
fn the_functions_behave_as_their_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(start_redis());
    let config = ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let strategy = (prop::collection::vec(step(), 1..60), any::<bool>());
    proptest!(config, |((steps, is_one_process) in strategy)| {
        runtime.block_on(async {
            let _: String = redis(&server, &["FLUSHALL"]).await;
            let queue = queue_at(&server, 1);
            let other = queue_at(&server, 1);
            let client = redis::Client::open(server.url()).unwrap();
            let mut actors = Actors {
                model: Model::default(),
                door: queue.partition(0),
                worker: if is_one_process { queue.partition(0) } else { other.partition(0) },
                instances: ["0", "1"].map(Instance::new),
                tickets: Vec::new(),
                taken: Vec::new(),
                room: 8,
                connection: client.get_multiplexed_async_connection().await.unwrap(),
                about: String::new(),
            };
            for instance in actors.instances {
                actors.worker.beat(instance, 1, 1, "{}", HELD).await.unwrap();
            }
            actors.rebuild().await;
            actors.about = key(&server, "about").await;
            for step in steps {
                actors.act(step).await;
                actors.compare().await;
            }
        });
    });
}

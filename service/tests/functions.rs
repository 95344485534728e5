//! The transitions of a loan in Redis, one by one, on a real Redis.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use service::loan::{Category, Fingerprint, LoanId};
use service::queue::admission::{Admission, Arrival, LookUp};
use service::queue::claim::{Ask, Claimed, Outcome};
use service::queue::record::Kind;
use service::queue::{Link, Queue};
use support::{held_ids, lengths, pending, redis, redis_counters, wait_until};
use testbed::{RedisOptions, RedisServer, Servers};

const NO_BOUND: u64 = u64::MAX >> 12;
/// New loans; the stream is not waited on for longer than this.
const NEW: Ask = Ask::New(Duration::from_millis(1));

async fn start() -> (RedisServer, Queue) {
    let server = RedisServer::start(&Servers::discover().unwrap(), RedisOptions::default())
        .await
        .unwrap();
    let queue = Queue::new(&server.url(), 1).unwrap();
    (server, queue)
}

fn arrival(number: u64, content: u8) -> Arrival {
    Arrival {
        loan_id: LoanId::new(&support::loan_id(number)).unwrap(),
        fingerprint: Fingerprint::from_bytes(&[content; 16]).unwrap(),
        received_us: 1_700_000_000_000_000 + number,
        body: Bytes::from(format!("body {number} {content}")),
    }
}

async fn admit_one(link: &mut Link, arrival: Arrival, look_up: Option<LookUp>) -> Admission {
    let mut outcomes = link.admit(&[(arrival, look_up)], NO_BOUND).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Admits the loans of `numbers`, which nobody knows yet.
async fn admit_all(link: &mut Link, numbers: std::ops::Range<u64>) {
    let arrivals: Vec<_> = numbers.map(|number| (arrival(number, 1), None)).collect();
    let outcomes = link.admit(&arrivals, NO_BOUND).await.unwrap();
    assert_eq!(outcomes, vec![Admission::Admitted; arrivals.len()]);
}

fn accepted(claimed: &Claimed) -> (Claimed, Outcome) {
    (claimed.clone(), Outcome::Accepted(b"document".to_vec()))
}

fn failed(claimed: &Claimed) -> (Claimed, Outcome) {
    let outcome = Outcome::Failed(Category::OutOfRange, b"document".to_vec());
    (claimed.clone(), outcome)
}

/// Records whatever waits; answers how many loans and failures.
async fn record_all(link: &mut Link) -> [usize; 2] {
    let mut counts = [0; 2];
    for (count, kind) in counts.iter_mut().zip([Kind::Loans, Kind::Failures]) {
        let taken = link
            .take_unrecorded(kind, "m1", false, 1_000)
            .await
            .unwrap();
        link.recorded(kind, &taken, 0).await.unwrap();
        *count = taken.len();
    }
    counts
}

async fn look_up_of(link: &mut Link, arrival: Arrival) -> LookUp {
    match admit_one(link, arrival, None).await {
        Admission::MayBeRecorded(look_up) => look_up,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_loan_goes_its_way_once() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    assert_eq!(
        admit_one(&mut link, arrival(1, 1), None).await,
        Admission::Admitted
    );
    assert_eq!(
        admit_one(&mut link, arrival(1, 1), None).await,
        Admission::Replayed
    );
    assert_eq!(
        admit_one(&mut link, arrival(1, 2), None).await,
        Admission::Conflict
    );

    let claimed = link.claim("w1", NEW, 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].loan_id, support::loan_id(1));
    assert_eq!(claimed[0].fingerprint, arrival(1, 1).fingerprint);
    assert_eq!(claimed[0].received_us, arrival(1, 1).received_us);
    assert_eq!(claimed[0].body, arrival(1, 1).body);
    assert!(link.claim("w2", NEW, 10).await.unwrap().is_empty());
    let again = link.claim("w1", Ask::Mine, 10).await.unwrap();
    assert_eq!(again.len(), 1, "what was not committed is given out again");

    let outcome = [accepted(&claimed[0])];
    assert_eq!(link.commit(&outcome).await.unwrap(), [true]);
    assert_eq!(link.commit(&outcome).await.unwrap(), [false]);
    assert!(link.claim("w1", Ask::Mine, 10).await.unwrap().is_empty());
    assert_eq!(lengths(&server).await, [0, 1, 0]);
    assert_eq!(
        admit_one(&mut link, arrival(1, 1), None).await,
        Admission::Replayed
    );

    let taken = link
        .take_unrecorded(Kind::Loans, "m1", false, 10)
        .await
        .unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].loan_id, support::loan_id(1));
    assert_eq!(taken[0].document, b"document");
    link.recorded(Kind::Loans, &taken, 0).await.unwrap();
    link.recorded(Kind::Loans, &taken, 0).await.unwrap();
    assert_eq!(lengths(&server).await, [0; 3]);
    assert_eq!(pending(&server).await, [0; 3]);
    let counters = redis_counters(&server).await;
    for (name, count) in [
        ("admitted", 1),
        ("replayed", 2),
        ("accepted", 1),
        ("lost_commit_races", 1),
        ("recorded_loans", 1),
    ] {
        assert_eq!(counters[name], count, "{name} of {counters:?}");
    }
}

/// 1. One worker claims and falls silent; another takes the loan over.
/// 2. Both commit, with other outcomes: the first alone has an effect, whoever it is.
#[tokio::test]
async fn of_two_holders_one_wins() {
    let (server, queue) = start().await;
    let mut slow = queue.link(0);
    let mut quick = queue.link(0);
    admit_all(&mut slow, 0..2).await;
    let held = slow.claim("slow", NEW, 10).await.unwrap();
    let mut taken = Vec::new();
    wait_until("the loans are silent long enough", async || {
        taken.extend(
            quick
                .take_over("quick", Duration::from_millis(20), 10)
                .await
                .unwrap(),
        );
        taken.len() >= 2
    })
    .await;
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].deliveries, 2);
    assert_eq!(taken[0].body, held[0].body);
    assert!(slow.claim("slow", Ask::Mine, 10).await.unwrap().is_empty());

    assert_eq!(slow.commit(&[accepted(&held[0])]).await.unwrap(), [true]);
    let late = [failed(&taken[0]), failed(&taken[1])];
    assert_eq!(quick.commit(&late).await.unwrap(), [false, true]);
    assert_eq!(slow.commit(&[accepted(&held[1])]).await.unwrap(), [false]);
    assert_eq!(lengths(&server).await, [0, 1, 1]);
    let counters = redis_counters(&server).await;
    for (name, count) in [
        ("accepted", 1),
        ("failed:out_of_range", 1),
        ("lost_commit_races", 2),
        ("redelivered", 2),
    ] {
        assert_eq!(counters[name], count, "{name} of {counters:?}");
    }
}

/// Each of 64 loans is committed by eight links at once; each is won once.
#[tokio::test]
async fn commits_at_once_are_won_once() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    admit_all(&mut link, 0..64).await;
    let claimed = link.claim("w1", NEW, 64).await.unwrap();
    let outcomes: Vec<_> = claimed.iter().map(accepted).collect();
    let commits: Vec<_> = (0..8)
        .map(|_| {
            let (mut link, outcomes) = (queue.link(0), outcomes.clone());
            tokio::spawn(async move { link.commit(&outcomes).await.unwrap() })
        })
        .collect();
    let mut wins = vec![0; claimed.len()];
    for commit in commits {
        for (wins, won) in wins.iter_mut().zip(commit.await.unwrap()) {
            *wins += u32::from(won);
        }
    }
    assert_eq!(wins, vec![1; claimed.len()]);
    assert_eq!(lengths(&server).await, [0, 64, 0]);
}

/// Results that a recorder took and never confirmed go to another one.
#[tokio::test]
async fn abandoned_results_are_taken_over() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    admit_all(&mut link, 0..2).await;
    let claimed = link.claim("w1", NEW, 10).await.unwrap();
    let outcomes = [accepted(&claimed[0]), failed(&claimed[1])];
    assert_eq!(link.commit(&outcomes).await.unwrap(), [true, true]);
    for kind in [Kind::Loans, Kind::Failures] {
        let lost = link.take_unrecorded(kind, "gone", false, 10).await.unwrap();
        assert_eq!(lost.len(), 1);
        wait_until("the result is silent long enough", async || {
            let idle = Duration::from_millis(20);
            let taken = link
                .take_over_unrecorded(kind, "m2", idle, 10)
                .await
                .unwrap();
            link.recorded(kind, &taken, 0).await.unwrap();
            !taken.is_empty()
        })
        .await;
    }
    assert_eq!(lengths(&server).await, [0; 3]);
    assert_eq!(pending(&server).await, [0; 3]);
}

/// A consumer that is gone is forgotten only when it holds nothing: what it holds is not lost.
#[tokio::test]
async fn a_consumer_that_holds_a_loan_is_kept() {
    let (_server, queue) = start().await;
    let mut link = queue.link(0);
    admit_all(&mut link, 0..1).await;
    assert!(link.claim("empty", Ask::Mine, 1).await.unwrap().is_empty());
    let held = link.claim("holder", NEW, 1).await.unwrap();
    assert_eq!(held.len(), 1);
    wait_until("the idle consumer is forgotten", async || {
        link.forget_idle_consumers(Duration::from_millis(1))
            .await
            .unwrap()
            > 0
    })
    .await;
    let again = link.claim("holder", Ask::Mine, 1).await.unwrap();
    assert_eq!(again.len(), 1);
}

/// Links that are connected already find the functions, then everything, gone.
#[tokio::test]
async fn what_redis_has_lost_is_made_again() {
    let (server, queue) = start().await;
    let mut links = [queue.link(0), queue.link(0), queue.link(0)];
    let [door, worker, recorder] = &mut links;
    admit_all(door, 0..1).await;
    let held = worker.claim("w1", NEW, 1).await.unwrap();
    let _ = recorder
        .take_unrecorded(Kind::Loans, "m1", false, 1)
        .await
        .unwrap();

    let _: String = redis(&server, &["FUNCTION", "FLUSH"]).await;
    assert_eq!(worker.commit(&[accepted(&held[0])]).await.unwrap(), [true]);
    let _: String = redis(&server, &["FUNCTION", "FLUSH"]).await;
    admit_all(door, 1..2).await;
    let _: String = redis(&server, &["FUNCTION", "FLUSH"]).await;
    assert_eq!(record_all(recorder).await, [1, 0]);

    let _: String = redis(&server, &["FLUSHALL"]).await;
    admit_all(door, 2..3).await;
    let _: String = redis(&server, &["FLUSHALL"]).await;
    assert!(worker.claim("w1", NEW, 1).await.unwrap().is_empty());
    let _: String = redis(&server, &["FLUSHALL"]).await;
    assert_eq!(record_all(recorder).await, [0, 0]);
    let _: String = redis(&server, &["FLUSHALL"]).await;
    let _: String = redis(&server, &["FUNCTION", "FLUSH"]).await;
    admit_all(door, 3..4).await;
    let held = worker.claim("w1", NEW, 1).await.unwrap();
    assert_eq!(held.len(), 1);

    // Between MongoDB's confirmation and its note here, Redis forgets: the note still counts.
    assert_eq!(worker.commit(&[accepted(&held[0])]).await.unwrap(), [true]);
    let taken = recorder
        .take_unrecorded(Kind::Loans, "m1", false, 1)
        .await
        .unwrap();
    assert_eq!(taken.len(), 1);
    let _: String = redis(&server, &["FLUSHALL"]).await;
    recorder.recorded(Kind::Loans, &taken, 0).await.unwrap();
    let _ = look_up_of(door, arrival(3, 1)).await;
}

#[tokio::test]
async fn pause_and_backlog_hold_new_loans_only() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    admit_all(&mut link, 0..1).await;
    let _: u32 = redis(&server, &["HSET", "{l:0}:ctl", "paused", "1"]).await;
    assert!(link.state().await.unwrap().paused);
    assert_eq!(
        admit_one(&mut link, arrival(1, 1), None).await,
        Admission::Paused
    );
    assert_eq!(
        admit_one(&mut link, arrival(0, 1), None).await,
        Admission::Replayed
    );
    assert_eq!(
        admit_one(&mut link, arrival(0, 2), None).await,
        Admission::Conflict
    );
    let _: u32 = redis(&server, &["HDEL", "{l:0}:ctl", "paused"]).await;

    // One has its place; of three more, one finds room for two.
    let batch = [1, 0, 2, 3].map(|number| (arrival(number, 1), None));
    let outcomes = link.admit(&batch, 2).await.unwrap();
    assert_eq!(
        outcomes,
        [
            Admission::Admitted,
            Admission::Replayed,
            Admission::Full,
            Admission::Full
        ]
    );
    assert_eq!(lengths(&server).await, [2, 0, 0]);
    assert_eq!(held_ids(&server).await.len(), 2);
}

/// 1. A recorded loan: its id is freed, and asked for again it has to be looked up.
/// 2. Two clients look it up; the first one's token is stale then and admits nothing.
/// 3. The second one's admits (MongoDB did not know it, say), once.
/// 4. A look-up that found the loan frees its mark, a stale one does not touch another's.
#[tokio::test]
async fn a_stale_look_up_admits_nothing() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    admit_all(&mut link, 0..1).await;
    let claimed = link.claim("w1", NEW, 1).await.unwrap();
    link.commit(&[accepted(&claimed[0])]).await.unwrap();
    assert_eq!(held_ids(&server).await.len(), 1);
    assert_eq!(record_all(&mut link).await, [1, 0]);
    assert_eq!(held_ids(&server).await, Vec::<String>::new());

    let first = look_up_of(&mut link, arrival(0, 1)).await;
    let second = look_up_of(&mut link, arrival(0, 1)).await;
    assert_ne!(first, second);
    let third = match admit_one(&mut link, arrival(0, 1), Some(first.clone())).await {
        Admission::MayBeRecorded(third) => third,
        other => panic!("{other:?}"),
    };
    let id = arrival(0, 1).loan_id;
    link.found_recorded(&id, &second, true).await.unwrap();
    assert_eq!(held_ids(&server).await.len(), 1, "another's mark stays");
    assert_eq!(
        admit_one(&mut link, arrival(0, 1), Some(third.clone())).await,
        Admission::Admitted
    );
    assert_eq!(
        admit_one(&mut link, arrival(0, 1), Some(third)).await,
        Admission::Replayed
    );
    assert_eq!(lengths(&server).await, [1, 0, 0]);

    let claimed = link.claim("w1", NEW, 1).await.unwrap();
    link.commit(&[accepted(&claimed[0])]).await.unwrap();
    assert_eq!(record_all(&mut link).await, [1, 0]);
    let last = look_up_of(&mut link, arrival(0, 1)).await;
    link.found_recorded(&id, &last, true).await.unwrap();
    assert_eq!(held_ids(&server).await, Vec::<String>::new());
}

/// A full Redis refuses new loans, and lets out those that it has: also to workers and recorders
/// that connect anew.
#[tokio::test]
async fn a_full_redis_drains() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    admit_all(&mut link, 0..4).await;
    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = link.admit(&[(arrival(9, 1), None)], NO_BOUND).await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("maxmemory") || error.contains("OOM"),
        "{error}"
    );
    assert_eq!(lengths(&server).await, [4, 0, 0]);
    assert_eq!(held_ids(&server).await.len(), 4);

    for (link, consumer) in [(&mut link, "w1"), (&mut queue.link(0), "w2")] {
        let claimed = link.claim(consumer, NEW, 2).await.unwrap();
        let outcomes = [accepted(&claimed[0]), failed(&claimed[1])];
        assert_eq!(link.commit(&outcomes).await.unwrap(), [true, true]);
        assert_eq!(record_all(link).await, [1, 1]);
    }
    assert_eq!(lengths(&server).await, [0; 3]);

    let _: String = redis(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    admit_all(&mut link, 9..10).await;
}

/// Loans that have gone their whole way leave no key: memory follows the backlog.
#[tokio::test]
async fn recorded_loans_leave_no_key() {
    let (server, queue) = start().await;
    let mut link = queue.link(0);
    let keys = async || -> u64 { redis(&server, &["DBSIZE"]).await };
    let mut before = None;
    for round in 0..4 {
        admit_all(&mut link, round * 500..(round + 1) * 500).await;
        let claimed = link.claim("w1", NEW, 500).await.unwrap();
        let outcomes: Vec<_> = claimed.iter().map(accepted).collect();
        link.commit(&outcomes).await.unwrap();
        assert_eq!(held_ids(&server).await.len(), 500);
        assert_eq!(record_all(&mut link).await, [500, 0]);
        assert_eq!(held_ids(&server).await, Vec::<String>::new());
        let now = keys().await;
        assert_eq!(*before.get_or_insert(now), now);
    }
}

/// What an operator or a client does.
#[derive(Clone, Debug)]
enum Step {
    /// Loan, content.
    Admit(u64, u8),
    Claim(usize),
    /// Which of the held, whether it is accepted.
    Commit(usize, bool),
    /// Which of those committed before.
    CommitAgain(usize),
    Record,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..6u64, 0..2u8).prop_map(|(loan, content)| Step::Admit(loan, content)),
        2 => (1..4usize).prop_map(Step::Claim),
        3 => (any::<prop::sample::Index>(), prop::bool::weighted(0.8))
            .prop_map(|(which, accepts)| Step::Commit(which.index(1_000), accepts)),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::CommitAgain(which.index(1_000))),
        1 => Just(Step::Record),
    ]
}

/// What the functions promise, without Redis.
#[derive(Default)]
struct Model {
    /// The content that each known loan was admitted with, and whether it has left Redis.
    known: std::collections::HashMap<u64, (u8, bool)>,
    queued: std::collections::VecDeque<u64>,
    unrecorded: Vec<u64>,
    unlogged: usize,
    admitted: u64,
    replayed: u64,
    lost: u64,
}

async fn follow(link: &mut Link, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut held: Vec<(u64, Claimed)> = Vec::new();
    let mut committed: Vec<Claimed> = Vec::new();
    let number_of = |claimed: &Claimed| -> u64 { claimed.loan_id[3..].parse().unwrap() };
    for step in steps {
        match step {
            Step::Admit(loan, content) => {
                let outcome = admit_one(link, arrival(loan, content), None).await;
                match (model.known.get(&loan).copied(), outcome) {
                    (None, Admission::Admitted) => {
                        model.known.insert(loan, (content, false));
                        model.queued.push_back(loan);
                        model.admitted += 1;
                    }
                    (Some((first, false)), Admission::Replayed) if first == content => {
                        model.replayed += 1;
                    }
                    (Some((first, false)), Admission::Conflict) if first != content => {}
                    (Some((first, true)), Admission::MayBeRecorded(look_up)) => {
                        let id = arrival(loan, content).loan_id;
                        let is_same = first == content;
                        link.found_recorded(&id, &look_up, is_same).await.unwrap();
                        model.replayed += u64::from(is_same);
                    }
                    (known, outcome) => panic!("{loan} {content}: {known:?}, {outcome:?}"),
                }
            }
            Step::Claim(len_max) => {
                let claimed = link.claim("w1", NEW, len_max).await.unwrap();
                let len = len_max.min(model.queued.len());
                let expected: Vec<_> = model.queued.drain(..len).collect();
                assert_eq!(
                    claimed.iter().map(number_of).collect::<Vec<_>>(),
                    expected,
                    "first come, first served"
                );
                held.extend(expected.into_iter().zip(claimed));
            }
            Step::Commit(which, accepts) if !held.is_empty() => {
                let (loan, claimed) = held.swap_remove(which % held.len());
                let outcome = if accepts {
                    model.unrecorded.push(loan);
                    accepted(&claimed)
                } else {
                    model.unlogged += 1;
                    failed(&claimed)
                };
                assert_eq!(link.commit(&[outcome]).await.unwrap(), [true]);
                committed.push(claimed);
            }
            Step::CommitAgain(which) if !committed.is_empty() => {
                let claimed = &committed[which % committed.len()];
                assert_eq!(link.commit(&[accepted(claimed)]).await.unwrap(), [false]);
                model.lost += 1;
            }
            Step::Record => {
                let loans = std::mem::take(&mut model.unrecorded);
                let failures = std::mem::take(&mut model.unlogged);
                assert_eq!(record_all(link).await, [loans.len(), failures]);
                for loan in loans {
                    model.known.entry(loan).and_modify(|known| known.1 = true);
                }
            }
            Step::Commit(..) | Step::CommitAgain(_) => {}
        }
        let state = link.state().await.unwrap();
        let unrecorded = model.unrecorded.len() + model.unlogged;
        assert_eq!(state.queued, model.queued.len() as u64);
        assert_eq!(state.in_flight, held.len() as u64);
        assert_eq!(state.unrecorded, unrecorded as u64);
        for (name, count) in [
            ("admitted", model.admitted),
            ("replayed", model.replayed),
            ("lost_commit_races", model.lost),
        ] {
            assert_eq!(
                state.counters.get(name).copied().unwrap_or(0),
                count,
                "{name}"
            );
        }
    }
}

/// Any order of steps has the outcomes that a map and a queue in memory have.
#[test]
fn the_functions_behave_as_their_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, queue) = runtime.block_on(start());
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        runtime.block_on(async {
            let _: String = redis(&server, &["FLUSHALL"]).await;
            follow(&mut queue.link(0), steps).await;
        });
    });
}

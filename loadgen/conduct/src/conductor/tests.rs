use snapshot::Snapshot;

use super::*;
use crate::message::Figures;

const LENGTH: Duration = Duration::from_secs(60);
const JOIN_WITHIN: Duration = Duration::from_secs(120);

/// A conductor and its clock.
struct Table {
    conductor: Conductor,
    now: Duration,
}

impl Table {
    fn of(count: u32) -> Self {
        let terms = Terms {
            count,
            join_within: JOIN_WITHIN,
            length: LENGTH,
            deliver_within: Duration::from_secs(90),
            commit: "ab".to_owned(),
            is_other_commit_allowed: false,
        };
        Self {
            conductor: Conductor::new(terms),
            now: Duration::ZERO,
        }
    }

    /// All have come, are ready, and were told to start.
    fn started(count: u32) -> Self {
        let mut table = Self::of(count);
        for number in 1..=count {
            table
                .join(&name(number), Some(number))
                .expect("a free number");
            table.says(number, Stage::Ready).expect("it has a seat");
        }
        assert!(table.conductor.is_ready());
        let at = table.now + LEAD;
        table.conductor.start(at, start());
        for number in 1..=count {
            let order = table.says(number, Stage::Ready);
            assert!(matches!(order, Ok(Order::Start(_))), "{order:?}");
            let order = table.says(number, Stage::Sending);
            assert!(matches!(order, Ok(Order::GoOn)), "{order:?}");
        }
        table.now = at;
        table
    }

    fn join(&mut self, instance: &str, number: Option<u32>) -> Result<Shard, Refusal> {
        let join = Join { number, ..a_join() };
        self.conductor.join(self.now, instance, &join)
    }

    fn says(&mut self, number: u32, stage: Stage) -> Result<Order, Refusal> {
        self.beats(number, &beat(stage))
    }

    fn beats(&mut self, number: u32, beat: &Beat) -> Result<Order, Refusal> {
        self.conductor.beat(self.now, number, &name(number), beat)
    }

    /// Time passes; these go on saying that they send, as often as they must.
    fn pass(&mut self, length: Duration, sending: &[u32]) {
        let until = self.now + length;
        while self.now < until {
            self.now += Duration::from_secs(1);
            for number in sending {
                let _ = self.says(*number, Stage::Sending);
            }
            self.conductor.tick(self.now);
        }
    }

    fn doubt(&self) -> String {
        self.conductor.doubts().join(" ")
    }

    fn why(&self) -> Option<(String, bool)> {
        let (_, end) = self.conductor.ended()?;
        Some((end.why.clone(), end.is_stop))
    }
}

fn name(number: u32) -> String {
    format!("process {number}")
}

fn a_join() -> Join {
    Join {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: "ab".to_owned(),
        number: None,
        count: None,
    }
}

fn beat(stage: Stage) -> Beat {
    Beat {
        stage,
        clock: Some(Comparison {
            ahead_us: 300,
            within_us: 200,
        }),
        stopped: None,
        hopeless: None,
        figures: Figures::default(),
    }
}

fn start() -> Start {
    Start {
        at_us: 1,
        snapshot_before: Snapshot::default(),
        redis_memory_start_bytes: None,
        provenance: Box::default(),
    }
}

fn delivered() -> Stage {
    Stage::Delivered { files: Vec::new() }
}

#[test]
fn a_run_in_good_order() {
    let mut table = Table::of(2);
    assert_eq!(table.join("a", None).map(|shard| shard.index), Ok(1));
    // Whoever did not hear the answer asks again.
    assert_eq!(table.join("a", None).map(|shard| shard.index), Ok(1));
    assert_eq!(table.join("b", None).map(|shard| shard.index), Ok(2));
    let mut table = Table::started(2);
    assert!(!table.conductor.is_load_over());
    table.pass(LENGTH, &[1, 2]);
    table.says(1, Stage::Sent).expect("it is part of the run");
    assert!(!table.conductor.is_load_over());
    table.says(2, delivered()).expect("it is part of the run");
    assert!(table.conductor.is_load_over() && !table.conductor.is_over());
    table.says(1, delivered()).expect("it is part of the run");
    assert!(table.conductor.is_over());
    // They have gone, and nobody minds.
    table.pass(Duration::from_secs(600), &[]);
    assert_eq!(table.conductor.delivered(), [1, 2]);
    assert_eq!(table.conductor.undelivered(), [] as [u32; 0]);
    assert_eq!((table.doubt(), table.why()), (String::new(), None));
    assert_eq!(table.conductor.notes(), [] as [String; 0]);
    assert_eq!(table.conductor.ran_for(), None);
}

#[test]
fn it_is_ready_when_all_are_and_their_clocks_are_known() {
    let mut table = Table::of(2);
    table.join(&name(1), Some(1)).expect("a free number");
    table.says(1, Stage::Ready).expect("it has a seat");
    assert!(!table.conductor.is_ready());
    table.join(&name(2), Some(2)).expect("a free number");
    assert!(!table.conductor.is_ready());
    let unknown = Beat {
        clock: None,
        ..beat(Stage::Ready)
    };
    table.beats(2, &unknown).expect("it has a seat");
    assert!(!table.conductor.is_ready());
    let badly_known = Beat {
        clock: Some(Comparison {
            ahead_us: 0,
            within_us: 300_000,
        }),
        ..beat(Stage::Ready)
    };
    table.beats(2, &badly_known).expect("it has a seat");
    assert!(!table.conductor.is_ready());
    table.says(2, Stage::Ready).expect("it has a seat");
    assert!(table.conductor.is_ready());
}

#[test]
fn two_of_one_number_are_told_apart_and_the_first_stays() {
    let mut table = Table::of(2);
    table.join(&name(1), Some(1)).expect("a free number");
    assert_eq!(table.join("other", Some(1)), Err(Refusal::Taken(1)));
    table.join(&name(2), None).expect("a free number");
    assert_eq!(table.join("other", None), Err(Refusal::Full(2)));
    table.says(1, Stage::Ready).expect("the first one stays");
    table.says(2, Stage::Ready).expect("the first one stays");
    assert!(table.conductor.is_ready());
    assert_eq!(table.doubt(), "");
    // Nor can another process speak for it.
    let refused = table
        .conductor
        .beat(table.now, 1, "other", &beat(Stage::Ready));
    assert_eq!(refused.err(), Some(Refusal::NoSeat(1)));
}

#[test]
fn who_does_not_fit_is_refused() {
    let mut table = Table::of(2);
    let mut refused = |join: Join| table.conductor.join(Duration::ZERO, "a", &join).err();
    let other = || Join { ..a_join() };
    assert_eq!(
        refused(Join {
            protocol: PROTOCOL + 1,
            ..other()
        }),
        Some(Refusal::OtherVersion)
    );
    assert!(matches!(
        refused(Join {
            commit: "cd".to_owned(),
            ..other()
        }),
        Some(Refusal::OtherCommit { .. })
    ));
    for number in [0, 3] {
        let number = Some(number);
        assert!(matches!(
            refused(Join { number, ..other() }),
            Some(Refusal::NoSuchNumber { .. })
        ));
    }
    assert!(matches!(
        refused(Join {
            count: Some(3),
            ..other()
        }),
        Some(Refusal::OtherCount { ours: 2, theirs: 3 })
    ));
    // Who does not know its commit may come.
    assert_eq!(
        refused(Join {
            commit: String::new(),
            ..other()
        }),
        None
    );
}

#[test]
fn a_shard_that_dies_before_the_start_makes_room() {
    let mut table = Table::of(1);
    table.join(&name(1), Some(1)).expect("a free number");
    table.now += SILENCE_MAX + Duration::from_secs(1);
    // Its successor may come before anybody has looked.
    assert!(table.join("successor", Some(1)).is_ok());
    let refused = table.says(1, Stage::Ready);
    assert_eq!(refused.err(), Some(Refusal::NoSeat(1)));
    let told = table.conductor.take_news();
    assert!(
        told.contains(&News::Gone(Shard { index: 1, count: 1 })),
        "{told:?}"
    );
    assert_eq!(table.doubt(), "");
}

#[test]
fn a_shard_that_does_not_come_calls_the_run_off() {
    let mut table = Table::of(3);
    table.join(&name(1), None).expect("a free number");
    table.join(&name(2), None).expect("a free number");
    while table.now <= JOIN_WITHIN + Duration::from_secs(1) {
        table.now += Duration::from_secs(1);
        let order = table.says(1, Stage::Ready);
        // The second one hears of the end later.
        if table.now <= JOIN_WITHIN + Duration::from_secs(1) {
            let _ = table.says(2, Stage::Preparing);
        }
        table.conductor.tick(table.now);
        assert_eq!(
            matches!(order, Ok(Order::End(_))),
            table.now > JOIN_WITHIN + Duration::from_secs(1),
            "{:?}",
            table.now
        );
    }
    assert_eq!(
        table.doubt(),
        "Of 3 shards not ready within 2 min 0 s: shards 2, 3. Nothing was sent."
    );
    // It is over when those that are there know it.
    assert!(!table.conductor.is_over());
    let order = table.says(2, Stage::Ready);
    assert!(matches!(order, Ok(Order::End(_))), "{order:?}");
    assert!(table.conductor.is_over());
    // The third one comes after all.
    assert!(matches!(table.join("c", None), Err(Refusal::Over(_))));
}

#[test]
fn clocks_that_cannot_be_compared_call_the_run_off() {
    let mut table = Table::of(1);
    table.join(&name(1), None).expect("a free number");
    let far = Beat {
        clock: Some(Comparison {
            ahead_us: 0,
            within_us: 900_000,
        }),
        ..beat(Stage::Ready)
    };
    while table.now <= JOIN_WITHIN {
        table.now += Duration::from_secs(1);
        table.beats(1, &far).expect("it has a seat");
    }
    table.conductor.tick(table.now);
    assert!(
        table.doubt().contains("clocks could not be compared"),
        "{}",
        table.doubt()
    );
}

#[test]
fn a_late_shard_is_refused_and_the_run_goes_on() {
    let mut table = Table::started(2);
    table.pass(Duration::from_secs(5), &[1, 2]);
    assert_eq!(table.join("late", None), Err(Refusal::Late));
    assert_eq!(table.join("late", Some(2)), Err(Refusal::Late));
    table.pass(LENGTH, &[1, 2]);
    // The second one was there all the time: another process has only asked for its number.
    assert_eq!((table.doubt(), table.why()), (String::new(), None));
}

#[test]
fn a_shard_that_is_lost_ends_the_run_everywhere() {
    let mut table = Table::started(3);
    table.pass(Duration::from_secs(5), &[1, 2, 3]);
    table.pass(SILENCE_MAX + Duration::from_secs(1), &[1, 3]);
    assert_eq!(
        table.doubt(),
        "Shard 2 of 3 was lost, last heard of 5.0 s after the start: what it sent is not known."
    );
    let ran_for = table.conductor.ran_for();
    assert_eq!(ran_for, Some(Duration::from_secs(16)));
    for number in [1, 3] {
        let order = table.says(number, Stage::Sending);
        assert!(
            matches!(order, Ok(Order::End(End { is_stop: false, .. }))),
            "{order:?}"
        );
        table
            .says(number, delivered())
            .expect("it is part of the run");
    }
    assert!(table.conductor.is_over());
    assert_eq!(table.conductor.delivered(), [1, 3]);
    assert_eq!(table.conductor.undelivered(), [2]);
    // It was only the network: too late.
    let refused = table.says(2, Stage::Sending);
    assert_eq!(refused.err(), Some(Refusal::NoSeat(2)));
}

#[test]
fn a_shard_that_was_started_again_is_told_as_that() {
    let mut table = Table::started(2);
    table.pass(Duration::from_secs(3), &[1, 2]);
    table.pass(Duration::from_secs(4), &[1]);
    assert_eq!(table.join("again", Some(2)), Err(Refusal::Late));
    table.pass(SILENCE_MAX, &[1]);
    assert_eq!(
        table.doubt(),
        "Shard 2 of 2 was started again 7.0 s after the start: what it had sent is not known."
    );
}

#[test]
fn a_shard_that_fails_says_why() {
    // Before the start nothing is sent.
    let mut table = Table::of(2);
    table.join(&name(1), None).expect("a free number");
    table.join(&name(2), None).expect("a free number");
    table.says(1, Stage::Ready).expect("it has a seat");
    let failed = || Stage::Failed {
        why: "no route\u{7} to host".to_owned(),
    };
    let order = table.says(2, failed());
    assert!(matches!(order, Ok(Order::End(_))), "{order:?}");
    assert!(!table.conductor.is_ready());
    assert_eq!(table.doubt(), "Shard 2 of 2 failed: no route  to host.");
    // After it the others end too.
    let mut table = Table::started(2);
    table.pass(Duration::from_secs(2), &[1, 2]);
    let _ = table.says(2, failed());
    let _ = table.says(2, failed());
    assert_eq!(table.conductor.doubts().len(), 1);
    let order = table.says(1, Stage::Sending);
    assert!(matches!(order, Ok(Order::End(_))), "{order:?}");
}

#[test]
fn a_shard_that_beats_and_delivers_nothing_is_not_waited_for() {
    let mut table = Table::started(2);
    table.pass(LENGTH, &[1, 2]);
    table.says(1, delivered()).expect("it is part of the run");
    table.pass(Duration::from_secs(80), &[2]);
    assert!(!table.conductor.is_over());
    table.pass(Duration::from_secs(20), &[2]);
    assert!(table.conductor.is_over());
    assert_eq!(table.doubt(), "Shard 2 of 2 did not hand over what it saw.");
}

#[test]
fn a_part_that_cannot_be_read_is_as_good_as_lost() {
    let mut table = Table::started(2);
    table.says(1, delivered()).expect("it is part of the run");
    table.says(2, delivered()).expect("it is part of the run");
    table.conductor.is_broken(2, "it is of another schedule");
    assert_eq!(table.conductor.delivered(), [1]);
    assert_eq!(table.conductor.undelivered(), [2]);
    assert!(
        table
            .doubt()
            .contains("cannot be read: it is of another schedule")
    );
}

#[test]
fn a_clock_that_is_off_is_told_and_one_that_moves_spoils_the_run() {
    let clock = |ahead_us| {
        Some(Comparison {
            ahead_us,
            within_us: 400,
        })
    };
    let mut table = Table::of(1);
    table.join(&name(1), None).expect("a free number");
    let hour_behind = Beat {
        clock: clock(3_600_000_000),
        ..beat(Stage::Ready)
    };
    table.beats(1, &hour_behind).expect("it has a seat");
    let at = table.now + LEAD;
    table.conductor.start(at, start());
    assert_eq!(
        table.conductor.notes(),
        [
            "The clock of shard 1 is 1 h 0 min behind the conductor's, known to 0.4 ms: all instants are by the conductor's."
        ]
    );
    for (ahead_us, doubts) in [(3_600_040_000, 0), (3_600_200_000, 1), (3_600_900_000, 1)] {
        let moved = Beat {
            clock: clock(ahead_us),
            ..beat(Stage::Sending)
        };
        table.beats(1, &moved).expect("it is part of the run");
        assert_eq!(table.conductor.doubts().len(), doubts, "{ahead_us}");
    }
    assert!(
        table
            .doubt()
            .contains("moved against each other by 899.2 ms"),
        "{}",
        table.doubt()
    );
    // The load goes on: what it sees of the loans is true.
    assert_eq!(table.why(), None);
}

#[test]
fn a_stop_reaches_every_shard_and_comes_before_all_other_ends() {
    let mut table = Table::started(2);
    table.pass(Duration::from_secs(4), &[1, 2]);
    table
        .conductor
        .end_early(table.now, "error_ratio is above its bound");
    table.now += Duration::from_secs(1);
    table.conductor.stop(table.now, "Ctrl-C");
    table.conductor.end_early(table.now, "too late");
    assert_eq!(table.why(), Some(("Ctrl-C".to_owned(), true)));
    // The load ended when the first of them was decided.
    assert_eq!(table.conductor.ran_for(), Some(Duration::from_secs(4)));
    for number in [1, 2] {
        let order = table.says(number, Stage::Sending);
        assert!(
            matches!(order, Ok(Order::End(End { is_stop: true, .. }))),
            "{order:?}"
        );
    }
    assert_eq!(table.doubt(), "");
}

#[test]
fn a_signal_to_one_shard_stops_all() {
    let mut table = Table::started(2);
    let stopped = Beat {
        stopped: Some("SIGTERM".to_owned()),
        ..beat(Stage::Sending)
    };
    table.beats(2, &stopped).expect("it is part of the run");
    let order = table.says(1, Stage::Sending);
    assert!(
        matches!(order, Ok(Order::End(End { is_stop: true, .. }))),
        "{order:?}"
    );
    assert_eq!(
        table.why(),
        Some(("shard 2 was stopped by SIGTERM".to_owned(), true))
    );
}

#[test]
fn what_one_shard_finds_hopeless_ends_all() {
    let mut table = Table::started(2);
    let hopeless = Beat {
        hopeless: Some("response_ms.max is above 5 ms".to_owned()),
        ..beat(Stage::Sending)
    };
    table.beats(1, &hopeless).expect("it is part of the run");
    assert_eq!(
        table.why(),
        Some(("response_ms.max is above 5 ms".to_owned(), false))
    );
    assert_eq!(table.doubt(), "");
}

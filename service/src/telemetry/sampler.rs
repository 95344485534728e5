//! Which loans are traced, and the ids of their spans.

use std::sync::atomic::{AtomicU64, Ordering};

use super::context::{Context, Parent, SpanId};

/// The most loans that a process traces in a second: a client decides by its header, and must not decide what the service
/// spends.
const TRACES_PER_SECOND_MAX: u64 = 1_000;

/// Which loans are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether a client that traces its request decides for its loan.
    pub follows_clients: bool,
    /// The share of the other loans, 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// The sampler of the name that `OTEL_TRACES_SAMPLER` has, with the share `ratio` where it is one of shares.
    pub fn named(name: &str, ratio: f64) -> Option<Self> {
        let (follows_clients, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio,
            _ => return None,
        };
        Some(Self {
            follows_clients,
            ratio,
        })
    }

    /// Whether to trace a loan, whose trace would have this number.
    fn takes(self, parent: Option<&Parent>, number: u64) -> bool {
        match parent {
            Some(parent) if self.follows_clients => parent.is_sampled,
            // 2^64, of which a share of 1 takes all.
            _ => (number as f64) < self.ratio * 18_446_744_073_709_551_616.0 || self.ratio >= 1.0,
        }
    }
}

/// Makes ids that no other process makes: a random start, and a step for each. Cheap, for it is asked for every loan.
#[derive(Debug)]
pub(super) struct Ids {
    seed: [u64; 2],
    made: AtomicU64,
    /// In which second since the Unix epoch how many traces were begun: `second << 20 | traces`.
    begun: AtomicU64,
}

impl Ids {
    pub(super) fn random() -> Self {
        let (first, second) = uuid::Uuid::new_v4().as_u64_pair();
        let (third, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            seed: [first ^ third.rotate_left(32), second],
            made: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// An id of a span.
    pub(super) fn span(&self) -> SpanId {
        self.number().max(1).to_be_bytes()
    }

    fn number(&self) -> u64 {
        mixed(
            self.seed[0].wrapping_add(self.made.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP)),
        )
    }

    /// The span of a request, if its loan is to be traced: in the client's trace where it has one.
    pub(super) fn begin(
        &self,
        sampler: Sampler,
        parent: Option<&Parent>,
        now_us: u64,
    ) -> Option<Context> {
        let number = self.number();
        if !sampler.takes(parent, number) || !self.may_begin(now_us / 1_000_000) {
            return None;
        }
        let own = || {
            let high = mixed(self.seed[1] ^ number);
            // The part that is random stands last, as samplers behind this one expect it.
            let low = number.max(1);
            (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
        };
        let trace_id = parent.map_or_else(own, |parent| parent.context.trace_id);
        Some(Context {
            trace_id,
            span_id: self.span(),
        })
    }

    /// Counts a trace, if this second has room for one more.
    fn may_begin(&self, second: u64) -> bool {
        let counted = self
            .begun
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |begun| {
                let so_far = if begun >> 20 == second {
                    begun & 0xf_ffff
                } else {
                    0
                };
                (so_far < TRACES_PER_SECOND_MAX).then_some(second << 20 | (so_far + 1))
            });
        counted.is_ok()
    }
}

/// The step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output: each number once.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn taken(sampler: Sampler, header: Option<&str>, count: u64) -> u64 {
        let ids = Ids::random();
        let parent = header.and_then(Parent::read);
        // Each in a second of its own.
        (0..count)
            .filter(|second| {
                ids.begin(sampler, parent.as_ref(), second * 1_000_000)
                    .is_some()
            })
            .count() as u64
    }

    #[test]
    fn a_share_is_a_share() {
        let share = |ratio| Sampler {
            follows_clients: true,
            ratio,
        };
        assert_eq!(taken(share(0.0), None, 10_000), 0);
        assert_eq!(taken(share(1.0), None, 10_000), 10_000);
        // Of 100,000 draws at 1 %, the odds against fewer than 800 or more than 1,200 are beyond 10^-9.
        let hundredth = taken(share(0.01), None, 100_000);
        assert!((800..=1_200).contains(&hundredth), "{hundredth}");
    }

    #[test]
    fn a_client_decides_where_it_may() {
        let unsampled = GOOD.replace("-01", "-00");
        for (name, header, expected) in [
            ("parentbased_traceidratio", GOOD, 10),
            ("parentbased_always_off", GOOD, 10),
            ("parentbased_always_on", &unsampled, 0),
            ("traceidratio", GOOD, 0),
            ("always_on", &unsampled, 10),
            ("always_off", GOOD, 0),
        ] {
            let sampler = Sampler::named(name, 0.0).expect(name);
            assert_eq!(taken(sampler, Some(header), 10), expected, "{name}");
        }
        assert_eq!(Sampler::named("jaeger_remote", 0.5), None);
    }

    #[test]
    fn a_traced_request_stays_in_its_clients_trace() {
        let parent = Parent::read(GOOD).unwrap();
        let sampler = Sampler::named("parentbased_always_on", 0.0).unwrap();
        let ids = Ids::random();
        let context = ids.begin(sampler, Some(&parent), 0).unwrap();
        assert_eq!(context.trace_id, parent.context.trace_id);
        assert_ne!(context.span_id, parent.context.span_id);
        let other = ids.begin(sampler, None, 0).unwrap();
        assert_ne!(other.trace_id, context.trace_id);
    }

    #[test]
    fn clients_cannot_have_all_loans_traced() {
        let parent = Parent::read(GOOD).unwrap();
        let sampler = Sampler::named("parentbased_always_on", 0.0).unwrap();
        let ids = Ids::random();
        let begun = |now_us| {
            (0..3_000)
                .filter(|_| ids.begin(sampler, Some(&parent), now_us).is_some())
                .count() as u64
        };
        assert_eq!(begun(5_000_000), TRACES_PER_SECOND_MAX);
        assert_eq!(begun(5_999_999), 0);
        assert_eq!(begun(6_000_000), TRACES_PER_SECOND_MAX);
    }
}

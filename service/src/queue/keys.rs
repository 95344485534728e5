//! The names of a partition's keys, and where in a cluster's slots a partition lies.

use std::ops::RangeInclusive;

/// Slots of a Redis Cluster.
const SLOTS: u32 = 16_384;
/// A partition lies within this many slots from the beginning of its share.
const SLOTS_NEAR: u32 = 16;
/// The keys of a partition in the order that `functions.lua` numbers them, but for the filters.
const NAMES: [&str; 14] = [
    "about",
    "counters",
    "ids",
    "bundles",
    "waiting",
    "claimed",
    "decided",
    "tickets",
    "results",
    "control",
    "applicants",
    "instances",
    "lookups",
    "aside",
];
/// The most that stands aside in a partition, as in `functions.lua`.
pub(super) const ASIDE_MAX: u64 = 1_000;
/// Generations of the filter, as in `functions.lua`.
const FILTERS: usize = 12;
/// Most partitions: each still has `SLOTS_NEAR` slots to itself.
pub const PARTITIONS_MAX: u32 = SLOTS / SLOTS_NEAR;

/// Where a key stands among [`NAMES`].
const fn at(name: &str) -> usize {
    let mut number = 0;
    while number < NAMES.len() {
        if is_same(NAMES[number].as_bytes(), name.as_bytes()) {
            return number;
        }
        number += 1;
    }
    panic!("no key has this name")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The keys of one partition. All have one hash tag, so they lie in one slot.
#[derive(Debug)]
pub(super) struct Keys {
    all: Vec<String>,
    slot: u32,
}

impl Keys {
    /// The keys of partition `number` of `partitions`.
    ///
    /// Slots are shared out evenly: partition 3 of 16 lies 3/16 of the way. So each shard of a cluster gets its fair
    /// number, however many shards there are. Partition 0 has the same keys whatever the number of partitions: that is
    /// where the number is found.
    pub(super) fn new(number: u32, partitions: u32) -> Self {
        let first = (u64::from(number) * u64::from(SLOTS) / u64::from(partitions)) as u32;
        let tag = tag_in(number, first..=first + SLOTS_NEAR - 1);
        let names = NAMES.iter().map(|name| format!("{{{tag}}}:{name}"));
        let filters = (0..FILTERS).map(|generation| format!("{{{tag}}}:filter:{generation}"));
        Self {
            all: names.chain(filters).collect(),
            slot: slot_of(tag.as_bytes()),
        }
    }

    /// The slot of a Redis Cluster that they lie in.
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    /// All keys, in the order in which every function takes them.
    pub(super) fn all(&self) -> &[String] {
        &self.all
    }

    pub(super) fn about(&self) -> &str {
        &self.all[const { at("about") }]
    }

    pub(super) fn counters(&self) -> &str {
        &self.all[const { at("counters") }]
    }

    pub(super) fn ids(&self) -> &str {
        &self.all[const { at("ids") }]
    }

    pub(super) fn bundles(&self) -> &str {
        &self.all[const { at("bundles") }]
    }

    pub(super) fn waiting(&self) -> &str {
        &self.all[const { at("waiting") }]
    }

    pub(super) fn claimed(&self) -> &str {
        &self.all[const { at("claimed") }]
    }

    pub(super) fn tickets(&self) -> &str {
        &self.all[const { at("tickets") }]
    }

    pub(super) fn results(&self) -> &str {
        &self.all[const { at("results") }]
    }

    pub(super) fn control(&self) -> &str {
        &self.all[const { at("control") }]
    }

    pub(super) fn applicants(&self) -> &str {
        &self.all[const { at("applicants") }]
    }

    pub(super) fn instances(&self) -> &str {
        &self.all[const { at("instances") }]
    }

    pub(super) fn aside(&self) -> &str {
        &self.all[const { at("aside") }]
    }
}

/// The first tag of this partition whose slot is one of `slots`.
fn tag_in(number: u32, slots: RangeInclusive<u32>) -> String {
    (0..=u32::MAX)
        .map(|salt| format!("l:{number}:{salt:x}"))
        .find(|tag| slots.contains(&slot_of(tag.as_bytes())))
        .expect("a tag for any slot is found within a few thousand tries")
}

/// The slot of a hash tag: CRC-16 (XMODEM) modulo the number of slots, as the Redis Cluster specification has it.
fn slot_of(tag: &[u8]) -> u32 {
    let crc = tag.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    });
    u32::from(crc) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The functions know their keys by number.
    #[test]
    fn the_functions_number_the_keys_as_they_stand_here() {
        let numbers: Vec<(String, usize)> = include_str!("functions.lua")
            .lines()
            .filter_map(|line| {
                let (name, value) = line.strip_prefix("local ")?.split_once(" = ")?;
                let number = value.split_whitespace().next()?.parse().ok()?;
                Some((name.to_owned(), number))
            })
            .collect();
        let number = |wanted: &str| {
            let found = numbers.iter().find(|(name, _)| name == wanted);
            found.unwrap_or_else(|| panic!("{wanted} has no number")).1
        };
        // The keys come first, in their order, and the filters behind them.
        for (at, name) in NAMES.iter().enumerate() {
            let (there, number) = &numbers[at];
            assert_eq!(&there.replace('_', "").to_lowercase(), name);
            assert_eq!(*number, at + 1, "{name}");
        }
        assert_eq!(number("FILTERS"), NAMES.len() + 1);
        assert_eq!(number("FILTERS_LEN"), FILTERS);
        assert_eq!(number("ASIDE_MAX") as u64, ASIDE_MAX);
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // Its own example: the CRC of "123456789" is 0x31C3.
        assert_eq!(slot_of(b"123456789"), 0x31C3 % SLOTS);
    }

    #[test]
    fn partitions_are_shared_fairly_by_any_number_of_shards() {
        for partitions in [1, 4, 16, 64] {
            for shards in [1, 2, 3, 6] {
                let mut shares = vec![0_u32; shards as usize];
                for number in 0..partitions {
                    let keys = Keys::new(number, partitions);
                    shares[(keys.slot() * shards / SLOTS) as usize] += 1;
                }
                let (least, most) = (shares.iter().min(), shares.iter().max());
                assert!(
                    most.unwrap() - least.unwrap() <= 1,
                    "{partitions} on {shards}: {shares:?}"
                );
            }
        }
    }

    #[test]
    fn the_first_partition_is_found_whatever_their_number() {
        for partitions in [4, 16, PARTITIONS_MAX] {
            assert_eq!(Keys::new(0, partitions).all, Keys::new(0, 1).all);
        }
    }
}

//! Which part of a schedule one generator sends.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The most generators of one run.
pub const SHARDS_MAX: u32 = 1000;

/// Which part of a schedule one generator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Numbers")]
pub struct Shard {
    /// Number of the generator, 1 first.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

/// The numbers of a shard, as a file or another generator says them.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Numbers {
    index: u32,
    count: u32,
}

impl TryFrom<Numbers> for Shard {
    type Error = String;

    fn try_from(Numbers { index, count }: Numbers) -> Result<Self, String> {
        let is_one = (1..=SHARDS_MAX).contains(&count) && (1..=count).contains(&index);
        is_one
            .then_some(Self { index, count })
            .ok_or_else(|| format!("there is no shard {index} of {count}"))
    }
}

impl Shard {
    /// Whether this generator sends arrival `number`.
    pub const fn holds(self, number: u32) -> bool {
        number % self.count == self.index - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is not a shard such as 2/4, the second of four; there may be {SHARDS_MAX}"
            )
        };
        let (index, count) = text.split_once('/').ok_or_else(refused)?;
        let numbers = Numbers {
            index: index.parse().map_err(|_| refused())?,
            count: count.parse().map_err(|_| refused())?,
        };
        Self::try_from(numbers).map_err(|_| refused())
    }
}

/// What makes one generator a part of a run.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its share.
    pub shard: Shard,
    /// The name that all of them share; it is in every loan's id.
    pub run_id: String,
    /// When the load starts, for all of them; `None` when a conductor says so once all are ready.
    pub start_at: Option<OffsetDateTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_and_split_everything_once() {
        for bad in ["", "1", "0/4", "5/4", "1/0", "a/b", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        let shards: Vec<Shard> = (1..=4)
            .map(|index| format!("{index}/4").parse().expect("a shard"))
            .collect();
        for number in 0..100 {
            let holders = shards.iter().filter(|shard| shard.holds(number)).count();
            assert_eq!(holders, 1, "{number}");
        }
        assert_eq!(shards[1].to_string(), "2/4");
    }
}

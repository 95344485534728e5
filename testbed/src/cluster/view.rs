//! What one node of a Redis Cluster says of all: the answer of CLUSTER NODES.

use std::ops::RangeInclusive;

/// The slots of a Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// All nodes, as one of them sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// In the order of the answer.
    pub nodes: Vec<NodeView>,
}

/// One node, as another or itself sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its id of 40 hexadecimal digits.
    pub id: String,
    /// `myself`, `master`, `slave`, `fail?`, `fail`, `handshake`, `noaddr`, `nofailover`.
    pub flags: Vec<String>,
    /// The id of its master when it is a replica.
    pub master: Option<String>,
    /// The epoch of what it says of its slots. Of two nodes that claim a slot the higher one has it.
    pub config_epoch: u64,
    /// Whether the link of the bus to it is up.
    pub is_connected: bool,
    /// The slots that it serves.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The slots that are on their way to or from it. Only a node's line of itself has them.
    pub moving: Vec<u16>,
}

impl ClusterView {
    /// Reads the answer of CLUSTER NODES. Lines that are none are left out.
    pub fn parse(text: &str) -> Self {
        Self {
            nodes: text.lines().filter_map(NodeView::parse).collect(),
        }
    }

    /// The node that answered.
    pub fn myself(&self) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.has("myself"))
    }

    /// The node of this id.
    pub fn node(&self, id: &str) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The node that serves a slot.
    pub fn owner(&self, slot: u16) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.serves(slot))
    }
}

impl NodeView {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let id = words.next()?.to_owned();
        let _address = words.next()?;
        let flags = words.next()?.split(',').map(Into::into).collect();
        let master = words.next().filter(|id| *id != "-").map(Into::into);
        let mut words = words.skip(2);
        let config_epoch = words.next()?.parse().ok()?;
        let is_connected = words.next()? == "connected";
        let mut slots = Vec::new();
        let mut moving = Vec::new();
        for word in words {
            if let Some(word) = word.strip_prefix('[') {
                // [93-<-id] comes, [93->-id] goes.
                moving.extend(
                    word.split('-')
                        .next()
                        .and_then(|slot| slot.parse::<u16>().ok()),
                );
            } else {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                slots.push(first.parse().ok()?..=last.parse().ok()?);
            }
        }
        Some(Self {
            id,
            flags,
            master,
            config_epoch,
            is_connected,
            slots,
            moving,
        })
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|has| has == flag)
    }

    /// Whether it serves a slot.
    pub fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// How many slots it serves.
    pub fn slot_count(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }
}

/// The slot of a key, by its tag if it has one.
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let len = rest.iter().position(|byte| *byte == b'}')?;
        (len > 0).then(|| &rest[..len])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, which Redis names in its specification.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// An even share of all slots for each of `masters`: the first ones get one more.
pub(crate) fn even_shares(masters: usize) -> Vec<RangeInclusive<u16>> {
    let bound = |number: usize| number * usize::from(SLOTS) / masters;
    (0..masters)
        .map(|number| bound(number) as u16..=(bound(number + 1) - 1) as u16)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(b"{l:3}:q"), slot(b"l:3"));
        assert_eq!(slot(b"{}:q"), crc16(b"{}:q") % SLOTS);
        assert_eq!(slot(b"{l:0:4c7}"), 507);
    }

    #[test]
    fn shares_are_even_and_complete() {
        for masters in 1..=10 {
            let shares = even_shares(masters);
            assert_eq!(shares.len(), masters);
            let all: Vec<u16> = shares.iter().cloned().flatten().collect();
            assert!(all.iter().copied().eq(0..SLOTS));
            let lens = shares.iter().map(ExactSizeIterator::len);
            assert!(lens.clone().max().expect("some") - lens.min().expect("some") <= 1);
        }
    }

    #[test]
    fn an_answer_is_read_whole() {
        let view = ClusterView::parse(
            "a1 127.0.0.2:7000@7001 myself,master - 0 0 3 connected 0-5 7 [93-<-b2] [94->-b2]\n\
             b2 127.0.0.3:7000@7001,host slave,fail? a1 1 2 3 disconnected\n\
             nonsense\n",
        );
        assert_eq!(view.nodes.len(), 2);
        let me = view.myself().expect("it is there");
        assert_eq!((me.config_epoch, me.slot_count()), (3, 7));
        assert!(me.is_connected && me.serves(7) && !me.serves(6));
        assert_eq!(me.moving, [93, 94]);
        let other = view.node("b2").expect("it is there");
        assert_eq!(other.master.as_deref(), Some("a1"));
        assert!(other.has("slave") && other.has("fail?") && !other.has("fail"));
        assert!(!other.is_connected);
        assert_eq!(view.owner(3).map(|node| &*node.id), Some("a1"));
        assert_eq!(view.owner(8), None);
    }
}

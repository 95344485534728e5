//! Whether the crowd beside the load was what the scenario wants. Pure.

use record::result::run::CrowdReport;

/// The share of a group that must have stood at once; with fewer the crowd was not there.
const THERE_SHARE: f64 = 0.9;

/// Why the crowd was not what the scenario wants, a sentence each. Pure.
pub fn doubts(crowd: &CrowdReport) -> Vec<String> {
    let mut doubts: Vec<String> = crowd
        .groups
        .iter()
        .filter(|group| (group.open_peak as f64) < group.planned as f64 * THERE_SHARE)
        .map(|group| {
            format!(
                "Of {} connections that are {}, only {} stood at once.",
                group.planned, group.name, group.open_peak
            )
        })
        .collect();
    if crowd.nonsense.per_second > 0 && crowd.nonsense.answers.is_empty() {
        doubts.push("No nonsense was sent.".to_owned());
    }
    doubts
}

#[cfg(test)]
mod tests {
    use record::result::run::{CrowdGroup, Nonsense};

    use super::*;

    fn crowd(open_peak: u64, answers: u64) -> CrowdReport {
        CrowdReport {
            groups: vec![CrowdGroup {
                name: "idle".to_owned(),
                planned: 100,
                open_peak,
                opened: 200,
            }],
            nonsense: Nonsense {
                per_second: 10,
                answers: (0..answers).map(|n| ((400 + n).to_string(), 1)).collect(),
            },
        }
    }

    #[test]
    fn a_crowd_that_was_not_there_proves_nothing() {
        assert!(doubts(&crowd(90, 1)).is_empty());
        assert_eq!(doubts(&crowd(89, 1)).len(), 1);
        assert_eq!(doubts(&crowd(100, 0)).len(), 1);
    }
}

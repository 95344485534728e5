//! `GET /api/activity`: what operators have changed, newest first, page by page.

use bson::oid::ObjectId;

use super::control::unavailable;
use super::personal::mask_change;
use super::query::Query;
use super::response::{self, Problem};
use super::{Front, Reply};
use crate::activity::{Entry, Place};
use crate::api::{ActivityEntry, ActivityPage, rfc3339};
use crate::filter::{INSTANT_MS_MAX, plain_number};
use crate::limits::ERRORS_PAGE_LEN_MAX;

/// Changes on a page unless the client says how many.
pub(super) const PAGE_LEN: u32 = 50;

pub(super) async fn list(
    front: &Front,
    query: Option<&str>,
    sees_personal: bool,
) -> Result<Reply, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let limit = query.get("limit", |text| {
        let limit = plain_number(text).and_then(|number| u32::try_from(number).ok());
        let limit = limit.filter(|limit| (1..=ERRORS_PAGE_LEN_MAX).contains(limit));
        limit.ok_or("a whole number from 1 to 200")
    })?;
    let before = query.get("cursor", |text| {
        from_cursor(text).ok_or("a `nextCursor` of an earlier answer")
    })?;
    let limit = limit.unwrap_or(PAGE_LEN);
    let mut found = front
        .activity
        .list(before, limit + 1)
        .await
        .map_err(|error| {
            tracing::warn!(%error, "the record of activity cannot be read");
            unavailable(error)
        })?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| has_more).map(to_cursor);
    let mut entries: Vec<_> = found.into_iter().map(ActivityEntry::from).collect();
    if !sees_personal {
        entries.iter_mut().for_each(mask_change);
    }
    Ok(response::json(&ActivityPage {
        entries,
        next_cursor,
    }))
}

fn to_cursor(entry: &Entry) -> String {
    format!("{}~{}", entry.at.timestamp_millis(), entry.id.to_hex())
}

fn from_cursor(text: &str) -> Option<Place> {
    let (at_ms, id) = text.split_once('~')?;
    let at_ms = plain_number(at_ms).filter(|at_ms| *at_ms <= INSTANT_MS_MAX)?;
    Some(Place {
        at: bson::DateTime::from_millis(at_ms),
        id: ObjectId::parse_str(id).ok()?,
    })
}

impl From<Entry> for ActivityEntry {
    fn from(entry: Entry) -> Self {
        Self {
            at: rfc3339(entry.at),
            name: entry.name,
            address: entry.address,
            action: entry.action,
            effect: entry.effect,
            reason: entry.reason,
            request_id: entry.request_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let id = "65a1b2c3d4e5f60718293a4b";
        let place = Place {
            at: bson::DateTime::from_millis(1_700_000_000_123),
            id: ObjectId::parse_str(id).unwrap(),
        };
        assert_eq!(from_cursor(&format!("1700000000123~{id}")), Some(place));
        for wrong in [
            "",
            "1",
            "1~",
            "x~65a1b2c3d4e5f60718293a4b",
            "1~65a1",
            "-1~65a1b2c3d4e5f60718293a4b",
        ] {
            assert_eq!(from_cursor(wrong), None, "{wrong}");
        }
    }
}

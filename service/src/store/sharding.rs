//! Whether MongoDB's collections can hold the record: ids unique over all shards, and nothing dropped by itself.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;

use super::{READ_TIMEOUT, Store, within};
use crate::error::ServiceError;

impl Store {
    /// The collections of records that are sharded by another key than `_id`, with that key. There an id is unique on each
    /// shard alone, so that one loan could be recorded twice. None where MongoDB is not sharded, or lets nobody read that.
    ///
    /// # Errors
    /// MongoDB out of reach or silent.
    pub async fn wrong_shard_keys(&self) -> Result<Vec<String>, ServiceError> {
        let hello = self.database.run_command(doc! { "hello": 1 });
        let hello = within(READ_TIMEOUT, hello.into_future()).await?;
        if hello.get_str("msg").ok() != Some("isdbgrid") {
            return Ok(Vec::new());
        }
        let config = self.database.client().database("config");
        let collections = config.collection::<Document>("collections");
        let mut wrong = Vec::new();
        for name in [self.loans.name(), self.failures.name()] {
            let id = format!("{}.{name}", self.database.name());
            let found = collections.find_one(doc! { "_id": &id });
            // Who may not read it is told by its absence.
            let Ok(Some(found)) = within(READ_TIMEOUT, found.into_future()).await else {
                continue;
            };
            if let Ok(key) = found.get_document("key")
                && !is_by_id(key)
            {
                wrong.push(format!("{id} is sharded by {key}"));
            }
        }
        Ok(wrong)
    }
}

impl Store {
    /// The collections of records that somebody has made in a form that loses records or mixes ids up, and how.
    ///
    /// # Errors
    /// MongoDB out of reach or silent, or without the right to say.
    pub async fn unfit_collections(&self) -> Result<Vec<String>, ServiceError> {
        let names = [self.loans.name(), self.failures.name(), self.queue.name()];
        let list = async {
            let filter = doc! { "name": { "$in": &names[..] } };
            let command = doc! { "listCollections": 1, "filter": filter };
            let found = self.database.run_cursor_command(command).await?;
            found.try_collect::<Vec<Document>>().await
        };
        let found = within(READ_TIMEOUT, list).await?;
        let unfit = found.iter().filter_map(|about| {
            let name = about.get_str("name").unwrap_or_default();
            Some(format!("{}.{name} {}", self.database.name(), unfit(about)?))
        });
        Ok(unfit.collect())
    }
}

/// What makes a collection unfit, if anything does.
fn unfit(about: &Document) -> Option<&'static str> {
    let kind = about.get_str("type").unwrap_or("collection");
    let none = Document::new();
    let options = about.get_document("options").unwrap_or(&none);
    match kind {
        "view" => Some("is a view, and nothing can be written to it"),
        "timeseries" => Some("is a time series, in which one id may stand twice"),
        _ if options.get_bool("capped").unwrap_or_default() => {
            Some("is capped: it drops its oldest records by itself")
        }
        _ if options.contains_key("collation") => {
            Some("has a collation, by which different ids may count as one")
        }
        _ => None,
    }
}

/// Whether documents of one `_id` are on one shard.
fn is_by_id(key: &Document) -> bool {
    let by_id = [
        Bson::Int32(1),
        Bson::Double(1.0),
        Bson::String("hashed".to_owned()),
    ];
    key.len() == 1 && key.get("_id").is_some_and(|order| by_id.contains(order))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loses_records_is_unfit() {
        let of = |kind: &str, options: Document| {
            unfit(&doc! { "name": "loans", "type": kind, "options": options }).is_some()
        };
        assert!(!of("collection", doc! {}));
        assert!(!of("collection", doc! { "validator": {}, "capped": false }));
        assert!(unfit(&doc! { "name": "loans" }).is_none());
        assert!(of("view", doc! { "viewOn": "others" }));
        assert!(of(
            "timeseries",
            doc! { "timeseries": { "timeField": "at" } }
        ));
        assert!(of("collection", doc! { "capped": true, "size": 4096 }));
        assert!(of("collection", doc! { "collation": { "locale": "en" } }));
    }

    #[test]
    fn only_the_id_alone_keeps_ids_unique() {
        assert!(is_by_id(&doc! { "_id": 1 }));
        assert!(is_by_id(&doc! { "_id": 1.0 }));
        assert!(is_by_id(&doc! { "_id": "hashed" }));
        for wrong in [
            doc! { "batch": 1 },
            doc! { "_id": 1, "batch": 1 },
            doc! { "batch": "hashed" },
            doc! {},
        ] {
            assert!(!is_by_id(&wrong), "{wrong}");
        }
    }
}

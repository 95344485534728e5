//! Of a sharded MongoDB: whether ids are unique over all its shards.

use bson::{Bson, Document, doc};

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

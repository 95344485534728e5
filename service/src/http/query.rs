//! The query of an address, read strictly: an unknown name, a name given twice or a value that
//! breaks its rule is refused by name.

use std::borrow::Cow;

use super::response::Problem;

/// The parameters of a query, each at most once.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads a query whose parameters are all among `known`.
    ///
    /// # Errors
    /// `InvalidParameter`.
    pub(super) fn parse(query: Option<&'a str>, known: &[&'static str]) -> Result<Self, Problem> {
        let mut found: Vec<(&'static str, Cow<'a, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(name) = known.iter().find(|known| **known == name) else {
                let known = known.join(", ");
                return Err(invalid(&name, format!("unknown; known are {known}")));
            };
            if found.iter().any(|(other, _)| other == name) {
                return Err(invalid(name, "given twice".to_owned()));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// The value of a parameter, read by `read`, which says what is wrong with it.
    ///
    /// # Errors
    /// `InvalidParameter`.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Problem> {
        let value = self.0.iter().find(|(other, _)| *other == name);
        value
            .map(|(_, value)| read(value).map_err(|rule| invalid(name, rule.to_owned())))
            .transpose()
    }
}

fn invalid(name: &str, detail: String) -> Problem {
    Problem::InvalidParameter {
        name: crate::parse::shortened(name),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(query: &str) -> Result<Option<u8>, String> {
        let name_of = |problem| match problem {
            Problem::InvalidParameter { name, .. } => name,
            other => panic!("{other:?}"),
        };
        let query = Query::parse(Some(query), &["limit", "from"]).map_err(name_of)?;
        query
            .get("limit", |text| text.parse().map_err(|_| "a number"))
            .map_err(name_of)
    }

    #[test]
    fn reads_strictly() {
        assert_eq!(limit(""), Ok(None));
        assert_eq!(limit("limit=7"), Ok(Some(7)));
        assert_eq!(limit("from=x&%6Cimit=%37"), Ok(Some(7)));
        assert_eq!(limit("limit=7&"), Ok(Some(7)));
        for (query, name) in [
            ("limit=", "limit"),
            ("limit", "limit"),
            ("limit=x", "limit"),
            ("limit=7&limit=7", "limit"),
            ("limit=7&Limit=7", "Limit"),
            ("other=1", "other"),
            ("=1", ""),
            ("limit=%ff", "limit"),
            ("%ff=1", "\u{fffd}"),
        ] {
            assert_eq!(limit(query), Err(name.to_owned()), "{query}");
        }
    }
}

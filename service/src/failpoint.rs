//! Crash points for tests: `failpoint!("name")` ends the process as `kill -9` would, when the
//! environment's `FAILPOINTS` says `name=return`. Compiled to nothing without the `failpoints`
//! feature.
//!
//! Guards can be switched off the same way, `commit-first=return`: the fault run must then report a
//! loss or a double, which shows that it would notice one.

#[cfg(feature = "failpoints")]
macro_rules! failpoint {
    ($name:literal) => {
        fail::fail_point!($name, |_| std::process::abort())
    };
}
#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint {
    ($name:literal) => {};
}
pub(crate) use failpoint;

/// Ends the process if a test says that this body is poison, by a text in it: `poison=return(text)`.
#[cfg(feature = "failpoints")]
pub(crate) fn end_if_poison(body: &[u8]) {
    let text = fail::eval("poison", Option::unwrap_or_default);
    if text.is_some_and(|text| body.windows(text.len()).any(|part| part == text.as_bytes())) {
        std::process::abort();
    }
}

/// Ends the process if a test says that this body is poison. Never without the `failpoints` feature.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn end_if_poison(_body: &[u8]) {}

/// A guard of the design that a test may switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// 202 comes after Redis has confirmed.
    AdmitConfirmed,
    /// An id that is known is not admitted again.
    IdRemembered,
    /// Only the first decision of a bundle counts.
    CommitFirst,
    /// No two bundles have one name.
    NameRandom,
    /// A Redis that lost what it had confirmed is told.
    RollbackTold,
    /// A result leaves Redis after MongoDB has confirmed.
    RecordConfirmed,
    /// A result has one `_id`, whoever records it.
    RecordOnce,
}

impl Guard {
    /// Whether it is switched off. Never without the `failpoints` feature.
    #[cfg(feature = "failpoints")]
    pub(crate) fn is_off(self) -> bool {
        let name = match self {
            Self::AdmitConfirmed => "admit-confirmed",
            Self::IdRemembered => "id-remembered",
            Self::CommitFirst => "commit-first",
            Self::NameRandom => "name-random",
            Self::RollbackTold => "rollback-told",
            Self::RecordConfirmed => "record-confirmed",
            Self::RecordOnce => "record-once",
        };
        fail::eval(name, |_| ()).is_some()
    }

    /// Whether it is switched off. Never without the `failpoints` feature.
    #[cfg(not(feature = "failpoints"))]
    pub(crate) const fn is_off(self) -> bool {
        false
    }
}

/// Whether this process is to pass for another version of the service, whose functions have another text.
#[cfg(feature = "failpoints")]
pub(crate) fn is_other_version() -> bool {
    fail::eval("other-functions", |_| ()).is_some()
}

/// Whether this process is to pass for another version of the service. Never without the `failpoints` feature.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn is_other_version() -> bool {
    false
}

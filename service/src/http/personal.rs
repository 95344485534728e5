//! Personal data, hidden from whoever has no token: what is known of an applicant, and every text that somebody has written
//! as they liked, since it may name one.

use crate::api::{ActivityEntry, Discarded, FailedAttempt, LoanView};
use crate::snapshot::{Event, EventKind, Snapshot, Task};

/// What stands in place of a text.
const HIDDEN: &str = "…";

/// An address of which its initials are left: `a…@e…`. Nothing that belongs to this one address alone: whoever sends a loan may name
/// any address in it, and would see whether it is the same as another's.
pub(super) fn masked_email(email: &str) -> String {
    let first = |text: &str| -> String { text.chars().take(1).collect() };
    let (name, host) = email.split_once('@').unwrap_or((email, ""));
    format!("{}…@{}…", first(name), first(host))
}

/// Hides a text that somebody has written, if there is one.
fn hide(text: &mut String) {
    if !text.is_empty() {
        HIDDEN.clone_into(text);
    }
}

/// The longest number that is no telephone number and no account.
const NUMBER_LEN_MAX: usize = 8;

/// Whether a text names nobody: a short number.
fn names_nobody(text: &str) -> bool {
    text.len() <= NUMBER_LEN_MAX && text.parse::<f64>().is_ok()
}

fn mask_discarded(discarded: Option<&mut Discarded>) {
    if let Some(discarded) = discarded {
        hide(&mut discarded.reason);
    }
}

pub(super) fn mask_attempt(attempt: &mut FailedAttempt) {
    if let Some(email) = &mut attempt.applicant_email {
        *email = masked_email(email);
    }
    for fault in &mut attempt.faults {
        // An address may stand in any field, where a client has mixed them up.
        if fault.field.starts_with("applicant") || !names_nobody(&fault.value) {
            hide(&mut fault.value);
        }
    }
    mask_discarded(attempt.discarded.as_mut());
}

pub(super) fn mask_loan(view: &mut LoanView) {
    view.attempts.iter_mut().for_each(mask_attempt);
    mask_discarded(view.discarded.as_mut());
    let Some(result) = &mut view.result else {
        return;
    };
    // By the content's fingerprint a guess at it could be checked.
    hide(&mut result.fingerprint);
    hide(&mut result.purpose);
    let email = masked_email(&result.applicant.email);
    result.applicant.hide(HIDDEN, email);
}

pub(super) fn mask_snapshot(snapshot: &mut Snapshot) {
    for entry in &mut snapshot.counters.failed_by_applicant {
        entry.applicant = masked_email(&entry.applicant);
    }
}

pub(super) fn mask_task(task: &mut Task) {
    if let Some(filter) = &mut task.filter
        && let Some(applicant) = &mut filter.applicant
    {
        *applicant = masked_email(applicant);
    }
    if let Some(reason) = &mut task.reason {
        hide(reason);
    }
}

pub(super) fn mask_change(change: &mut ActivityEntry) {
    if let Some(reason) = &mut change.reason {
        hide(reason);
    }
}

pub(super) fn mask_event(event: &mut Event) {
    if let EventKind::Failure {
        applicant: Some(applicant),
        ..
    } = &mut event.kind
    {
        *applicant = masked_email(applicant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_names_nobody() {
        for (text, is_shown) in [
            ("0", true),
            ("-12.5", true),
            ("25000000", true),
            ("491701234567", false),
            ("ada", false),
        ] {
            assert_eq!(names_nobody(text), is_shown, "{text}");
        }
    }

    #[test]
    fn an_address_cannot_be_read_and_not_be_tried_out() {
        let masked = masked_email("ada@example.org");
        assert_eq!(masked, "a…@e…");
        assert_eq!(masked, masked_email("alf@elsewhere.org"));
        for odd in ["", "@", "no address", "ü@日本"] {
            assert!(masked_email(odd).contains('…'), "{odd}");
        }
    }
}

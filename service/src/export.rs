//! Rows of an export: failures and loans, as CSV for spreadsheets or as JSON, a row at a time. Pure.

use serde::Serialize;

use crate::api::{ExportFormat, FailedAttempt, LoanResult, rfc3339};
use crate::applicant::Applicant;
use crate::loan::hundredths;
use crate::printable::{is_printable, json, printable};
use crate::record::{FailureDocument, LoanDocument};

/// The columns of failures.
const FAILURE_COLUMNS: [&str; 11] = [
    "loanId",
    "attempt",
    "errorType",
    "faults",
    "applicantEmail",
    "receivedAt",
    "failedAt",
    "isWaiting",
    "discardedBy",
    "discardedAt",
    "discardReason",
];

/// The columns of loans: these, the applicant's, and those of the result. Money is in the currency's unit, a rate in percent.
const LOAN_COLUMNS: [&str; 7] = [
    "loanId",
    "attempt",
    "amount",
    "currency",
    "termMonths",
    "purpose",
    "creditScore",
];
const RESULT_COLUMNS: [&str; 6] = [
    "riskBand",
    "annualRatePercent",
    "monthlyInstalment",
    "debtToIncomePercent",
    "decision",
    "processedAt",
];

/// Writes rows into a buffer.
#[derive(Debug)]
pub(crate) struct Rows {
    format: ExportFormat,
    buffer: Vec<u8>,
}

/// A loan with its id, as a line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoanLine {
    loan_id: String,
    #[serde(flatten)]
    result: LoanResult,
}

impl Rows {
    /// Rows of failures.
    pub(crate) fn of_failures(format: ExportFormat) -> Self {
        Self::new(format, &FAILURE_COLUMNS)
    }

    /// Rows of loans.
    pub(crate) fn of_loans(format: ExportFormat) -> Self {
        let columns = [&LOAN_COLUMNS[..], &Applicant::COLUMNS, &RESULT_COLUMNS];
        Self::new(format, &columns.concat())
    }

    fn new(format: ExportFormat, columns: &[&str]) -> Self {
        let mut rows = Self {
            format,
            buffer: Vec::new(),
        };
        if format == ExportFormat::Csv {
            rows.cells(columns.iter().map(|column| (*column).to_owned()));
        }
        rows
    }

    /// Bytes that were not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Takes what was written.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// A failed attempt.
    pub(crate) fn failure(&mut self, document: FailureDocument) {
        let attempt = FailedAttempt::from(document);
        if self.format == ExportFormat::Ndjson {
            return self.line(&attempt);
        }
        let faults = attempt.faults.iter().map(|fault| {
            let gap = if fault.value.is_empty() { "" } else { ": " };
            format!("{} {}{gap}{}", fault.field, fault.rule, fault.value)
        });
        let faults = faults.collect::<Vec<_>>().join("; ");
        let discarded = attempt.discarded.unwrap_or_else(|| crate::api::Discarded {
            by: String::new(),
            at: String::new(),
            reason: String::new(),
        });
        self.cells([
            attempt.loan_id,
            attempt.attempt.to_string(),
            attempt.error_type.to_string(),
            faults,
            attempt.applicant_email.unwrap_or_default(),
            attempt.received_at,
            attempt.failed_at,
            attempt.is_waiting.to_string(),
            discarded.by,
            discarded.at,
            discarded.reason,
        ]);
    }

    /// An accepted loan.
    pub(crate) fn loan(&mut self, document: LoanDocument) {
        if self.format == ExportFormat::Ndjson {
            let line = LoanLine {
                loan_id: document.loan_id.clone(),
                result: document.into(),
            };
            return self.line(&line);
        }
        let loan = [
            document.loan_id,
            document.attempt.to_string(),
            hundredths(document.amount_minor.0),
            document.currency,
            document.term_months.to_string(),
            document.purpose,
            document.credit_score.to_string(),
        ];
        let result = [
            document.risk_band,
            hundredths(document.annual_rate_basis_points.into()),
            hundredths(document.monthly_instalment_minor.0),
            document
                .debt_to_income_basis_points
                .map_or_else(String::new, hundredths),
            document.decision,
            rfc3339(document.processed_at),
        ];
        let applicant = document.applicant.cells();
        self.cells(loan.into_iter().chain(applicant).chain(result));
    }

    fn line(&mut self, row: &impl Serialize) {
        self.buffer.extend_from_slice(json(row).as_bytes());
        self.buffer.push(b'\n');
    }

    fn cells(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(&mut self.buffer);
        let cells = cells.into_iter().map(safe);
        writer
            .write_record(cells)
            .expect("a buffer takes every row");
        writer.flush().expect("a buffer takes every row");
    }
}

/// What begins a formula, in some spreadsheets also in the wide form of the same characters.
const FORMULA_STARTS: [char; 11] = [
    '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// A text that no spreadsheet takes for a formula: those that could be begin with an apostrophe. Nor does a terminal obey
/// it: what is not printable is written as an escape.
fn safe(cell: String) -> String {
    let is_plain = |c: char| is_printable(c) || matches!(c, '\t' | '\r' | '\n');
    let cell = if cell.chars().all(is_plain) {
        cell
    } else {
        let parts = cell.split_inclusive(['\t', '\r', '\n']);
        let parts = parts.map(|part| {
            let text = part.trim_end_matches(['\t', '\r', '\n']);
            [&*printable(text), &part[text.len()..]].concat()
        });
        parts.collect()
    };
    if cell.starts_with(FORMULA_STARTS) {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use bson::DateTime;

    use super::*;
    use crate::api::FaultView;
    use crate::loan::Category;
    use crate::record::DiscardDocument;

    fn failure(email: &str) -> FailureDocument {
        FailureDocument {
            id: "GC-1#1".to_owned(),
            loan_id: "GC-1".to_owned(),
            attempt: 1,
            error_type: Category::OutOfRange,
            faults: vec![FaultView {
                field: "creditScore".to_owned(),
                rule: "an integer from 300 to 900".to_owned(),
                error_type: Category::OutOfRange,
                value: "1\"00,\n=2".to_owned(),
            }],
            applicant_email: Some(email.to_owned()),
            received_at: DateTime::from_millis(0),
            queued_at: None,
            claimed_at: None,
            failed_at: DateTime::from_millis(1),
            batch: None,
            waiting: false,
            discarded: Some(DiscardDocument {
                by: "ada".to_owned(),
                at: DateTime::from_millis(2),
                reason: "@twice".to_owned(),
            }),
        }
    }

    #[test]
    fn no_cell_is_a_formula_and_each_comes_back() {
        for start in ["=", "+", "-", "@", "\t", "\r", "\n", "\u{ff1d}", "\u{ff20}"] {
            let email = format!("{start}1+1|cmd@example.org");
            let mut rows = Rows::of_failures(ExportFormat::Csv);
            rows.failure(failure(&email));
            let text = rows.take();
            assert!(text.starts_with(b"loanId,attempt,"));
            let mut reader = csv::Reader::from_reader(&*text);
            let row = reader.records().next().unwrap().unwrap();
            assert_eq!(row.len(), FAILURE_COLUMNS.len());
            assert_eq!(row[4], format!("'{email}"));
            assert_eq!(
                &row[3],
                "creditScore an integer from 300 to 900: 1\"00,\n=2"
            );
            assert_eq!(&row[10], "'@twice");
            for cell in &row {
                assert!(
                    !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                    "{cell}"
                );
            }
        }
    }

    #[test]
    fn no_cell_speaks_to_a_terminal() {
        let mut rows = Rows::of_failures(ExportFormat::Csv);
        rows.failure(failure("a\u{1b}]0;b\u{7}\tc\u{202e}\u{9b}d\ne\u{7f}"));
        let text = rows.take();
        let mut reader = csv::Reader::from_reader(&*text);
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(&row[4], "a\\u{1b}]0;b\\u{7}\tc\\u{202e}\\u{9b}d\ne\\u{7f}");
    }

    /// A reader of JSON is told the same.
    #[test]
    fn no_line_speaks_to_a_terminal() {
        let email = "a\u{1b}]0;b\u{7}\t\u{202e}\u{9b}31m\u{7f}\"\\ü日😀";
        let mut rows = Rows::of_failures(ExportFormat::Ndjson);
        rows.failure(failure(email));
        let text = String::from_utf8(rows.take()).unwrap();
        assert!(text.trim_end().chars().all(is_printable), "{text:?}");
        assert!(
            text.contains("\\u009b31m") && text.contains("ü日😀"),
            "{text}"
        );
        let line: FailedAttempt = serde_json::from_str(&text).unwrap();
        assert_eq!(line.applicant_email.as_deref(), Some(email));
    }

    #[test]
    fn a_line_is_what_the_log_shows() {
        let mut rows = Rows::of_failures(ExportFormat::Ndjson);
        rows.failure(failure("=1"));
        let text = String::from_utf8(rows.take()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let line: FailedAttempt = serde_json::from_str(&text).unwrap();
        assert_eq!(line.applicant_email.as_deref(), Some("=1"));
        assert_eq!(line.discarded.unwrap().reason, "@twice");
    }
}

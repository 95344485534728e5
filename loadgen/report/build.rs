//! Embeds the script of the report.

include!("../../scripts/report_script.rs");

fn main() {
    embed_report_script();
}

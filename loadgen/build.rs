//! Stamps the commit of the source into the binary, and embeds the script of the report.

include!("../scripts/git_stamp.rs");
include!("../scripts/report_script.rs");

fn main() {
    stamp_commit();
    embed_report_script();
}

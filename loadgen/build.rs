//! Stamps the commit of the source into the binary.

include!("../scripts/git_stamp.rs");

fn main() {
    stamp_commit();
}

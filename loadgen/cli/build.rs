//! Stamps the commit of the source into the binary.

include!("../../scripts/git_stamp.rs");

fn main() {
    stamp_commit(&[
        "../plan",
        "../record",
        "../drive",
        "../conduct",
        "../observe",
        "../judge",
        "../report",
        "src",
        "build.rs",
        "Cargo.toml",
        "../../snapshot",
        "../../testbed/src",
        "../../Cargo.toml",
        "../../Cargo.lock",
    ]);
}

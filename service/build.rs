//! Stamps the commit of the source into the binary, and puts the built dashboard into it: writes a
//! table of its files, compressed copies beside them, for `http/pages.rs`.
//!
//! `npm run build` in `dashboard/` makes `dist/`; `make build` sees to it. Without it the service
//! still builds, with a page in its place that says what to do.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

include!("../scripts/git_stamp.rs");

const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sluice</title>\
<h1>This build has no dashboard</h1><p>It was built without Node. <code>make build</code> builds it with the dashboard; \
the API works as it is: <a href=\"/api/metrics\">/api/metrics</a>.</p></html>\n";

fn main() {
    stamp_commit();
    embed_pages();
}

fn embed_pages() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let dist = here.join("dashboard/dist");
    // A watched path that is missing makes cargo run this each time; an empty folder does not. In a
    // source tree that cannot be written to, that is all that is lost.
    let _ = fs::create_dir_all(&dist);
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-changed=build.rs");

    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, &mut files);
        files.sort();
    } else {
        println!(
            "cargo:warning=no dashboard in {}: `make build` builds it; a placeholder is served instead",
            dist.display()
        );
        let page = out.join("index.html");
        fs::write(&page, PLACEHOLDER).expect("OUT_DIR can be written to");
        files.push(page);
    }
    let root = if files[0].starts_with(&dist) {
        &dist
    } else {
        &out
    };

    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| !is_compressed(file)) {
        let relative = file.strip_prefix(root).expect("collected below it");
        let path = relative.to_str().expect("Vite names files in ASCII");
        let _ = writeln!(
            table,
            "    Page {{ path: \"/{}\", plain: include_bytes!({}), brotli: {}, gzip: {} }},",
            path.replace('\\', "/"),
            literal(file),
            compressed(file, "br"),
            compressed(file, "gz"),
        );
    }
    table.push_str("]\n");
    fs::write(out.join("pages.rs"), table).expect("OUT_DIR can be written to");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("dist can be read") {
        let path = entry.expect("dist can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn is_compressed(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "br" || extension == "gz")
}

/// The copy that the build of the pages has put beside the file, as Rust source.
fn compressed(file: &Path, extension: &str) -> String {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    let copy = PathBuf::from(name);
    if copy.is_file() {
        format!("Some(include_bytes!({}))", literal(&copy))
    } else {
        "None".to_owned()
    }
}

/// A path as a string literal of Rust.
fn literal(path: &Path) -> String {
    format!(
        "{:?}",
        path.to_str().expect("the paths of a build are UTF-8")
    )
}

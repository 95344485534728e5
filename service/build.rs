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
    stamp_commit(&[
        "src",
        "build.rs",
        "Cargo.toml",
        "../snapshot",
        "../Cargo.toml",
        "../Cargo.lock",
    ]);
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

    // The compiler reads copies: the pages may be built anew while it runs.
    let copies = out.join("pages");
    let _ = fs::remove_dir_all(&copies);
    fs::create_dir_all(&copies).expect("OUT_DIR can be written to");
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        copy(&dist, &copies, "", &mut files);
        files.sort();
    } else {
        println!(
            "cargo:warning=no dashboard in {}: `make build` builds it; a placeholder is served instead",
            dist.display()
        );
        fs::write(copies.join("index.html"), PLACEHOLDER).expect("OUT_DIR can be written to");
        files.push("index.html".to_owned());
    }

    let is_copy = |file: &&String| {
        let extension = Path::new(file).extension();
        extension.is_some_and(|extension| extension == "br" || extension == "gz")
    };
    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| !is_copy(file)) {
        // What the build of the pages has put beside the file.
        let compressed = |extension: &str| {
            let copy = format!("{file}.{extension}");
            if files.contains(&copy) {
                format!("Some({})", bytes_of(&copy))
            } else {
                "None".to_owned()
            }
        };
        let _ = writeln!(
            table,
            r#"    Page {{ path: "/{file}", plain: {}, brotli: {}, gzip: {} }},"#,
            bytes_of(file),
            compressed("br"),
            compressed("gz"),
        );
    }
    table.push_str("]\n");
    fs::write(out.join("pages.rs"), table).expect("OUT_DIR can be written to");
}

/// Copies the files below a folder, and notes their paths in it, with `prefix` before them.
fn copy(from: &Path, to: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(from).expect("dist can be read") {
        let path = entry.expect("dist can be read").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("Vite names files in ASCII");
        if path.is_dir() {
            let folder = to.join(name);
            fs::create_dir_all(&folder).expect("OUT_DIR can be written to");
            copy(&path, &folder, &format!("{prefix}{name}/"), files);
        } else {
            fs::copy(&path, to.join(name)).expect("OUT_DIR can be written to");
            files.push(format!("{prefix}{name}"));
        }
    }
}

/// The content of a copied file, as Rust source.
fn bytes_of(file: &str) -> String {
    format!(r#"include_bytes!(concat!(env!("OUT_DIR"), "/pages/{file}"))"#)
}

// Part of the build scripts of `service` and `loadgen`: stamps the commit into the binary.

/// Sets `SLUICE_GIT_COMMIT` to the commit of the source, with `-dirty` when the files that this crate is built from
/// differ from it. Runs again when the commit or one of those files changes, and not otherwise. Where there is no
/// repository, nothing is set; a build may set the variable itself.
fn stamp_commit() {
    println!("cargo:rerun-if-env-changed=SLUICE_GIT_COMMIT");
    // What this crate is built from, relative to its folder. The first three are there in every crate.
    let sources = [
        "src",
        "build.rs",
        "Cargo.toml",
        "../Cargo.toml",
        "../Cargo.lock",
    ];
    for source in sources {
        println!("cargo:rerun-if-changed={source}");
    }
    if std::env::var_os("SLUICE_GIT_COMMIT").is_some() {
        return;
    }
    // A file that is missing would make every build run this again.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && std::path::Path::new(&path).is_file()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let Some(commit) = git(&["rev-parse", "HEAD"]) else {
        return;
    };
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(sources);
    let dirty = git(&status).is_none_or(|changes| !changes.is_empty());
    let suffix = if dirty { "-dirty" } else { "" };
    println!("cargo:rustc-env=SLUICE_GIT_COMMIT={commit}{suffix}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git")
        .args(arguments)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

// Part of the build scripts of `service` and `loadgen`: stamps the commit into the binary.

/// Sets `SLUICE_GIT_COMMIT` to the commit of the source, with `-dirty` when one of `sources` differs from it: what this
/// crate is built from, relative to its folder. Runs again when the commit or one of them changes, and not otherwise.
/// Where there is no repository, nothing is set; a build may set the variable itself.
fn stamp_commit(sources: &[&str]) {
    println!("cargo:rerun-if-env-changed=SLUICE_GIT_COMMIT");
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

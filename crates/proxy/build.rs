//! Gives the program its commit, for `--version`.
//!
//! `S3PROXY_COMMIT` and `S3PROXY_COMMIT_DATE` say it where the sources are built without their
//! repository, as images are. Otherwise git is asked, for release builds alone: a build for development
//! would be compiled again after each commit. The day is the commit's and not the build's, so that the
//! same commit gives the same program.

use std::env;
use std::path::Path;
use std::process::Command;

/// Digits of a commit's hash.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["S3PROXY_COMMIT", "S3PROXY_COMMIT_DATE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let (commit, date) = match given("S3PROXY_COMMIT") {
        Some(commit) => (Some(commit), given("S3PROXY_COMMIT_DATE")),
        None if is_release => (
            git(&["rev-parse", "HEAD"]),
            git(&["show", "--no-patch", "--format=%cs"]),
        ),
        None => (None, None),
    };
    let commit = commit.as_deref().map(shortened);
    // Of a time, the day.
    let date = date.and_then(|date| date.get(..10).map(str::to_owned));
    let description = match (&commit, date) {
        (Some(commit), Some(day)) => format!("commit {commit}, {day}"),
        (Some(commit), None) => format!("commit {commit}"),
        (None, _) if is_release => "unknown commit".to_owned(),
        (None, _) => "development build".to_owned(),
    };
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=S3PROXY_BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=S3PROXY_BUILD_DESCRIPTION={description}");
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The beginning of a hash, and what image/build appends for sources with changes.
fn shortened(commit: &str) -> String {
    let (hash, suffix) = match commit.split_once('-') {
        Some((hash, suffix)) => (hash, format!("-{suffix}")),
        None => (commit, String::new()),
    };
    format!("{}{suffix}", hash.get(..DIGITS).unwrap_or(hash))
}

fn git(arguments: &[&str]) -> Option<String> {
    let done = Command::new("git").args(arguments).output().ok()?;
    // Each commit, checkout and reset adds a line to it.
    if let Some(log) = git_path("logs/HEAD").filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    done.status
        .success()
        .then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn git_path(name: &str) -> Option<String> {
    let done = Command::new("git")
        .args(["rev-parse", "--path-format=absolute", "--git-path", name])
        .output()
        .ok()?;
    let path = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    (done.status.success() && !path.is_empty()).then_some(path)
}

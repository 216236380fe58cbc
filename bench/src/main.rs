//! The benchmark: s3proxy beside nginx, on loopback, in one run.
//!
//! `run` starts a backend, with s3proxy and nginx as a plain reverse proxy in front of it; lets the
//! same clients do the same work with both; and prints rates, CPU time and memory side by side.
//! `stub` is the backend that it starts. Transferred data is checked, and a wrong response fails
//! the run; a slow one never does.
//!
//! Absent on purpose: TLS (nginx and the proxy would both need it, with other libraries than the
//! ones compared here), latencies, and addresses other than loopback.

mod call;
mod cli;
mod content;
mod load;
mod memory;
mod process;
mod report;
mod request;
mod servers;
mod site;
mod size;
mod stub;
mod throughput;
mod transfers;
mod watch;
mod xml;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use cli::{BackendKind, Cli, Command, Part, RunOptions, StubOptions};
use memory::Work;
use report::Report;
use site::{Site, SiteError};
use stub::StubError;

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Stub(#[from] StubError),
    #[error("the results could not be written to {path}: {source}")]
    Json {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("ended before the results were complete")]
    Interrupted,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(options) => tokio::select! {
            done = run(&options) => done,
            // Dropping the run drops the owners of the servers, which stops them.
            _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
        },
        Command::Stub(options) => serve(&options).await.map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("s3proxy-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &StubOptions) -> Result<(), StubError> {
    stub::serve(stub::listen(options.address()).await?).await
}

/// The work under which the target's memory is watched.
fn works(options: &RunOptions) -> Vec<Work> {
    let mut works = Vec::new();
    for part in &options.parts {
        works.extend(match part {
            Part::Throughput => Vec::new(),
            Part::Memory => Work::objects(options),
            Part::Uploads => Work::uploads(options),
            Part::Copies => Work::copies(options),
        });
    }
    works
}

async fn run(options: &RunOptions) -> Result<(), BenchError> {
    let mut report = Report::new(options);
    let site = Site::start(options).await?;
    if options.parts.contains(&Part::Throughput) {
        report.throughput = throughput::run(&site, options).await?;
    }
    let works = works(options);
    match options.backend {
        BackendKind::Stub => report.memory = memory::run(&site, &works).await?,
        BackendKind::Seaweedfs if works.is_empty() => {}
        BackendKind::Seaweedfs => {
            eprintln!("memory is not measured: SeaweedFS would write all of it to disk");
        }
    }
    // Stops the servers before the results are printed.
    drop(site);
    print!("{}", report.text());
    let Some(path) = &options.json else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(&report).expect("results are plain numbers and names");
    std::fs::write(path, json).map_err(|source| BenchError::Json {
        path: path.clone(),
        source,
    })
}

//! The command line. The defaults are the recorded benchmark: about six minutes on two cores.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::request::Payload;
use crate::size::Size;

/// Measures s3proxy beside nginx on loopback.
#[derive(Parser)]
#[command(name = "s3proxy-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start everything, measure, print tables.
    Run(Box<RunOptions>),
    /// Serve only the in-memory backend.
    Stub(StubOptions),
}

#[derive(Args)]
pub(crate) struct StubOptions {
    /// Port to listen on, on 127.0.0.1
    #[arg(long)]
    port: u16,
}

impl StubOptions {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BackendKind {
    /// In memory, in this program: the least possible work after the measured proxies
    Stub,
    /// A real S3 server that writes to disk
    Seaweedfs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// s3proxy
    Proxy,
    /// nginx as a plain reverse proxy
    Nginx,
    /// No proxy between the clients and the backend: the upper limit
    Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Throughput and CPU, side by side
    Throughput,
    /// Peak memory under many large transfers at once (with the stub only)
    Memory,
    /// Peak memory under multipart uploads (with the stub only)
    Uploads,
    /// Peak memory under copies of plaintext objects (with the stub only)
    Copies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verify {
    /// Check the length of every response
    Length,
    /// Also compare every byte (costs the generator a little)
    Content,
}

#[derive(Args)]
pub(crate) struct RunOptions {
    /// The backend of both proxies
    #[arg(long, value_enum, default_value = "stub")]
    pub(crate) backend: BackendKind,
    /// What to measure, in this order in every first round
    #[arg(long, value_enum, value_delimiter = ',', default_value = "proxy,nginx")]
    pub(crate) targets: Vec<Target>,
    /// Parts of the benchmark to run
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "throughput,memory"
    )]
    pub(crate) parts: Vec<Part>,
    /// The s3proxy program, built for release
    #[arg(long, default_value = "target/release/s3proxy")]
    pub(crate) proxy: PathBuf,
    /// The nginx program
    #[arg(long, default_value = "/usr/sbin/nginx")]
    pub(crate) nginx: PathBuf,
    /// The program for the seaweedfs backend
    #[arg(long, default_value = "weed")]
    pub(crate) weed: PathBuf,
    /// How often each workload is measured per target; the tables show medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// Seconds that each measurement lasts
    #[arg(long, default_value = "4", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How uploads are framed
    #[arg(long, value_enum, default_value = "unsigned")]
    pub(crate) payload: Payload,
    /// The check of reads during the measurements
    #[arg(long, value_enum, default_value = "length")]
    pub(crate) verify: Verify,
    /// Size of the large objects
    #[arg(long, default_value = "64MiB")]
    pub(crate) large_size: Size,
    /// Clients that move large objects at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) large_clients: u16,
    /// Size of the small objects
    #[arg(long, default_value = "4KiB")]
    pub(crate) small_size: Size,
    /// Clients that move small objects at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) small_clients: u16,
    /// Size of the objects in the memory part
    #[arg(long, default_value = "1GiB")]
    pub(crate) memory_size: Size,
    /// Clients that read in the memory part; as many others write
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) memory_clients: u16,
    /// Size of the objects in the uploads part
    #[arg(long, default_value = "10GiB")]
    pub(crate) upload_size: Size,
    /// Size of the copied objects in the copies part
    #[arg(long, default_value = "4GiB")]
    pub(crate) copy_size: Size,
    /// Size of the parts in the uploads and copies parts
    #[arg(long, default_value = "8MiB")]
    pub(crate) part_size: Size,
    /// Clients in the uploads and copies parts, each with its own object
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) upload_clients: u16,
    /// Parts that each client sends or copies at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) parts_at_once: u16,
    /// Also write all results to this file, as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write seconds, such as 4 or 0.5");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if time.is_zero() {
        Err(wrong())
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_without_length_or_meaning_are_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "soon", "inf", "NaN"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}

//! The memory, uploads and copies parts: large transfers, all at the same time.
//!
//! Generator and stub create and drop contents on the fly, so the memory in the results is the
//! target's alone.

use std::fmt;

use serde::Serialize;

use crate::cli::{RunOptions, Target};
use crate::load::{Expect, Load, StopCondition};
use crate::process::Server;
use crate::site::{Contender, Site, SiteError};
use crate::size::Size;
use crate::transfers::{Kind, Transfers};
use crate::watch::{MemoryCurve, watch};

#[derive(Debug, Serialize)]
pub(crate) struct MemoryRun {
    pub(crate) target: Target,
    pub(crate) work: Work,
    #[serde(flatten)]
    pub(crate) watched: MemoryCurve,
}

/// The transfers of a measurement.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Each client reads one object, and as many others write one.
    Objects {
        clients_each_way: usize,
        size: Size,
    },
    Transfers(Transfers),
}

impl Work {
    pub(crate) fn objects(options: &RunOptions) -> Vec<Self> {
        vec![Self::Objects {
            clients_each_way: options.memory_clients.into(),
            size: options.memory_size,
        }]
    }

    pub(crate) fn uploads(options: &RunOptions) -> Vec<Self> {
        vec![Self::transfers(options, Kind::Upload)]
    }

    pub(crate) fn copies(options: &RunOptions) -> Vec<Self> {
        let kinds = [Kind::PartCopies, Kind::WholePartCopy, Kind::ObjectCopy];
        kinds.map(|kind| Self::transfers(options, kind)).into()
    }

    fn transfers(options: &RunOptions, kind: Kind) -> Self {
        let (size, whole) = match kind {
            Kind::Upload => (options.upload_size, false),
            Kind::PartCopies => (options.copy_size, false),
            Kind::WholePartCopy | Kind::ObjectCopy => (options.copy_size, true),
        };
        Self::Transfers(Transfers {
            kind,
            clients: options.upload_clients.into(),
            size,
            part_size: if whole { size } else { options.part_size },
            parts_at_once: if whole {
                1
            } else {
                options.parts_at_once.into()
            },
        })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects {
                clients_each_way: clients,
                size,
            } => write!(out, "{clients} reads and {clients} writes of {size}"),
            Self::Transfers(transfers) => transfers.fmt(out),
        }
    }
}

/// Measures the proxy; other targets only if the proxy is not among them.
pub(crate) async fn run(site: &Site, works: &[Work]) -> Result<Vec<MemoryRun>, SiteError> {
    let contenders = site.contenders();
    let proxy = contenders.iter().any(|one| one.target == Target::Proxy);
    let mut runs = Vec::new();
    for contender in contenders {
        let wanted = contender.target == Target::Proxy || !proxy;
        let Some(server) = contender.server().filter(|_| wanted) else {
            continue;
        };
        for work in works {
            eprintln!("measuring memory of {:?}: {work}", contender.target);
            runs.push(MemoryRun {
                target: contender.target,
                work: *work,
                watched: measure(site, contender, server, *work).await?,
            });
        }
    }
    Ok(runs)
}

async fn measure(
    site: &Site,
    contender: &Contender,
    server: &Server,
    work: Work,
) -> Result<MemoryCurve, SiteError> {
    match work {
        Work::Objects {
            clients_each_way,
            size,
        } => {
            // Stored before the watch starts, so that only the transfers below count.
            let kept = contender.kept("memory");
            site.seed(contender, &kept, size.0).await?;
            let (reads, writes) = objects(site, contender, clients_each_way, size.0)?;
            let both = async {
                let (read, written) = tokio::try_join!(reads.run(), writes.run())?;
                Ok(read.bytes + written.bytes)
            };
            watch(server, both).await
        }
        Work::Transfers(transfers) => watch(server, transfers.run(site, contender)).await,
    }
}

/// The load of the readers and that of the writers.
fn objects(
    site: &Site,
    contender: &Contender,
    clients: usize,
    length: u64,
) -> Result<(Load, Load), SiteError> {
    let authority = site.authority(contender);
    let load = |request, expect| Load {
        authority: authority.to_owned(),
        requests: vec![request],
        expect,
        clients,
        stop: StopCondition::Requests(1),
    };
    let get = site.signer.get(authority, &contender.kept("memory"))?;
    let path = contender.dropped("memory");
    let content = &site.content;
    let put = site
        .signer
        .put(authority, &path, content, length, site.payload)?;
    let reads = load(get, Expect::Content(length, content.clone()));
    Ok((reads, load(put, Expect::Stored { length })))
}

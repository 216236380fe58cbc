//! Starts the measured servers: a backend, with the proxy and nginx in front of it, all on
//! loopback.
//!
//! Every server is ready when its function returns. All use the same credential, and none inherits
//! the environment, so a developer's AWS settings have no effect.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};

use crate::content::{Pattern, Segments};
use crate::load::{self, Expect, LoadError};
use crate::process::{ProcessError, Server};
use crate::request::{Payload, RequestError, Signer};

pub(crate) const BUCKET: &str = "bench";

/// A server that is not ready within this time counts as broken.
const READY_WITHIN: Duration = Duration::from_mins(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// `SeaweedFS` puts the gRPC port this far above each HTTP port.
const GRPC_OFFSET: u16 = 10_000;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("no free port on loopback: {0}")]
    Port(std::io::Error),
    #[error("{path} could not be written: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{name} was not ready within {} s: {reason}\nthe end of its log:\n{log}", READY_WITHIN.as_secs())]
    NotReady {
        name: &'static str,
        reason: LoadError,
        log: String,
    },
}

/// A running server and its address.
pub(crate) struct RunningServer {
    pub(crate) server: Server,
    pub(crate) authority: String,
}

/// The credential of this run. It opens only servers that exit with the run.
pub(crate) fn credential() -> Signer {
    Signer {
        access_key: "BENCHMARKACCESSKEY00".to_owned(),
        secret_key: "benchmark-secret-benchmark-secret-000000".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

pub(crate) async fn stub(program: &Path, folder: &Path) -> Result<RunningServer, ServerError> {
    let port = free_port()?;
    let mut command = clean(program);
    command.args(["stub", "--port", &port.to_string()]);
    let server = Server::start("stub", command, folder)?;
    let running = RunningServer::new(server, port);
    running
        .until(&plain_get("/")?, &Expect::Stored { length: 0 })
        .await
}

pub(crate) async fn seaweedfs(program: &Path, folder: &Path) -> Result<RunningServer, ServerError> {
    let (command, port) = seaweedfs_command(program, folder)?;
    let server = Server::start("seaweedfs", command, folder)?;
    let running = RunningServer::new(server, port);
    let signer = credential();
    let bucket = signer.bare(Method::PUT, &running.authority, &format!("/{BUCKET}"))?;
    let done = Expect::Stored { length: 0 };
    let running = running.until(&bucket, &done).await?;
    // The S3 gateway answers before the volumes accept data.
    let path = format!("/{BUCKET}/ready");
    let content = Pattern::new();
    let object = signer.put(&running.authority, &path, &content, 1, Payload::Unsigned)?;
    running.until(&object, &done).await
}

/// The command, and the port of its S3 gateway.
fn seaweedfs_command(program: &Path, folder: &Path) -> Result<(Command, u16), ServerError> {
    let signer = credential();
    let config = folder.join("seaweedfs-s3.json");
    let identities = serde_json::json!({ "identities": [{
        "name": "bench",
        "credentials": [{ "accessKey": signer.access_key, "secretKey": signer.secret_key }],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    write(&config, &identities.to_string())?;
    let data = folder.join("seaweedfs");
    std::fs::create_dir_all(&data).map_err(|source| ServerError::Write {
        path: data.clone(),
        source,
    })?;
    let mut command = clean(program);
    command
        .args(["-logtostderr", "server", "-filer", "-s3"])
        .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        .arg("-master.telemetry=false")
        .args(["-master.volumeSizeLimitMB=1024", "-volume.max=200"])
        .arg(format!("-dir={}", data.display()))
        .arg(format!("-s3.config={}", config.display()));
    let mut port = 0;
    for part in ["master", "volume", "filer", "s3"] {
        // The loop ends with the S3 gateway, whose port is returned.
        port = free_pair()?;
        command.arg(format!("-{part}.port={port}"));
        command.arg(format!("-{part}.port.grpc={}", port + GRPC_OFFSET));
    }
    Ok((command, port))
}

pub(crate) async fn nginx(
    program: &Path,
    folder: &Path,
    backend: &str,
) -> Result<RunningServer, ServerError> {
    let port = free_port()?;
    let config = folder.join("nginx.conf");
    let text = include_str!("../nginx.conf")
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@BACKEND@", backend)
        .replace("@PORT@", &port.to_string());
    write(&config, &text)?;
    let mut command = clean(program);
    command.arg("-p").arg(folder).arg("-c").arg(&config);
    let server = Server::start("nginx", command, folder)?;
    let running = RunningServer::new(server, port);
    let list = credential().bare(Method::GET, &running.authority, "/")?;
    running.until(&list, &Expect::Stored { length: 0 }).await
}

pub(crate) async fn proxy(
    program: &Path,
    folder: &Path,
    backend: &str,
) -> Result<RunningServer, ServerError> {
    let port = free_port()?;
    let signer = credential();
    // A constant key: the objects exist only during the run.
    let key = format!("s3pk1.{}", URL_SAFE_NO_PAD.encode([0x42; 32]));
    let mut command = clean(program);
    command
        .args(["--ip", "127.0.0.1", "--port", &port.to_string(), "--no-tls"])
        .env("S3PROXY_HOST", format!("http://{backend}"))
        .env("S3PROXY_ENCRYPT_KEY", key)
        .env("AWS_ACCESS_KEY_ID", &signer.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &signer.secret_key)
        .env("AWS_REGION", &signer.region);
    let server = Server::start("s3proxy", command, folder)?;
    let running = RunningServer::new(server, port);
    running
        .until(&plain_get("/readyz")?, &Expect::Stored { length: 0 })
        .await
}

impl RunningServer {
    fn new(server: Server, port: u16) -> Self {
        Self {
            server,
            authority: format!("127.0.0.1:{port}"),
        }
    }

    /// Repeats a request until it succeeds, the process exits or the time is over.
    async fn until(
        mut self,
        request: &Request<Segments>,
        expect: &Expect,
    ) -> Result<Self, ServerError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match load::once(&self.authority, request, expect).await {
                Ok(()) => return Ok(self),
                Err(reason) if Instant::now() >= deadline => {
                    return Err(ServerError::NotReady {
                        name: self.server.name(),
                        reason,
                        log: self.server.last_words(),
                    });
                }
                // An early exit is reported at once, with the log, and not only after the deadline.
                Err(_) => self.server.check()?,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }
}

/// An unsigned request, for health checks and the stub.
fn plain_get(path: &str) -> Result<Request<Segments>, RequestError> {
    let request = Request::get(path).header(http::header::HOST, "127.0.0.1");
    Ok(request.body(Segments::empty())?)
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    // A developer's AWS or proxy variables would change the measurement.
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn write(path: &Path, text: &str) -> Result<(), ServerError> {
    std::fs::write(path, text).map_err(|source| ServerError::Write {
        path: path.to_owned(),
        source,
    })
}

fn bind(port: u16) -> Result<u16, std::io::Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(TcpListener::bind(address)?.local_addr()?.port())
}

fn free_port() -> Result<u16, ServerError> {
    bind(0).map_err(ServerError::Port)
}

/// A free port with a free gRPC port.
fn free_pair() -> Result<u16, ServerError> {
    let mut last = std::io::Error::other("no ports were tried");
    for _ in 0..200 {
        let port = free_port()?;
        let Some(partner) = port.checked_add(GRPC_OFFSET) else {
            continue;
        };
        // Both listeners are closed again, so another process may still take the ports.
        match bind(partner) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(ServerError::Port(last))
}

//! The load generator: a fixed number of clients, each with its own keep-alive connection. A client
//! sends its next request when it has read the previous response to its end.
//!
//! Every response must have the status 200 and, for a read, the object's length; the content is
//! also compared if requested. Anything else ends the run with an error: a fast wrong response is
//! not a result. Bodies are dropped as they arrive, so memory does not grow with their size.
//!
//! Absent on purpose: retries, latencies, and pauses between requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::content::{Pattern, Segments};

/// Characters of an error response that are quoted.
pub(crate) const QUOTED: usize = 600;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{authority} takes no connection: {source}")]
    Connect {
        authority: String,
        source: std::io::Error,
    },
    #[error("{subject} broke off: {source}")]
    Http {
        subject: String,
        source: hyper::Error,
    },
    #[error("{subject}: status {status} instead of 200 OK: {body}")]
    Status {
        subject: String,
        status: StatusCode,
        body: String,
    },
    #[error("{subject}: received {got} bytes of an object of {expected} bytes")]
    Length {
        subject: String,
        got: u64,
        expected: u64,
    },
    #[error(
        "{subject}: the content differs from the stored object, in the piece at offset {offset}"
    )]
    Content { subject: String, offset: u64 },
    #[error("{subject}: the response {problem}")]
    Answer {
        subject: String,
        problem: &'static str,
    },
    #[error("an answer came without {name}")]
    Missing { name: &'static str },
    #[error("a client's task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Requirements on a response besides its status.
#[derive(Clone)]
pub(crate) enum Expect {
    /// An upload; the response body may be anything.
    Stored { length: u64 },
    /// A read of an object of this length.
    Length(u64),
    /// A read of this length of the pattern.
    Content(u64, Pattern),
}

impl Expect {
    fn moved(&self) -> u64 {
        match self {
            Self::Stored { length } | Self::Length(length) | Self::Content(length, _) => *length,
        }
    }
}

/// When a client stops. Its current request is always finished, and counted.
#[derive(Clone, Copy)]
pub(crate) enum StopCondition {
    After(Duration),
    Requests(u64),
}

pub(crate) struct Load {
    pub(crate) authority: String,
    /// Client `n` repeats request `n`, counted from the beginning again if there are fewer
    /// requests.
    pub(crate) requests: Vec<Request<Segments>>,
    pub(crate) expect: Expect,
    pub(crate) clients: usize,
    pub(crate) stop: StopCondition,
}

/// The sum over all clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

impl Load {
    pub(crate) async fn run(self) -> Result<Tally, LoadError> {
        let finished = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let request = self.requests[number % self.requests.len()].clone();
            let client = Client {
                authority: self.authority.clone(),
                request,
                expect: self.expect.clone(),
            };
            clients.spawn(client.run(self.stop, started, Arc::clone(&finished)));
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        let requests = finished.load(Ordering::Relaxed);
        Ok(Tally {
            requests,
            bytes: requests * self.expect.moved(),
            elapsed: started.elapsed(),
        })
    }
}

struct Client {
    authority: String,
    request: Request<Segments>,
    expect: Expect,
}

impl Client {
    async fn run(
        self,
        stop: StopCondition,
        started: Instant,
        finished: Arc<AtomicU64>,
    ) -> Result<(), LoadError> {
        let mut sender = connect(&self.authority).await?;
        // The connection is reused, as SDKs do: a new one per request would measure connects.
        let mut done = 0;
        loop {
            let enough = match stop {
                StopCondition::After(time) => started.elapsed() >= time,
                StopCondition::Requests(count) => done >= count,
            };
            if enough {
                return Ok(());
            }
            // A server may close an idle connection; that is not a failure.
            if sender.ready().await.is_err() {
                sender = connect(&self.authority).await?;
            }
            exchange(&mut sender, &self.request, &self.expect).await?;
            done += 1;
            // Only the total counts, and it is read after all tasks have been joined.
            finished.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(crate) async fn connect(authority: &str) -> Result<SendRequest<Segments>, LoadError> {
    let failed = |source| LoadError::Connect {
        authority: authority.to_owned(),
        source,
    };
    let stream = TcpStream::connect(authority).await.map_err(failed)?;
    // Without it, a small request can wait for the acknowledgement of the previous segment.
    stream.set_nodelay(true).map_err(failed)?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|source| LoadError::Http {
        subject: format!("the connection to {authority}"),
        source,
    })?;
    // The task ends when the sender is dropped; the sender reports errors of the connection.
    tokio::spawn(connection);
    Ok(sender)
}

/// One request on a new connection.
pub(crate) async fn once(
    authority: &str,
    request: &Request<Segments>,
    expect: &Expect,
) -> Result<(), LoadError> {
    let mut sender = connect(authority).await?;
    exchange(&mut sender, request, expect).await
}

async fn exchange(
    sender: &mut SendRequest<Segments>,
    request: &Request<Segments>,
    expect: &Expect,
) -> Result<(), LoadError> {
    let subject = || format!("{} {}", request.method(), request.uri());
    let answer = sender.send_request(request.clone()).await;
    let answer = answer.map_err(|source| LoadError::Http {
        subject: subject(),
        source,
    })?;
    if answer.status() != StatusCode::OK {
        return Err(LoadError::Status {
            subject: subject(),
            status: answer.status(),
            body: quote(answer).await,
        });
    }
    check(answer.into_body(), expect, subject).await
}

/// Reads a body to its end, and drops its bytes as they arrive.
async fn check(
    mut body: Incoming,
    expect: &Expect,
    subject: impl Fn() -> String,
) -> Result<(), LoadError> {
    let mut got = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| LoadError::Http {
            subject: subject(),
            source,
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if let Expect::Content(_, pattern) = expect
            && !pattern.matches(got, &data)
        {
            return Err(LoadError::Content {
                subject: subject(),
                offset: got,
            });
        }
        got += data.len() as u64;
    }
    match expect {
        Expect::Stored { .. } => Ok(()),
        Expect::Length(expected) | Expect::Content(expected, _) if got == *expected => Ok(()),
        Expect::Length(expected) | Expect::Content(expected, _) => Err(LoadError::Length {
            subject: subject(),
            got,
            expected: *expected,
        }),
    }
}

async fn quote(answer: Response<Incoming>) -> String {
    let bytes = match answer.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return format!("(its body broke off: {error})"),
    };
    String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Payload;
    use crate::{servers, stub};

    const LENGTH: u64 = 300_001;

    async fn stub() -> String {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = stub::listen(any).await.expect("a free port");
        let authority = listener.local_addr().expect("bound").to_string();
        tokio::spawn(stub::serve(listener));
        authority
    }

    async fn store(authority: &str, path: &str, payload: Payload) {
        let (signer, content) = (servers::credential(), Pattern::new());
        let put = signer.put(authority, path, &content, LENGTH, payload);
        let stored = Expect::Stored { length: LENGTH };
        let put = put.expect("signed");
        once(authority, &put, &stored).await.expect("stored");
    }

    async fn read(authority: &str, path: &str, expect: Expect) -> Result<(), LoadError> {
        let get = servers::credential().get(authority, path).expect("signed");
        once(authority, &get, &expect).await
    }

    #[tokio::test]
    async fn a_kept_object_comes_back_byte_for_byte_however_it_was_framed() {
        let authority = stub().await;
        for payload in [Payload::Unsigned, Payload::Trailer, Payload::SignedChunks] {
            let path = format!("/bench/keep/{payload:?}");
            store(&authority, &path, payload).await;
            let whole = Expect::Content(LENGTH, Pattern::new());
            read(&authority, &path, whole).await.expect("the same");
        }
    }

    #[tokio::test]
    async fn an_object_outside_the_kept_prefix_is_forgotten() {
        let authority = stub().await;
        store(&authority, "/bench/drop/x", Payload::Unsigned).await;
        let answer = read(&authority, "/bench/drop/x", Expect::Length(LENGTH)).await;
        let Err(LoadError::Status { status, .. }) = answer else {
            panic!("it came back: {answer:?}");
        };
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_plain_object_is_read_whole_without_having_been_stored() {
        let authority = stub().await;
        let whole = Expect::Content(LENGTH, Pattern::new());
        let answer = read(&authority, "/bench/plain/300001", whole).await;
        answer.expect("the pattern");
    }

    #[tokio::test]
    async fn an_answer_of_another_length_or_content_ends_the_load() {
        let authority = stub().await;
        store(&authority, "/bench/keep/x", Payload::Unsigned).await;
        let longer = Expect::Length(LENGTH + 1);
        let answer = read(&authority, "/bench/keep/x", longer).await;
        assert!(matches!(answer, Err(LoadError::Length { got: LENGTH, .. })));
        // Without its mode, the framing is stored with the content, so the content differs.
        let signer = servers::credential();
        let content = Pattern::new();
        let put = signer.put(
            &authority,
            "/bench/keep/y",
            &content,
            LENGTH,
            Payload::Trailer,
        );
        let mut put = put.expect("signed");
        put.headers_mut().remove("x-amz-content-sha256");
        let stored = Expect::Stored { length: LENGTH };
        once(&authority, &put, &stored).await.expect("stored");
        let answer = read(
            &authority,
            "/bench/keep/y",
            Expect::Content(LENGTH, content),
        )
        .await;
        assert!(matches!(answer, Err(LoadError::Content { offset: 0, .. })));
    }

    #[tokio::test]
    async fn a_load_counts_what_all_of_its_clients_finished() {
        let authority = stub().await;
        store(&authority, "/bench/keep/x", Payload::Unsigned).await;
        let get = servers::credential().get(&authority, "/bench/keep/x");
        let load = Load {
            authority,
            requests: vec![get.expect("signed")],
            expect: Expect::Content(LENGTH, Pattern::new()),
            clients: 3,
            stop: StopCondition::Requests(5),
        };
        let tally = load.run().await.expect("done");
        assert_eq!((tally.requests, tally.bytes), (15, 15 * LENGTH));
    }
}

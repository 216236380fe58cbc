//! A limit on how long a request's head may take, from its first byte.
//!
//! The HTTP library has one timer for idleness and heads together, and idle connections may stay
//! for long (load balancers keep them). So this wrapper around the socket watches for the first
//! byte after a request was answered, and fails reads when the head is still not there after its
//! time. Bodies have a timeout of their own and are not timed here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Whether a request is being served, told by whoever serves it.
#[derive(Clone, Default)]
pub(super) struct Serving(Arc<AtomicBool>);

impl Serving {
    /// The head is complete.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The answer is on its way: what is read next begins another head.
    pub(super) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A socket whose reads fail when a head takes too long.
pub(super) struct HeadTimeout<IO> {
    inner: IO,
    serving: Serving,
    limit: Duration,
    /// Runs while part of a head was read.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<IO> HeadTimeout<IO> {
    pub(super) fn new(inner: IO, serving: Serving, limit: Duration) -> Self {
        Self {
            inner,
            serving,
            limit,
            deadline: None,
        }
    }

    fn poll_too_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.deadline {
            Some(deadline) if !self.serving.is_on() => deadline
                .as_mut()
                .poll(context)
                .map(|()| io::ErrorKind::TimedOut.into()),
            Some(_) | None => Poll::Pending,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for HeadTimeout<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_read(context, buffer) {
            Poll::Pending => this.poll_too_late(context).map(Err),
            Poll::Ready(outcome) => {
                if this.serving.is_on() {
                    this.deadline = None;
                } else if this.deadline.is_none() {
                    let deadline = Instant::now() + this.limit;
                    this.deadline = Some(Box::pin(tokio::time::sleep_until(deadline)));
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_cut_off_and_an_idle_connection_is_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let serving = Serving::default();
        let mut socket = HeadTimeout::new(server, serving.clone(), LIMIT);
        let mut buffer = [0; 64];

        let idle = tokio::time::timeout(10 * LIMIT, socket.read(&mut buffer)).await;
        assert!(idle.is_err(), "nothing was read, so nothing is late");

        client.write_all(b"GET /").await.unwrap();
        socket.read(&mut buffer).await.unwrap();
        let late = socket.read(&mut buffer).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_timed_here() {
        let (mut client, server) = tokio::io::duplex(64);
        let serving = Serving::default();
        let mut socket = HeadTimeout::new(server, serving.clone(), LIMIT);
        let mut buffer = [0; 64];

        client.write_all(b"PUT / HTTP/1.1\r\n\r\n").await.unwrap();
        socket.read(&mut buffer).await.unwrap();
        serving.begin();
        let waiting = tokio::time::timeout(10 * LIMIT, socket.read(&mut buffer)).await;
        assert!(waiting.is_err(), "the body's own timeout is elsewhere");
    }
}

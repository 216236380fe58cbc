//! Limits on how long a client may keep its connection waiting: with a request's head, from its
//! first byte, and with reading a response.
//!
//! The HTTP library has one timer for idleness and heads together, and idle connections may stay
//! open for long (load balancers keep them). So this wrapper of the socket watches for the first
//! byte after a request was answered, and fails reads if the head is not complete in time. It fails
//! writes if the client reads a response more slowly than bodies may move. Bodies of requests have
//! their own timeouts and are not timed here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::time::{Instant, Sleep};

use super::ConnectionLimits;
use super::connection_activity::{Activity, WriteOutcome};
use super::connection_limits::HeadMemoryExhausted;
use super::parse_error_responses::ParseErrorResponses;
use super::protocol_mismatch::FirstByte;
use crate::body::client_pace::{ClientPace, PaceViolation};

/// A socket that fails if its client keeps it waiting.
pub(super) struct TimedSocket<IO> {
    inner: Take<IO>,
    activity: Activity,
    first_byte: FirstByte,
    parse_errors: ParseErrorResponses,
    header_timeout: Duration,
    /// Deadline of the head with this number; without meaning for any other head.
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
    /// Pace of the client in reading responses.
    pace: ClientPace,
}

impl<IO: AsyncRead> TimedSocket<IO> {
    pub(super) fn new(
        inner: IO,
        activity: Activity,
        first_byte: FirstByte,
        limits: &ConnectionLimits,
    ) -> Self {
        Self {
            // The limit is set before each read.
            inner: inner.take(0),
            activity,
            first_byte,
            parse_errors: ParseErrorResponses::new(),
            header_timeout: limits.header_timeout,
            deadline: None,
            pace: ClientPace::for_receiver(limits.patience.clone()),
        }
    }

    fn poll_too_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.deadline {
            Some((head, deadline)) if self.activity.head() == Some(*head) => deadline
                .as_mut()
                .poll(context)
                .map(|()| io::ErrorKind::TimedOut.into()),
            Some(_) | None => Poll::Pending,
        }
    }

    /// Times a write. Returns an error if the client read too little for too long.
    fn timed<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = &written {
            let bytes = outcome.as_ref().map_or(0, bytes);
            self.activity.wrote(WriteOutcome::Bytes(bytes));
            self.pace.moved(bytes);
            return written;
        }
        self.activity.wrote(WriteOutcome::Blocked);
        self.pace.poll_violation(context).map(|why| {
            let text = match why {
                PaceViolation::Idle => "the client stopped reading its response",
                PaceViolation::TooSlow => {
                    "the client read its response too slowly while others waited"
                }
            };
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }

    /// Records received bytes, or the end. Fails if there is no memory for them.
    fn progressed(&mut self, bytes: usize) -> io::Result<()> {
        // Taken before `read`, which may change the state: the deadline runs from the first byte.
        let head = self.activity.head();
        let read = self.activity.read(bytes);
        read.map_err(|HeadMemoryExhausted| io::ErrorKind::ConnectionAborted)?;
        let running = self.deadline.as_ref().map(|(head, _)| *head);
        if head != running {
            self.deadline = head.map(|head| {
                let deadline = Instant::now() + self.header_timeout;
                (head, Box::pin(tokio::time::sleep_until(deadline)))
            });
        }
        Ok(())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for TimedSocket<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        // The limit changes with the state of the connection, so it is set for each read.
        this.inner.set_limit(this.activity.read_limit());
        match Pin::new(&mut this.inner).poll_read(context, buffer) {
            Poll::Pending => this.poll_too_late(context).map(Err),
            Poll::Ready(outcome) => {
                let read = &buffer.filled()[before..];
                this.first_byte.note(read);
                this.parse_errors.read(this.activity.head(), read);
                let progressed = this.progressed(buffer.filled().len() - before);
                Poll::Ready(outcome.and(progressed))
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedSocket<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let (head, socket) = (this.activity.head(), this.inner.get_mut());
        let written = this
            .parse_errors
            .poll_write(head, bytes, socket, context)
            .unwrap_or_else(|| Pin::new(socket).poll_write(context, bytes));
        self.timed(written, |count| *count, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let (head, socket) = (this.activity.head(), this.inner.get_mut());
        let first = slices.first().map_or(&[][..], |slice| slice);
        let written = this
            .parse_errors
            .poll_write(head, first, socket, context)
            .unwrap_or_else(|| Pin::new(socket).poll_write_vectored(context, slices));
        self.timed(written, |count| *count, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(self.inner.get_mut()).poll_flush(context);
        if flushed.is_ready() {
            let head = self.activity.head();
            self.parse_errors.flushed(head);
        }
        self.timed(flushed, |()| 0, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let socket = this.inner.get_mut();
        match this.parse_errors.poll_shutdown(socket, context) {
            Poll::Pending => this.poll_too_late(context).map(Err),
            done @ Poll::Ready(_) => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::body::client_pace::PaceLimits;

    const LIMIT: Duration = Duration::from_secs(15);

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            header_bytes: 65_536,
            connections: 1,
            idle_timeout: LIMIT,
            header_timeout: LIMIT,
            patience: PaceLimits::with_silence(LIMIT),
            drain_delay: LIMIT,
            drain_timeout: LIMIT,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut socket =
            TimedSocket::new(server, Activity::default(), FirstByte::default(), &limits());
        // Fills the pipe, so that every further write waits for the client.
        socket.write_all(&[0; 64]).await.unwrap();
        for _ in 0..4 {
            let slow = async {
                tokio::time::sleep(LIMIT * 2 / 3).await;
                client.read_exact(&mut [0; 64]).await.unwrap();
            };
            let (written, ()) = tokio::join!(socket.write_all(&[0; 64]), slow);
            written.unwrap();
        }
        let stuck = socket.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_cut_off_and_an_idle_connection_is_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let activity = Activity::default();
        let mut socket =
            TimedSocket::new(server, activity.clone(), FirstByte::default(), &limits());
        let mut buffer = [0; 64];

        let idle = tokio::time::timeout(10 * LIMIT, socket.read(&mut buffer)).await;
        assert!(idle.is_err(), "nothing was read, so nothing is late");

        client.write_all(b"GET /").await.unwrap();
        assert!(socket.read(&mut buffer).await.unwrap() > 0);
        let late = socket.read(&mut buffer).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_timed_here() {
        let (mut client, server) = tokio::io::duplex(64);
        let activity = Activity::default();
        let mut socket =
            TimedSocket::new(server, activity.clone(), FirstByte::default(), &limits());
        let mut buffer = [0; 64];

        client.write_all(b"PUT / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(socket.read(&mut buffer).await.unwrap() > 0);
        let _serving = activity.begin();
        let waiting = tokio::time::timeout(10 * LIMIT, socket.read(&mut buffer)).await;
        assert!(waiting.is_err(), "the body's own timeout is elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_one_head_does_not_run_on_after_it() {
        let (mut client, server) = tokio::io::duplex(64);
        let activity = Activity::default();
        let mut socket =
            TimedSocket::new(server, activity.clone(), FirstByte::default(), &limits());
        let mut buffer = [0; 64];

        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(socket.read(&mut buffer).await.unwrap() > 0);
        drop(activity.begin());
        let idle = tokio::time::timeout(10 * LIMIT, socket.read(&mut buffer)).await;
        assert!(idle.is_err(), "no byte of the next head was read");

        client.write_all(b"GET /").await.unwrap();
        assert!(socket.read(&mut buffer).await.unwrap() > 0);
        let late = socket.read(&mut buffer).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}

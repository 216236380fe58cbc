//! The writer's thread, so that no request waits for a disk.
//!
//! Queued lines are written at once. A failed write is retried every second, from the byte at which
//! it stopped, until it succeeds: queued lines are lost only with the process. Meanwhile the
//! queue's slots run out, which makes requests wait. A file that was moved away is replaced within
//! a second, or on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::log_rate_limit::LogRateLimit;
use super::Message;
use super::output::{FileCheck, LineOutput};

/// Number of bytes after which no further lines join a write.
const BATCH_BYTES: usize = 256 * 1024;

/// Pause after a failed write, and interval of the check for a moved file.
const PAUSE: Duration = Duration::from_secs(1);

struct Writer {
    output: LineOutput,
    stuck: Arc<AtomicBool>,
    looked: Instant,
    failures: LogRateLimit,
}

/// Starts the thread. It ends with the last sender.
pub(super) fn start(
    output: LineOutput,
    stuck: Arc<AtomicBool>,
) -> std::io::Result<Sender<Message>> {
    let (sender, receiver) = mpsc::channel();
    let writer = Writer {
        output,
        stuck,
        looked: Instant::now(),
        failures: LogRateLimit::default(),
    };
    thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || writer.run(&receiver))?;
    Ok(sender)
}

/// Lines that are written together.
#[derive(Default)]
struct WriteBatch {
    bytes: Vec<u8>,
    slots: Vec<OwnedSemaphorePermit>,
}

enum WriterCommand {
    Reopen,
    Flushed(oneshot::Sender<()>),
}

impl WriteBatch {
    /// Takes one message, and the queued ones after it up to an order.
    fn gather(first: Message, receiver: &Receiver<Message>) -> (Self, Option<WriterCommand>) {
        let mut batch = Self::default();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Lines(lines, slot) => {
                    batch.bytes.extend_from_slice(&lines);
                    batch.slots.push(slot);
                }
                // An order ends the batch: the lines before it must go to the old file.
                Message::Reopen => return (batch, Some(WriterCommand::Reopen)),
                Message::Flush(done) => return (batch, Some(WriterCommand::Flushed(done))),
            }
            next = if batch.bytes.len() < BATCH_BYTES {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
        (batch, None)
    }
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            let (batch, order) = WriteBatch::gather(first, receiver);
            self.write(&batch.bytes);
            // Release the slots only now that their lines are written.
            drop(batch.slots);
            match order {
                None => {}
                Some(WriterCommand::Reopen) => {
                    self.follow();
                }
                Some(WriterCommand::Flushed(done)) => {
                    // The receiver may have timed out.
                    let _ = done.send(());
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.looked.elapsed() >= PAUSE {
            self.follow();
        }
        let mut written = 0;
        while written < bytes.len() {
            match self.output.write(&bytes[written..]) {
                // Zero bytes without an error would loop forever: treat it as a failure.
                Ok(0) => self.failed(&std::io::ErrorKind::WriteZero.into()),
                Ok(more) => {
                    written += more;
                    self.stuck.store(false, Ordering::Relaxed);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => self.failed(&error),
            }
            // Sleeping is fine: this thread does nothing else.
            thread::sleep(PAUSE);
            // A line that was cut off in the old file is written again, whole, into the new one.
            if self.follow() == FileCheck::Reopened {
                written = line_start(bytes, written);
            }
        }
    }

    fn failed(&self, error: &std::io::Error) {
        self.stuck.store(true, Ordering::Relaxed);
        if let Some(times) = self.failures.count() {
            tracing::error!(%error, times, "the audit log cannot be written; retrying");
        }
    }

    fn follow(&mut self) -> FileCheck {
        self.looked = Instant::now();
        match self.output.follow() {
            Ok(moved) => moved,
            Err(error) => {
                if self.failures.count().is_some() {
                    tracing::error!(%error, "cannot reopen the file of the audit log");
                }
                FileCheck::Same
            }
        }
    }
}

/// Returns the start of the line that contains the position: a line is never split over two files.
fn line_start(bytes: &[u8], position: usize) -> usize {
    let before = &bytes[..position];
    before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_written_whole_to_the_new_file() {
        let lines = b"one\ntwo\nthree\n";
        for (position, start) in [(0, 0), (2, 0), (4, 4), (6, 4), (14, 14)] {
            assert_eq!(line_start(lines, position), start, "{position}");
        }
    }
}

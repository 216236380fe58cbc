//! Stopping when SIGINT or SIGTERM comes: the first asks for a clean end, the second for any end.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// From a terminal.
    Interrupt,
    /// From an orchestrator.
    Terminate,
}

/// Catches them from its making on.
pub(crate) struct Stop {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Stop {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// The next one. Nothing is lost when this is dropped unfinished.
    pub(super) async fn requested(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

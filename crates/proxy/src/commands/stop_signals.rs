//! Interruption by SIGINT or SIGTERM: the first asks for a clean end, the second for an immediate
//! one.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// Signal that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT, from a terminal.
    Interrupt,
    /// SIGTERM, from an orchestrator.
    Terminate,
}

/// Handler that catches the signals from its creation on.
pub(crate) struct StopSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl StopSignals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. Cancel-safe: no signal is lost.
    pub(super) async fn requested(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}

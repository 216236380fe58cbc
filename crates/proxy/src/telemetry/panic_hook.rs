//! Panics in the log and in the metrics: the location, and nothing of the message.

use std::panic::{self, Location};

/// Replaces the default hook, which would print the panic's message.
pub(super) fn install() {
    panic::set_hook(Box::new(|panic| {
        super::metrics::panicked();
        report(panic.location());
    }));
}

fn report(location: Option<&Location<'_>>) {
    let (file, line) = location.map_or(("unknown", 0), |at| (at.file(), at.line()));
    tracing::error!(file, line, "internal error: panic; please report this bug");
}

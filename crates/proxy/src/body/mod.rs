//! Adapters between HTTP bodies and the sealed format.
//!
//! [`inbound`] reads a client's body: framing removed, every promise of the request verified.
//! [`replaying`] reads the content of a stored object, for copies. [`sealing`] turns either into
//! the stored form on its way to the backend, [`opening`] turns the stored form into plaintext on
//! its way to the client ([`legacy`] that of the older proxies), and [`outbound`] is the body of a
//! response. [`client_pace`] watches the speed of clients, [`budget`] counts the memory of all
//! bodies.
//!
//! Each adapter holds one buffer or block, never a whole object that may be long. A body that turns
//! out wrong ends in an error, never in a clean end, so that neither side can take it for complete.

pub(crate) mod budget;
pub(crate) mod buffers;
pub(crate) mod client_pace;
mod idle_timeout;
pub(crate) mod inbound;
pub(crate) mod keep_alive;
pub(crate) mod legacy;
pub(crate) mod opening;
pub(crate) mod outbound;
pub(crate) mod plaintext_body;
pub(crate) mod pressure;
pub(crate) mod replaying;
pub(crate) mod sealing;
pub(crate) mod verifying;

//! Adapters between HTTP bodies and the sealed format.
//!
//! [`inbound`] reads what a client sends: framing taken off, everything verified that the request
//! promised; [`replaying`] what a stored object holds, for copies. [`sealing`] turns either into the
//! stored form on its way to the backend, [`opening`] the stored form into plaintext on its way to
//! the client ([`legacy`] that of the older proxies), and [`outbound`] is what a response carries.
//! [`pace`] watches how fast the client is, [`budget`] counts the memory of all bodies.
//! All of them hold one buffer or block each and never a whole object that may be long, and a body
//! that turns out wrong ends in an error, never in a clean end, so that neither side can take it for
//! complete.

pub(crate) mod budget;
pub(crate) mod buffers;
pub(crate) mod inbound;
pub(crate) mod legacy;
pub(crate) mod opening;
pub(crate) mod outbound;
pub(crate) mod pace;
pub(crate) mod patient;
pub(crate) mod pressure;
pub(crate) mod replaying;
pub(crate) mod sealing;
mod stall;
pub(crate) mod verifying;

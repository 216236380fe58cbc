//! The object format of s3proxy: keys, the envelope in the metadata, sealed bodies.
//!
//! Bytes in, bytes out. The crate has no sockets, HTTP, clock or configuration. Its only outside
//! input is randomness from the system's generator, for keys and salts. `docs/format.md` describes
//! the format for implementations in other languages.
//!
//! Invariants:
//! - An opener releases no byte of plaintext before its chunk was authenticated, at its own
//!   position, in an object of the announced length.
//! - Every length that comes from stored data is bounded before anything is allocated for it.
//! - Keys are zeroized, and cannot be printed, compared with `==`, cloned or serialised.
//!
//! Absent on purpose: writing the formats of older proxies, asynchronous code, any way to choose a
//! nonce or a salt from outside, and any way to open a body without its commitment.

mod cbor;
pub mod dek;
mod derive;
pub mod header;
pub mod kek;
pub mod layout;
pub mod legacy;
pub mod message;
pub mod multipart;
pub mod names;
pub mod object;
mod secret;

#[cfg(test)]
mod drive;
#[cfg(test)]
mod splitting;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wycheproof_vectors;

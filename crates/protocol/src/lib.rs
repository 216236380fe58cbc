//! S3 as a language: operations, names, signatures, checksums, ranges, errors and XML.
//!
//! Pure: it knows `http`'s types and nothing of sockets, keys for data, or configuration.

pub mod checksum;
pub mod chunked;
pub mod error;
pub mod payload;
pub mod sigv4;

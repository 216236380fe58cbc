//! The S3 protocol: operations, names, signatures, checksums, ranges, errors and XML.
//!
//! The crate does no I/O: it uses `http`'s types and has no sockets, encryption keys or
//! configuration.
//!
//! A request passes through it in one direction. Ambiguous request heads are refused
//! ([`request_head`]), host and path become a bucket and a key ([`mod@address`]), method and query
//! select one operation from a closed list ([`operation`]), and that operation decides which
//! headers are forwarded ([`header_rules`]). Names are decoded once and never normalised. Backend
//! responses are rewritten in plaintext terms (ETags, lengths, ranges), and unknown elements are
//! kept ([`xml`], [`etag`], [`range`]).

pub mod address;
pub mod aws_endpoint;
pub mod checksum;
pub mod chunked;
pub mod conditional;
pub mod copy_source;
pub mod error;
pub mod etag;
pub mod header_rules;
pub mod headers;
pub mod hex;
pub mod http_date;
pub mod ids;
pub mod name;
pub mod operation;
pub mod payload;
pub mod percent;
pub mod post;
pub mod query;
pub mod query_headers;
pub mod quote;
pub mod range;
pub mod request_head;
pub mod sigv2;
pub mod sigv4;
pub mod xml;

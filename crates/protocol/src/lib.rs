//! S3 as a language: operations, names, signatures, checksums, ranges, errors and XML.
//!
//! Pure: it knows `http`'s types and nothing of sockets, keys for data, or configuration.
//!
//! A request is read in one direction: its head is refused where it is ambiguous
//! ([`request_head`]), host and path become names ([`mod@address`]), method and query become one
//! operation of a closed list ([`operation`]), and that operation says which headers go on
//! ([`header_rules`]). Names are decoded once and never normalised. What a backend answers is
//! rewritten in plaintext terms without losing what is not known here ([`xml`], [`etag`],
//! [`range`]).

pub mod address;
pub mod aws_endpoint;
pub mod checksum;
pub mod chunked;
pub mod conditional;
pub mod copy_source;
pub mod error;
pub mod etag;
pub mod header_rules;
pub mod http_date;
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

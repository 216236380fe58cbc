//! S3 as a language: operations, names, signatures, checksums, ranges, errors and XML.
//!
//! Pure: it knows `http`'s types and nothing of sockets, keys for data, or configuration.

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
pub mod query;
pub mod query_headers;
pub mod range;
pub mod request_head;
pub mod sigv4;
pub mod xml;

//! PostObject: a browser's form, read and judged.
//!
//! A form is read in one direction. [`Boundary`] comes from `Content-Type`; [`FormParser`] takes
//! the body up to where the file begins and keeps what stands before it within S3's bounds;
//! [`FileDecoder`] takes the file off the rest and knows whether the form ended where it must. In
//! between, [`sigv4::post_policy`](crate::sigv4::SignedPolicy) finds out who signed, [`Policy`]
//! judges the fields, and [`FormFields`] says which headers of a PutObject they stand for.
//!
//! Sources: RFC 7578 and RFC 2046 for the form, the S3 API Reference ("POST Object", "POST Policy")
//! for its meaning. Stricter than both on purpose: no duplicate field, no second file, no field before
//! the file that is neither known nor covered by the policy, and nothing behind a large file, whose
//! length has to be known before it is read.
//!
//! Absent: reading a socket, the client's secret, and what is done with the object.

mod boundary;
mod error;
mod fields;
mod file;
mod form;
mod part_header;
mod policy;
mod rest;
mod success;

pub use boundary::Boundary;
pub use error::PostError;
pub use fields::FormFields;
pub use file::{Content, FileBounds, FileDecoder, Step};
pub use form::{FormHead, FormParser, MAX_HEAD_BYTES};
pub use policy::{LengthRange, Policy};
pub use success::SuccessAction;

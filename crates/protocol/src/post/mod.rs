//! PostObject: parsing and authorising an upload by a browser's form.
//!
//! A form is processed in one direction. [`Boundary`] comes from `Content-Type`. [`FormParser`]
//! parses the body up to the file and keeps what precedes it within S3's limits. [`FileDecoder`]
//! extracts the file and checks that the form ends correctly. In between,
//! [`sigv4::post_policy`](crate::sigv4::SignedPolicy) determines the signer, [`Policy`] checks the
//! fields, and [`FormFields`] returns the PutObject headers that they represent.
//!
//! Sources: RFC 7578 and RFC 2046 for the syntax of forms, and the S3 API Reference ("POST Object",
//! "POST Policy") for their meaning. This parser is deliberately stricter: no preamble, no
//! duplicate field, nothing after the file, and no field that is neither known nor covered by the
//! policy.
//!
//! Not handled here: reading from a socket, looking up the client's secret, and storing the object.

mod boundary;
mod error;
mod fields;
mod file;
mod form;
mod part_header;
mod policy;
mod success;

pub use boundary::Boundary;
pub use error::PostError;
pub use fields::FormFields;
pub use file::{Content, FileBounds, FileDecoder, Step};
pub use form::{FormHead, FormParser, MAX_HEAD_BYTES};
pub use policy::{LengthRange, Policy};
pub use success::SuccessAction;

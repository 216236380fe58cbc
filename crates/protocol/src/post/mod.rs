//! PostObject: parsing and authorising an upload by a browser's form.
//!
//! A form is processed in one direction. [`Boundary`] comes from `Content-Type`. [`FormParser`]
//! parses the body up to the file and keeps what precedes it within S3's limits. [`FileDecoder`]
//! extracts the file and checks that the form ends correctly. In between,
//! [`sigv4::post_policy`](crate::sigv4::SignedPolicy) determines the signer, [`Policy`] checks the
//! fields, and [`FormFields`] returns the PutObject headers that they represent.
//!
//! Sources: RFC 7578 and RFC 2046 for the form, the S3 API Reference ("POST Object", "POST Policy")
//! for its meaning. Stricter than both on purpose: no duplicate field, no second file, no field
//! before the file that is neither known nor covered by the policy, and nothing after a large file,
//! whose length has to be known before it is read.
//!
//! Not handled here: reading from a socket, looking up the client's secret, and storing the object.

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
pub use file::{Content, DecodedFile, FileBounds, FileDecoder};
pub use form::{FormHead, FormParser, MAX_HEAD_BYTES};
pub use policy::{LengthRange, Policy};
pub use success::SuccessAction;

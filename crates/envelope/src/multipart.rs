//! Layout 2: the bodies of multipart uploads, and the state of an upload in progress.
//!
//! The parts follow each other in upload order, each a message bound to its number and length.
//! Zeros come next, then the seal (which lists the parts and is authentic as a whole) and a footer
//! of 12 bytes with the start of the seal.
//!
//! Invariants: nothing of a body is opened before its seal was read and agrees with the stored
//! length; part numbers ascend from 1 to 10000; every length is bounded before it is allocated for.
//! Absent: requests, listings, and the decision when a part is staged.

mod fields;
mod part;
mod seal;
mod span;
mod upload;

pub use fields::{ChecksumAlgorithm, SealFields};
pub use part::{Frame, Mark, PartEtag, PartNumber, PartTag};
pub use seal::{Seal, SealListError, SealedPart, tail_first};
pub use span::MultipartSpan;
pub use upload::{SealedUploadState, UploadHash, UploadName, UploadState, UploadStateError};

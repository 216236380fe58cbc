//! S3's XML documents, as far as the proxy has to understand them.
//!
//! Documents from a backend are parsed into a tree of byte spans ([`document`]) and modified by
//! replacing spans. Elements that the proxy does not know pass unchanged, byte for byte. Elements
//! on which decisions depend are parsed strictly. Lists in clients' requests ([`delete`],
//! [`complete`]) have a closed schema: they are parsed as a `stream`, up to the first unknown
//! element.
//!
//! Documents that are forwarded to a backend ([`canonical`]) are parsed and serialised again.
//!
//! Responses that the proxy writes itself ([`complete`], [`copy`], [`attributes`] and others) are
//! built with `answer`.
//!
//! Callers bound the size of documents; elements, depth, tags and texts are bounded here. Document
//! type declarations, processing instructions and entities other than XML's own five are refused.

mod answer;
pub mod attributes;
pub mod buckets;
pub mod canonical;
pub mod complete;
pub mod copy;
pub mod delete;
pub mod document;
pub mod error_document;
pub mod escape;
pub mod initiate;
pub mod listing;
mod page;
pub mod parts;
pub mod post_response;
pub mod restore;
mod stream;
pub mod tagging;
mod truth;
pub mod uploads;

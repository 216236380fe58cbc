//! The XML documents of S3 that the proxy has to understand.
//!
//! A backend's documents are read into a tree of byte spans ([`document`]), and rewriting means
//! exchanging spans: what the proxy does not know passes byte for byte, so a backend may say more
//! than is known here. What is decided by is read strictly. Lists that clients send to be acted on
//! ([`delete`], [`complete`]) are closed: they are read as a `stream`, up to the first element that
//! is not known.
//!
//! What goes on to a backend as a document of its own ([`canonical`]) is written anew.
//!
//! What the proxy answers in its own words ([`complete`], [`copy`], [`attributes`] and others) is
//! written from the start by `answer`.
//!
//! Callers bound the size of what they hand in; elements, depth, tags and texts are bounded here.
//! Document type declarations, processing
//! instructions and entities other than XML's own five are refused.

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
pub mod parts;
pub mod post_response;
pub mod restore;
mod stream;
pub mod tagging;
mod truth;
pub mod uploads;

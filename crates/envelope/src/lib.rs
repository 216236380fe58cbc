//! The object format.

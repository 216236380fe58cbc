//! The engine: reads, writes, copies and re-keys stored objects.
//!
//! It knows the [`Store`] and names of objects, but no client's request: handlers and the
//! operator's commands call it alike. A [`StoreCall`] says on whose behalf it works: whose share
//! of the memory it takes, and where it notes which keys it used. Grants are checked before,
//! and responses to clients are made elsewhere.

pub(crate) mod call;
pub(crate) mod copy;
pub(crate) mod copy_directives;
mod copy_in_parts;
pub(crate) mod delivery;
pub(crate) mod document_times;
pub(crate) mod embedded_error;
pub(crate) mod layout_cache;
pub(crate) mod listing_walk;
pub(crate) mod new_object;
pub(crate) mod object_ref;
pub(crate) mod plaintext_headers;
pub(crate) mod read;
pub(crate) mod rekey;
pub(crate) mod replaced;
pub(crate) mod rewrite;
pub(crate) mod sealed_stream;
mod store;
pub(crate) mod stored;
pub(crate) mod tags;
pub(crate) mod verification_cache;
pub(crate) mod verify;
pub(crate) mod versions;
pub(crate) mod write;
mod write_in_parts;
pub(crate) mod write_plaintext;

pub(crate) use self::call::{CallContext, OwnedCall, StoreCall};
pub(crate) use self::object_ref::{ObjectName, ObjectRef};
pub(crate) use self::store::Store;

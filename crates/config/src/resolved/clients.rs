//! The resolved clients and their grants.

use std::collections::BTreeSet;

use super::{Bound, Pattern, Permission, SecretText};

/// Clients and their authentication.
pub struct Clients {
    pub authentication: Authentication,
    /// Buckets whose objects anyone may read without a signature.
    pub anonymous_read_buckets: Vec<String>,
}

pub enum Authentication {
    SigV4 { known: KnownClients },
    None,
}

pub enum KnownClients {
    /// The listed clients; never empty.
    List(Vec<Client>),
    /// No list: the proxy's own static backend credential is the only client.
    BackendCredential,
}

pub struct Client {
    pub name: String,
    pub access_key_id: String,
    pub secret_access_key: SecretText,
    pub session_token: SessionToken,
    /// Whether Signature Version 2 is accepted.
    pub signature_v2: Permission,
    /// The client's own rate limit; if absent, the limit for all clients applies.
    pub requests_per_second: Option<Bound>,
    /// Grants; never empty.
    pub grants: Vec<Grant>,
}

pub enum SessionToken {
    Absent,
    Required(SecretText),
}

/// Operations on objects in matching buckets under matching prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub operations: BTreeSet<Access>,
    pub buckets: Vec<Pattern>,
    pub prefixes: Vec<Pattern>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
    Delete,
    List,
    Admin,
}

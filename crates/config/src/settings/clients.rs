//! The settings of `[clients]`, of which the list of known clients exists only in the file.

use crate::declare::{Declaration, Flag, Names, Optional, Required, Setting, settings};
use crate::pattern::Pattern;
use crate::resolved::{Access, Permission};
use crate::value::{AccessKeyId, AuthenticationMode, BucketName, IssuedSecret, List, Whole};

settings! { CLIENTS:
    /// Whether requests must be signed (AWS Signature Version 4). With `none`, anyone who can reach
    /// the proxy can use its credential and its keys, so `none` has to be set explicitly.
    CLIENTS_AUTH: Setting<AuthenticationMode> = "clients.auth",
        Flag::Value { name: "auth", placeholder: "MODE" }, "sigv4";

    /// Buckets whose objects anyone may read without a signature.
    CLIENTS_ANONYMOUS_READ_BUCKETS: Setting<List<BucketName>> = "clients.anonymous_read_buckets", Flag::None, "";

    /// The client's name in the log.
    CLIENT_NAME: Optional<String> = "clients.known[].name", Flag::None, "the access key id";

    /// The access key ID that the client signs with.
    CLIENT_ACCESS_KEY_ID: Required<AccessKeyId> = "clients.known[].access_key_id", Flag::None;

    /// The secret access key that the client signs with.
    CLIENT_SECRET_ACCESS_KEY: Required<IssuedSecret> = "clients.known[].secret_access_key",
        Flag::None;

    /// The session token that the client's requests must carry.
    CLIENT_SESSION_TOKEN: Optional<IssuedSecret> = "clients.known[].session_token", Flag::None,
        "none: requests must not carry one";

    /// Whether the client may sign with AWS's older Signature Version 2, for programs without
    /// support for a newer one: in the header, in presigned URLs and in forms. It is weaker than
    /// Version 4: HMAC-SHA1 under the secret itself, and a signature covers neither the body nor
    /// the host. Every start warns about it.
    CLIENT_SIGNATURE_V2: Setting<Permission> = "clients.known[].signature_v2", Flag::None, "deny";

    /// Maximum number of requests per second for this client; 0 disables the limit.
    CLIENT_REQUESTS_PER_SECOND: Optional<Whole<0, 1_000_000>> =
        "clients.known[].requests_per_second", Flag::None,
        "limits.client_requests_per_second";

    /// The operations that the grant permits. `admin` covers access control, governance bypass and
    /// bucket configuration.
    GRANT_OPERATIONS: Setting<List<Access>> = "clients.known[].grants[].operations", Flag::None,
        "read, write, delete, list, admin";

    /// The buckets that the grant covers, as patterns.
    GRANT_BUCKETS: Setting<List<Pattern>> = "clients.known[].grants[].buckets", Flag::None, "*";

    /// The prefixes of object keys that the grant covers, as patterns.
    GRANT_PREFIXES: Setting<List<Pattern>> = "clients.known[].grants[].prefixes", Flag::None,
        "*";
}

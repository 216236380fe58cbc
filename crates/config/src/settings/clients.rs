//! The settings of `[clients]`, of which the list of known clients exists only in the file.

use crate::declare::{Declaration, Flag, Names, Optional, Required, Setting, settings};
use crate::pattern::Pattern;
use crate::resolved::{Access, Permission};
use crate::value::{AccessKeyId, AuthenticationMode, BucketName, IssuedSecret, List, Whole};

settings! { CLIENTS:
    /// Whether requests must be signed (AWS Signature Version 4). With `none`, anyone who reaches the
    /// proxy uses its credential and its keys; that has to be asked for by name.
    CLIENTS_AUTH: Setting<AuthenticationMode> = "clients.auth",
        Flag::Value { name: "auth", placeholder: "MODE" }, "sigv4";

    /// Buckets whose objects anyone may read without a signature.
    CLIENTS_ANONYMOUS_READ_BUCKETS: Setting<List<BucketName>> = "clients.anonymous_read_buckets", Flag::None, "";

    /// A name for the log.
    CLIENT_NAME: Optional<String> = "clients.known[].name", Flag::None, "the access key id";

    /// The access key id with which the client signs.
    CLIENT_ACCESS_KEY_ID: Required<AccessKeyId> = "clients.known[].access_key_id", Flag::None;

    /// The secret with which the client signs.
    CLIENT_SECRET_ACCESS_KEY: Required<IssuedSecret> = "clients.known[].secret_access_key",
        Flag::None;

    /// The session token that the client's requests must carry.
    CLIENT_SESSION_TOKEN: Optional<IssuedSecret> = "clients.known[].session_token", Flag::None,
        "none: requests must carry none";

    /// Whether the client may sign with AWS's older Signature Version 2, for programs that know no
    /// other: in the header, in presigned URLs and in forms. It is weaker than Version 4: HMAC-SHA1
    /// under the secret itself, and a signature covers neither the body nor the host. Every start
    /// warns of it.
    CLIENT_SIGNATURE_V2: Setting<Permission> = "clients.known[].signature_v2", Flag::None, "deny";

    /// Requests per second of this client; 0 sets no limit.
    CLIENT_REQUESTS_PER_SECOND: Optional<Whole<0, 1_000_000>> =
        "clients.known[].requests_per_second", Flag::None,
        "limits.client_requests_per_second";

    /// What the grant permits. `admin` covers access control, governance bypass and the
    /// configuration of buckets.
    GRANT_OPERATIONS: Setting<List<Access>> = "clients.known[].grants[].operations", Flag::None,
        "read, write, delete, list, admin";

    /// The buckets that the grant covers, as patterns.
    GRANT_BUCKETS: Setting<List<Pattern>> = "clients.known[].grants[].buckets", Flag::None, "*";

    /// The beginnings of object keys that the grant covers, as patterns.
    GRANT_PREFIXES: Setting<List<Pattern>> = "clients.known[].grants[].prefixes", Flag::None,
        "*";
}

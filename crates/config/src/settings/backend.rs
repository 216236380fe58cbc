//! The settings of `[backend]`.

use std::path::PathBuf;

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::resolved::{Addressing, Feature, Integrity};
use crate::value::{
    AccessKeyId, BackendAddress, IssuedSecret, List, RegionName, SubResourceChange, Switch,
    Timeout, Whole,
};

settings! { BACKEND:
    /// The address of the backend; HTTPS is the default. `aws` stands for the AWS S3 endpoint that
    /// the client's request names (DNS redirection). If nothing is set, `aws` applies, with a
    /// warning.
    BACKEND_HOST: Optional<BackendAddress> = "backend.host" | "S3PROXY_HOST" | "S3PROXY_BACKEND",
        Flag::Value { name: "backend", placeholder: "ADDRESS" },
        "`aws`, with a warning";

    /// Whether to use plain HTTP if `backend.host` begins with neither `http://` nor `https://`.
    /// Requests and stored objects can then be read and modified on the way to the backend; every
    /// start warns about it.
    BACKEND_INSECURE: Setting<Switch> = "backend.insecure" | "S3PROXY_INSECURE", Flag::None, "off";

    /// The region of the backend. It is part of the proxy's own signatures. Servers other than AWS
    /// may have any region; for AWS, an unknown region causes a warning.
    BACKEND_REGION: Setting<RegionName> = "backend.region" | "S3PROXY_REGION" | "AWS_REGION",
        Flag::Value { name: "region", placeholder: "REGION" }, "eu-west-1";

    /// Where requests to the backend name the bucket: in the path or in the host name.
    BACKEND_ADDRESSING: Setting<Addressing> = "backend.addressing", Flag::None, "path";

    /// CA certificates (PEM) to trust for the backend, instead of the system's.
    BACKEND_CA_FILE: Optional<PathBuf> = "backend.ca_file",
        Flag::None, "none: the system's CA certificates";

    /// The client certificate (PEM) that the proxy presents to the backend.
    BACKEND_CLIENT_CERTIFICATE: Optional<PathBuf> = "backend.client_certificate", Flag::None, "none";

    /// The private key (PEM) of the client certificate.
    BACKEND_CLIENT_KEY: Optional<PathBuf> = "backend.client_key", Flag::None, "none";

    /// The access key ID for the backend. Without one, the credential comes from AWS's default
    /// chain (`AWS_ACCESS_KEY_ID` and related variables, profiles, web identity, container and
    /// instance roles).
    BACKEND_ACCESS_KEY_ID: Optional<AccessKeyId> = "backend.access_key_id", Flag::None, "none: AWS's default chain";

    /// The secret access key that belongs to the access key ID.
    BACKEND_SECRET_ACCESS_KEY: Optional<IssuedSecret> = "backend.secret_access_key", Flag::None, "none: AWS's default chain";

    /// Timeout of connecting to the backend, including TLS.
    BACKEND_CONNECT_TIMEOUT: Setting<Timeout> = "backend.connect_timeout", Flag::None, "5s";

    /// How long the backend may take to begin its response. The default allows for servers that
    /// stay silent while they assemble or copy a large object.
    BACKEND_RESPONSE_TIMEOUT: Setting<Timeout> = "backend.response_timeout", Flag::None, "2m";

    /// How long a body may make no progress, in either direction.
    BACKEND_BODY_TIMEOUT: Setting<Timeout> = "backend.body_timeout", Flag::None, "60s";

    /// How long an unused connection is kept. The default is below the 5 s after which the most
    /// impatient common servers close one, so that no request is sent on a closing connection.
    BACKEND_CONNECTION_IDLE: Setting<Timeout> = "backend.connection_idle", Flag::None, "4s";

    /// Maximum age of a connection, so that DNS changes take effect.
    BACKEND_CONNECTION_MAX_AGE: Setting<Timeout> = "backend.connection_max_age", Flag::None, "5m";

    /// Maximum number of unused connections that are kept.
    BACKEND_MAX_IDLE_CONNECTIONS: Setting<Whole<0, 65536>> = "backend.max_idle_connections", Flag::None, "128";

    /// Maximum number of attempts for a request that can be retried, including the first; 1
    /// disables retries.
    BACKEND_RETRY_ATTEMPTS: Setting<Whole<1, 10>> = "backend.retry_attempts", Flag::None, "3";

    /// Delay before the first retry; it doubles with each retry and has a random part.
    BACKEND_RETRY_BASE_DELAY: Setting<Timeout> = "backend.retry_base_delay", Flag::None, "100ms";

    /// Maximum delay before a retry, even if the backend asks for more.
    BACKEND_RETRY_MAX_DELAY: Setting<Timeout> = "backend.retry_max_delay", Flag::None, "5s";

    /// Number of retries that all requests share; successful requests refill it. It keeps retries
    /// from overloading a backend in trouble.
    BACKEND_RETRY_BUDGET: Setting<Whole<0, 100_000>> = "backend.retry_budget", Flag::None, "100";

    /// How the proxy proves the integrity of a streamed body to the backend: by a trailing checksum
    /// (`trailer`), not at all (`unsigned`), or, with `auto`, by a checksum for AWS and for uploads
    /// under object lock, which S3 refuses without one. The checksum is a CRC-32 of the stored
    /// bytes, in the trailer of an `aws-chunked` body. Servers without support for it, such as Ceph
    /// 16, refuse it or store the object incorrectly; set `unsigned` there if objects are locked.
    /// The setting does not affect small bodies, which are hashed before they are sent, and parts
    /// of multipart uploads, which have no checksum.
    BACKEND_INTEGRITY: Setting<Integrity> = "backend.integrity", Flag::None, "auto";

    /// Operations that change a sub-resource (such as `PutBucketWebsite` or `RestoreObject`) and
    /// that the backend is known to support. A server without support for a sub-resource may take
    /// the request for another one. So all others are sent only to AWS, or after a read of the same
    /// sub-resource has shown that the backend supports it.
    BACKEND_OPERATIONS: Setting<List<SubResourceChange>> = "backend.operations", Flag::None, "";

    /// S3 features that the backend lacks. The proxy sends it no headers of these features: a
    /// header with S3's default value is dropped, and a request that needs the feature is refused
    /// with `NotImplemented` before anything is stored. If nothing is set, the known gaps of
    /// providers apply, by host name (docs/backends.md); an empty list in the file says that
    /// nothing is lacking.
    BACKEND_LACKS: Optional<List<Feature>> = "backend.lacks", Flag::None, "by the backend's host name";
}

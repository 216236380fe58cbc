//! The settings of `[backend]`.

use std::path::PathBuf;

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::resolved::{Addressing, Feature, Integrity};
use crate::value::{
    AccessKeyId, BackendAddress, IssuedSecret, List, RegionName, SubResourceChange, Switch,
    Timeout, Whole,
};

settings! { BACKEND:
    /// The address of the backend; HTTPS is the default. `aws` stands for the AWS S3 endpoint that the
    /// client named (DNS redirection); without a value it is the same, with a warning.
    BACKEND_HOST: Optional<BackendAddress> = "backend.host" | "S3PROXY_HOST" | "S3PROXY_BACKEND",
        Flag::Value { name: "backend", placeholder: "ADDRESS" },
        "`aws`, with a warning";

    /// Whether `backend.host` means plain HTTP where it says neither `http://` nor `https://`. Then
    /// requests and stored objects can be read, and changed, on the way to the backend; every start
    /// warns of it.
    BACKEND_INSECURE: Setting<Switch> = "backend.insecure" | "S3PROXY_INSECURE", Flag::None, "off";

    /// The region of the backend. It is part of the proxy's own signatures. A name that is none of AWS's
    /// is fine for other servers; towards AWS it is warned about.
    BACKEND_REGION: Setting<RegionName> = "backend.region" | "S3PROXY_REGION" | "AWS_REGION",
        Flag::Value { name: "region", placeholder: "REGION" }, "eu-west-1";

    /// Where the bucket stands in requests to the backend: in the path or in the host name.
    BACKEND_ADDRESSING: Setting<Addressing> = "backend.addressing", Flag::None, "path";

    /// Certificates (PEM) of the authorities that may have signed the backend's.
    BACKEND_CA_FILE: Optional<PathBuf> = "backend.ca_file",
        Flag::None, "none: the system's authorities";

    /// The certificate (PEM) that the proxy shows to the backend.
    BACKEND_CLIENT_CERTIFICATE: Optional<PathBuf> = "backend.client_certificate", Flag::None, "none";

    /// The private key (PEM) of that certificate.
    BACKEND_CLIENT_KEY: Optional<PathBuf> = "backend.client_key", Flag::None, "none";

    /// The access key id for the backend, where it is not left to AWS's default chain
    /// (`AWS_ACCESS_KEY_ID` and its neighbours, profiles, web identity, container and instance
    /// roles).
    BACKEND_ACCESS_KEY_ID: Optional<AccessKeyId> = "backend.access_key_id", Flag::None, "none: AWS's default chain";

    /// The secret of that access key id.
    BACKEND_SECRET_ACCESS_KEY: Optional<IssuedSecret> = "backend.secret_access_key", Flag::None, "none: AWS's default chain";

    /// How long connecting, TLS included, may take.
    BACKEND_CONNECT_TIMEOUT: Setting<Timeout> = "backend.connect_timeout", Flag::None, "5s";

    /// How long the backend may take to begin its answer. Long enough for servers that stay silent
    /// while they assemble or copy a large object.
    BACKEND_RESPONSE_TIMEOUT: Setting<Timeout> = "backend.response_timeout", Flag::None, "2m";

    /// How long a body may make no progress in either direction.
    BACKEND_BODY_TIMEOUT: Setting<Timeout> = "backend.body_timeout", Flag::None, "60s";

    /// How long an unused connection is kept. Below the 5 s after which the most impatient common
    /// servers close one, so that a request is not sent into a connection that is going away.
    BACKEND_CONNECTION_IDLE: Setting<Timeout> = "backend.connection_idle", Flag::None, "4s";

    /// How long a connection is used at all, so that changes in DNS take effect.
    BACKEND_CONNECTION_MAX_AGE: Setting<Timeout> = "backend.connection_max_age", Flag::None, "5m";

    /// Unused connections kept at the same time.
    BACKEND_MAX_IDLE_CONNECTIONS: Setting<Whole<0, 65536>> = "backend.max_idle_connections", Flag::None, "128";

    /// How often a request that can be repeated is sent, the first time included; 1 means never
    /// again.
    BACKEND_RETRY_ATTEMPTS: Setting<Whole<1, 10>> = "backend.retry_attempts", Flag::None, "3";

    /// The wait before the first repetition; it doubles with each, with a random part.
    BACKEND_RETRY_BASE_DELAY: Setting<Timeout> = "backend.retry_base_delay", Flag::None, "100ms";

    /// The longest wait before a repetition, also where the backend asks for more.
    BACKEND_RETRY_MAX_DELAY: Setting<Timeout> = "backend.retry_max_delay", Flag::None, "5s";

    /// Repetitions that all requests share; successful requests fill it up again. A backend in
    /// trouble is not made worse by repetitions of everything.
    BACKEND_RETRY_BUDGET: Setting<Whole<0, 100_000>> = "backend.retry_budget", Flag::None, "100";

    /// How the integrity of a streamed body is shown to the backend: with a checksum behind it
    /// (`trailer`), not at all (`unsigned`), or, with `auto`, by a checksum on AWS and for uploads
    /// under object lock, which S3 refuses without one. The checksum is a CRC-32 of the stored
    /// bytes, as a trailer of an `aws-chunked` body. Servers that do not know this form, such as
    /// Ceph 16, refuse it or store it wrongly; there it must be `unsigned` if objects
    /// are locked. Small bodies are hashed before they are sent, and parts of multipart uploads
    /// have no checksum, whatever is set here.
    BACKEND_INTEGRITY: Setting<Integrity> = "backend.integrity", Flag::None, "auto";

    /// Operations that change a sub-resource (such as `PutBucketWebsite` or `RestoreObject`) and that
    /// the backend is known to have. A server that does not know a sub-resource may take the
    /// request for another one, so that others are sent only to AWS, and where a read of the same
    /// sub-resource has shown that the backend knows it.
    BACKEND_OPERATIONS: Setting<List<SubResourceChange>> = "backend.operations", Flag::None, "";

    /// Features of S3 that the backend lacks. The proxy then sends it none of their headers: a value
    /// that is S3's default is dropped, and a request that needs the feature is refused with
    /// `NotImplemented`, before anything is stored. Without a value, the known gaps of providers count,
    /// by their host names (docs/backends.md); an empty list in the file says that nothing is lacking.
    BACKEND_LACKS: Optional<List<Feature>> = "backend.lacks", Flag::None, "by the backend's host name";
}

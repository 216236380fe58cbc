//! The settings of `[audit]` and `[traces]`.

use crate::config::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::config::resolved::{AuditFailure, AuditObjectKeys, AuditOutput};
use crate::config::value::{CollectorAddress, Share};

settings! { AUDIT:
    /// Where the audit log goes: nowhere (`off`), to standard output (`stdout`), or to a file, which
    /// is made if it is not there, with the mode 0600. A file that was moved away is noticed, and
    /// another one made.
    AUDIT_OUTPUT: Setting<AuditOutput> = "audit.output", ["S3PROXY_AUDIT"], Flag::None, "off";

    /// Whether the audit log names objects (`plain`), or buckets only (`off`).
    AUDIT_OBJECT_KEYS: Setting<AuditObjectKeys> = "audit.object_keys",
        ["S3PROXY_AUDIT_OBJECT_KEYS"], Flag::None, "plain";

    /// What becomes of requests when the audit log cannot be written, its queue is full, and waiting
    /// for a few seconds does not help: they are refused with `ServiceUnavailable` (`refuse`), or
    /// served and counted in `s3proxy_audit_lost_total` (`drop`).
    AUDIT_ON_FAILURE: Setting<AuditFailure> = "audit.on_failure", ["S3PROXY_AUDIT_ON_FAILURE"],
        Flag::None, "drop";
}

settings! { TRACES:
    /// The OpenTelemetry collector that traces are sent to, by OTLP over gRPC.
    TRACES_ENDPOINT: Optional<CollectorAddress> = "traces.endpoint",
        ["S3PROXY_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        Flag::None, "none: nothing is traced";

    /// The share of requests that are traced. Where a client's signature was verified and its
    /// request is part of a trace, the client has decided already.
    TRACES_SAMPLE_RATIO: Setting<Share> = "traces.sample_ratio", ["S3PROXY_TRACES_SAMPLE_RATIO"],
        Flag::None, "1";

    /// What traces call this program.
    TRACES_SERVICE_NAME: Setting<String> = "traces.service_name",
        ["S3PROXY_TRACES_SERVICE_NAME", "OTEL_SERVICE_NAME"], Flag::None, "s3proxy";
}

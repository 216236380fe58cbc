//! The settings of `[audit]` and `[traces]`.

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::resolved::{AuditFailure, AuditObjectKeys, AuditOutput};
use crate::value::{CollectorAddress, CollectorHeaders, CollectorTimeout, OtlpProtocol, Share};

settings! { AUDIT:
    /// The destination of the audit log: none (`off`), standard output (`stdout`), or a file, which
    /// is created with mode 0600 if it does not exist. After the file is moved away, a new one is
    /// created.
    AUDIT_OUTPUT: Setting<AuditOutput> = "audit.output", Flag::None, "off";

    /// Whether the audit log names objects (`plain`) or only buckets (`off`).
    AUDIT_OBJECT_KEYS: Setting<AuditObjectKeys> = "audit.object_keys", Flag::None, "plain";

    /// How requests are handled if the audit log cannot be written, its queue is full, and waiting
    /// for a few seconds does not help: they are refused with `ServiceUnavailable` (`refuse`), or
    /// served and counted in `s3proxy_audit_lost_total` (`drop`).
    AUDIT_ON_FAILURE: Setting<AuditFailure> = "audit.on_failure", Flag::None, "drop";
}

settings! { TRACES:
    /// The OpenTelemetry collector to send traces to. Over HTTP, `/v1/traces` is appended if the
    /// address has no path. Of OpenTelemetry's own variables, the one for traces is used unchanged,
    /// and `/v1/traces` is appended to the general one.
    TRACES_ENDPOINT: Optional<CollectorAddress> = "traces.endpoint" | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" | "OTEL_EXPORTER_OTLP_ENDPOINT",
        Flag::None, "none: tracing is off";

    /// The transport of OTLP: HTTP, usually on port 4318, or gRPC, usually on port 4317.
    TRACES_PROTOCOL: Setting<OtlpProtocol> = "traces.protocol" | "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" | "OTEL_EXPORTER_OTLP_PROTOCOL",
        Flag::None, "http/protobuf";

    /// Headers for the collector, such as a token.
    TRACES_HEADERS: Optional<CollectorHeaders> = "traces.headers" | "OTEL_EXPORTER_OTLP_TRACES_HEADERS" | "OTEL_EXPORTER_OTLP_HEADERS",
        Flag::None, "none";

    /// Timeout of sending one batch to the collector, including retries.
    TRACES_TIMEOUT: Setting<CollectorTimeout> = "traces.timeout" | "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" | "OTEL_EXPORTER_OTLP_TIMEOUT",
        Flag::None, "10s";

    /// The fraction of requests that are traced. If a client's signature was verified and its
    /// request is part of a trace, the client's own decision applies.
    TRACES_SAMPLE_RATIO: Setting<Share> = "traces.sample_ratio", Flag::None, "1";

    /// The name of this program in traces.
    TRACES_SERVICE_NAME: Setting<String> = "traces.service_name" | "OTEL_SERVICE_NAME", Flag::None, "s3proxy";
}

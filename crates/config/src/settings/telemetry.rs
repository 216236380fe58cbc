//! The settings of `[audit]` and `[traces]`.

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::resolved::{AuditFailure, AuditObjectKeys, AuditOutput};
use crate::value::{CollectorAddress, CollectorHeaders, CollectorTimeout, OtlpProtocol, Share};

settings! { AUDIT:
    /// Where the audit log goes: nowhere (`off`), to standard output (`stdout`), or to a file, which
    /// is made if it is not there, with the mode 0600. A file that was moved away is noticed, and
    /// another one made.
    AUDIT_OUTPUT: Setting<AuditOutput> = "audit.output", Flag::None, "off";

    /// Whether the audit log names objects (`plain`), or buckets only (`off`).
    AUDIT_OBJECT_KEYS: Setting<AuditObjectKeys> = "audit.object_keys", Flag::None, "plain";

    /// What becomes of requests when the audit log cannot be written, its queue is full, and waiting
    /// for a few seconds does not help: they are refused with `ServiceUnavailable` (`refuse`), or
    /// served and counted in `s3proxy_audit_lost_total` (`drop`).
    AUDIT_ON_FAILURE: Setting<AuditFailure> = "audit.on_failure", Flag::None, "drop";
}

settings! { TRACES:
    /// The OpenTelemetry collector that traces are sent to. Over HTTP, `/v1/traces` is appended where
    /// no path is given. Of OpenTelemetry's own variables, the one for traces is taken as it is, and
    /// `/v1/traces` is appended to the general one.
    TRACES_ENDPOINT: Optional<CollectorAddress> = "traces.endpoint" | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" | "OTEL_EXPORTER_OTLP_ENDPOINT",
        Flag::None, "none: nothing is traced";

    /// How OTLP is sent: over HTTP, port 4318 as a rule, or over gRPC, port 4317 as a rule.
    TRACES_PROTOCOL: Setting<OtlpProtocol> = "traces.protocol" | "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" | "OTEL_EXPORTER_OTLP_PROTOCOL",
        Flag::None, "http/protobuf";

    /// Headers for the collector, such as a token.
    TRACES_HEADERS: Optional<CollectorHeaders> = "traces.headers" | "OTEL_EXPORTER_OTLP_TRACES_HEADERS" | "OTEL_EXPORTER_OTLP_HEADERS",
        Flag::None, "none";

    /// How long the collector may take for one batch, repetitions included.
    TRACES_TIMEOUT: Setting<CollectorTimeout> = "traces.timeout" | "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" | "OTEL_EXPORTER_OTLP_TIMEOUT",
        Flag::None, "10s";

    /// The share of requests that are traced. Where a client's signature was verified and its
    /// request is part of a trace, the client has decided already.
    TRACES_SAMPLE_RATIO: Setting<Share> = "traces.sample_ratio", Flag::None, "1";

    /// What traces call this program.
    TRACES_SERVICE_NAME: Setting<String> = "traces.service_name" | "OTEL_SERVICE_NAME", Flag::None, "s3proxy";
}

//! Declarations of all metrics: name, type, labels, help and advice.
//!
//! Both Prometheus's help and `docs/metrics.md` come from here. Names and labels are part of the
//! program's interface: a released one is not changed, only joined by another. Invariant: no label
//! has values that a request chooses, such as buckets, keys, addresses and access key ids.

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A count that only grows, from 0 at the program's start.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Durations in seconds, counted in fixed buckets.
    Histogram,
}

/// A metric.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    /// Help text, one sentence.
    pub(crate) help: &'static str,
    /// Advice on alerts, for people; may be empty.
    pub(crate) watch: &'static str,
}

macro_rules! declare {
    ($($constant:ident: $kind:ident $name:literal, [$($label:literal),*], $help:literal, $watch:literal;)+) => {
        $(pub(crate) const $constant: &Metric = &Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
            watch: $watch,
        };)+

        /// All metrics, in the order of the documentation.
        pub(crate) const ALL: &[&Metric] = &[$($constant),+];
    };
}

declare! {
    REQUESTS: Counter "s3proxy_requests_total", ["operation", "status", "client"],
        "S3 requests that ended, by operation, status of the answer and client.",
        "Alert on the share of `5..` and `aborted`. `aborted` is an answer that broke off behind its \
         status line because the stored data or the backend failed; `client_left` is the client's own \
         doing.";
    REQUEST_SECONDS: Histogram "s3proxy_request_seconds", ["operation"],
        "Seconds from a request's head to the last byte of its answer.",
        "Includes the time that the client takes to send and to receive bodies.";
    RECEIVED_BYTES: Counter "s3proxy_received_bytes_total", ["operation"],
        "Bytes of request bodies as clients sent them.", "";
    SENT_BYTES: Counter "s3proxy_sent_bytes_total", ["operation"],
        "Bytes of response bodies handed to clients.", "";
    REQUESTS_IN_FLIGHT: Gauge "s3proxy_requests_in_flight", [],
        "S3 requests that have begun and not ended.",
        "A load to scale by. Counted until the last byte of the answer.";
    REQUESTS_UNDER_KEY: Gauge "s3proxy_requests_under_key", ["key"],
        "Requests that have begun and not ended and may seal something under the key.",
        "After a reload with another key: 0 under the old one, and its line in the log, before `rewrap --check` counts.";
    ACTIVE_KEY: Gauge "s3proxy_active_key_info", ["key"],
        "1 for the key that new objects are sealed under where no rule says otherwise, 0 for earlier ones.",
        "Alert where replicas name different keys for longer than a rollout takes.";
    CONNECTIONS: Gauge "s3proxy_connections", [],
        "Connections of clients that are open.",
        "Compare with `listen.max_connections`.";
    EVICTED: Counter "s3proxy_connections_evicted_total", ["reason"],
        "Connections that were closed because others needed their place or memory.",
        "Grows while somebody holds many connections that are idle or never authenticated.";
    SEAL_FAILURES: Counter "s3proxy_seal_failures_total", ["kind"],
        "Writes for which no key could be had.",
        "Alert on any increase: clients cannot write. `s3proxy_key_service_calls_total` says why.";
    OPEN_FAILURES: Counter "s3proxy_open_failures_total", ["kind"],
        "Stored objects, envelopes or upload states that could not be opened.",
        "Alert on any increase of `tampered`, `truncated`, `malformed` and `wrong_key`: what is stored \
         is not what was sealed, or was moved. What was cut shows as `truncated` where no object has its \
         length, else as `tampered`. `unknown_key` is a key that is missing here, `other_place` a key or \
         binding that does not open where the object stands, `zero_key` an object of an older proxy that `keys.decryption_fallback` refuses.";
    PLAINTEXT_READS: Counter "s3proxy_plaintext_reads_total", [],
        "Reads of objects that are stored unsealed.",
        "Once everything is migrated, alert on any increase, and set `policy.plaintext_reads = \"deny\"`.";
    LEGACY_READS: Counter "s3proxy_legacy_reads_total", ["format"],
        "Reads of objects in an older proxy's format.",
        "0 for some weeks: `policy.legacy_reads = \"deny\"` may be due.";
    KEY_SERVICE_CALLS: Counter "s3proxy_key_service_calls_total", ["service", "call", "result"],
        "Calls to key services, by kind of service, call and result.",
        "Alert on results other than `ok`. `cut_off` is a call that had no answer in time, or whose \
         request went away.";
    KEY_SERVICE_SECONDS: Histogram "s3proxy_key_service_seconds", ["service", "call"],
        "Seconds that calls to key services took.", "";
    KEY_SERVICE_BREAKERS: Gauge "s3proxy_key_service_breakers_open", ["service"],
        "Keys at key services that are left alone, since the service failed again and again.",
        "Alert where it stays above 0: requests that need such a key, and do not find it remembered, \
         get 503 at once.";
    KEY_SERVICE_WITHHELD: Counter "s3proxy_key_service_calls_withheld_total", ["service"],
        "Calls to key services that were not made, since the breaker was open.", "";
    KEY_CACHE_HITS: Counter "s3proxy_key_cache_hits_total", [],
        "Times that a key of a key service was needed and was at hand.", "";
    KEY_CACHE_MISSES: Counter "s3proxy_key_cache_misses_total", [],
        "Times that a key of a key service was needed and the service was asked.",
        "Local keys count in neither.";
    BACKEND_REQUESTS: Counter "s3proxy_backend_requests_total", ["operation", "status"],
        "Requests sent to the backend, each attempt by itself, by operation and status.",
        "Alert on the share of `5..`, `unreachable`, `timeout` and `broken`. `cut_off` is one whose \
         client went away first.";
    BACKEND_SECONDS: Histogram "s3proxy_backend_seconds", ["operation"],
        "Seconds from sending a request to the backend to the head of its answer.",
        "For writes this includes the time in which the client sends the body.";
    BACKEND_RETRIES: Counter "s3proxy_backend_retries_total", ["reason"],
        "Further attempts of requests to the backend.",
        "`slow_down` and `server_error` are answers of the backend; `resumed` is a read that broke and \
         went on where it broke.";
    PANICS: Counter "s3proxy_panics_total", [],
        "Panics of the program, each a defect of it.",
        "Alert on any increase, and report it with the log's line, which names the place. The request \
         gets a 500 or breaks off. Where nothing is served any more, `/healthz` fails.";
    CERTIFICATE_EXPIRY: Gauge "s3proxy_certificate_expiry_timestamp_seconds", [],
        "When the served certificate ends, in seconds since 1970.",
        "Alert when less than 14 days are left. Absent with plain HTTP.";
    BUILD_INFO: Gauge "s3proxy_build_info", ["version", "commit"],
        "1, with the version of the program and its commit.", "";
    CONFIG_RELOADS: Counter "s3proxy_config_reloads_total", ["result"],
        "Reloads of the configuration, by result.", "";
    CONFIG_LAST_SUCCESS: Gauge "s3proxy_config_last_reload_success_timestamp_seconds", [],
        "When the configuration in use was loaded, in seconds since 1970.", "";
    CONFIG_SUCCESSFUL: Gauge "s3proxy_config_last_reload_successful", [],
        "1 if the last reload of the configuration succeeded, else 0.",
        "Alert on 0: the log says what is wrong, and the older configuration stays in use.";
    THROTTLED: Counter "s3proxy_throttled_total", ["limit"],
        "Requests that were told to slow down, by the limit that they met.",
        "Alert where it stays above 0: clients wait, or replicas are missing.";
    AUDIT_LOST: Counter "s3proxy_audit_lost_total", [],
        "Requests, and parts of batches, that were served without a line in the audit log.",
        "Alert on any increase: the audit log cannot be written. Stays 0 with \
         `audit.on_failure = \"refuse\"`.";
    BODY_MEMORY: Gauge "s3proxy_body_memory_bytes", [],
        "Bytes of the body budget that are in use.",
        "Alert when it stays near the limit: further bodies wait.";
    BODY_MEMORY_LIMIT: Gauge "s3proxy_body_memory_limit_bytes", [],
        "Bytes of the body budget (`limits.body_memory`).", "";
}

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
        "S3 requests that ended, by operation, status and client.",
        "Alert on the share of `5..` and `aborted`. `aborted`: the response broke off after its status \
         line, because stored data or the backend failed. `client_left`: the client disconnected.";
    REQUEST_SECONDS: Histogram "s3proxy_request_seconds", ["operation"],
        "Seconds from the head of a request to the last byte of its response.",
        "Includes the time that the client takes to send and receive bodies.";
    RECEIVED_BYTES: Counter "s3proxy_received_bytes_total", ["operation"],
        "Bytes of request bodies, as received from clients.", "";
    SENT_BYTES: Counter "s3proxy_sent_bytes_total", ["operation"],
        "Bytes of response bodies sent to clients.", "";
    REQUESTS_IN_FLIGHT: Gauge "s3proxy_requests_in_flight", [],
        "S3 requests in flight.",
        "Suitable for autoscaling. A request counts until the last byte of its response.";
    REQUESTS_UNDER_KEY: Gauge "s3proxy_requests_under_key", ["key"],
        "Requests in flight that may encrypt something under the key.",
        "After a change of the key, wait until the old one is at 0, and its line is in the log, before you rely \
         on `rewrap --check`.";
    ACTIVE_KEY: Gauge "s3proxy_active_key_info", ["key"],
        "1 for the key that encrypts new objects unless a rule names another, 0 for earlier ones.",
        "Alert if replicas report different keys for longer than a rollout takes.";
    CONNECTIONS: Gauge "s3proxy_connections", [],
        "Open client connections.",
        "Compare with `listen.max_connections`.";
    EVICTED: Counter "s3proxy_connections_evicted_total", ["reason"],
        "Connections closed to make room for others.",
        "Grows while somebody holds many connections that are idle or never authenticated.";
    SEAL_FAILURES: Counter "s3proxy_seal_failures_total", ["kind"],
        "Writes that failed because no key was available.",
        "Alert on any increase: clients cannot write. `s3proxy_key_service_calls_total` shows the cause.";
    OPEN_FAILURES: Counter "s3proxy_open_failures_total", ["kind"],
        "Stored objects, envelopes or upload states that could not be decrypted.",
        "Alert on any increase of `tampered`, `truncated`, `malformed` and `wrong_key`: stored data was \
         altered or moved. Shortened data counts as `truncated` if no object has that length, otherwise as \
         `tampered`. `unknown_key`: the key is not configured. `other_place`: the key or binding does not \
         open under this bucket and key. `zero_key`: an older proxy's object that \
         `keys.decryption_fallback` refuses.";
    PLAINTEXT_READS: Counter "s3proxy_plaintext_reads_total", [],
        "Reads of unencrypted objects.",
        "Once everything is migrated, alert on any increase, and set `policy.plaintext_reads = \"deny\"`.";
    LEGACY_READS: Counter "s3proxy_legacy_reads_total", ["format"],
        "Reads of objects in an older proxy's format.",
        "If it stays at 0 for some weeks, consider `policy.legacy_reads = \"deny\"`.";
    KEY_SERVICE_CALLS: Counter "s3proxy_key_service_calls_total", ["service", "call", "result"],
        "Calls to key services, by kind of service, call and result.",
        "Alert on results other than `ok`. `cut_off`: the call timed out, or its request was cancelled.";
    KEY_SERVICE_SECONDS: Histogram "s3proxy_key_service_seconds", ["service", "call"],
        "Duration of calls to key services, in seconds.", "";
    KEY_SERVICE_BREAKERS: Gauge "s3proxy_key_service_breakers_open", ["service"],
        "Open circuit breakers, one per key of a key service that keeps failing.",
        "Alert if it stays above 0: requests that need such a key, and do not find it in the cache, \
         get 503 at once.";
    KEY_SERVICE_WITHHELD: Counter "s3proxy_key_service_calls_withheld_total", ["service"],
        "Calls to key services that were not made because the breaker was open.", "";
    KEY_CACHE_HITS: Counter "s3proxy_key_cache_hits_total", [],
        "KEK cache hits.", "Keys of key services only.";
    KEY_CACHE_MISSES: Counter "s3proxy_key_cache_misses_total", [],
        "KEK cache misses, each of which calls the key service.",
        "Keys of key services only.";
    BACKEND_REQUESTS: Counter "s3proxy_backend_requests_total", ["operation", "status"],
        "Requests sent to the backend, by operation and status. Each attempt counts.",
        "Alert on the share of `5..`, `unreachable`, `timeout` and `broken`. `cut_off`: the client \
         disconnected first.";
    BACKEND_SECONDS: Histogram "s3proxy_backend_seconds", ["operation"],
        "Seconds from sending a request to the backend to the head of its response.",
        "For writes this includes the time in which the client sends the body.";
    BACKEND_RETRIES: Counter "s3proxy_backend_retries_total", ["reason"],
        "Retries of requests to the backend.",
        "`slow_down` and `server_error` are responses of the backend; `resumed` is a broken read that \
         continued at the same offset.";
    PANICS: Counter "s3proxy_panics_total", [],
        "Panics of the program; each is a bug.",
        "Alert on any increase, and report it with the log line, which names the location. The request \
         gets a 500 or breaks off. If no request succeeds any more, `/healthz` fails.";
    CERTIFICATE_EXPIRY: Gauge "s3proxy_certificate_expiry_timestamp_seconds", [],
        "Expiry of the served certificate, in seconds since 1970.",
        "Alert when less than 14 days are left. Absent with plain HTTP.";
    BUILD_INFO: Gauge "s3proxy_build_info", ["version", "commit"],
        "1, with the version of the program and its commit.", "";
    CONFIG_RELOADS: Counter "s3proxy_config_reloads_total", ["result"],
        "Reloads of the configuration, by result.", "";
    CONFIG_LAST_SUCCESS: Gauge "s3proxy_config_last_reload_success_timestamp_seconds", [],
        "Time at which the current configuration was loaded, in seconds since 1970.", "";
    CONFIG_SUCCESSFUL: Gauge "s3proxy_config_last_reload_successful", [],
        "1 if the last reload of the configuration succeeded, otherwise 0.",
        "Alert on 0: the log has the reason, and the previous configuration stays in use.";
    THROTTLED: Counter "s3proxy_throttled_total", ["limit"],
        "Throttled requests (`SlowDown`), by limit.",
        "Alert if it keeps growing: clients have to wait, or there are too few replicas.";
    AUDIT_LOST: Counter "s3proxy_audit_lost_total", [],
        "Requests, and parts of batches, that were served without an audit line.",
        "Alert on any increase: the audit log cannot be written. Stays 0 with \
         `audit.on_failure = \"refuse\"`.";
    BODY_MEMORY: Gauge "s3proxy_body_memory_bytes", [],
        "Body memory in use, in bytes.",
        "Alert if it stays near the limit: further bodies wait.";
    BODY_MEMORY_LIMIT: Gauge "s3proxy_body_memory_limit_bytes", [],
        "Limit of the body memory, in bytes (`limits.body_memory`).", "";
}

//! Former names of settings and environment variables. They are still read, with a warning.

/// Former paths of settings, with today's.
pub(crate) const PATHS: &[(&str, &str)] = &[
    ("policy.bind", "policy.key_binding"),
    ("rules[].bind", "rules[].key_binding"),
    ("rules[].opens_bind", "rules[].opens_key_binding"),
];

/// Former environment variables, with the path of the setting. Today every variable follows from the
/// path of its setting, except for those of the older proxies.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("S3PROXY_AUTH", "clients.auth"),
    (
        "S3PROXY_ANONYMOUS_READ_BUCKETS",
        "clients.anonymous_read_buckets",
    ),
    ("S3PROXY_DECRYPT_KEYS", "keys.decrypt_keys"),
    ("S3PROXY_SHORT_PASSPHRASE", "keys.short_passphrase"),
    ("S3PROXY_ACTIVE_KEY", "keys.active"),
    ("S3PROXY_KMS_CA", "keys.kms_ca"),
    ("S3PROXY_KEY_SERVICE_TIMEOUT", "keys.service_timeout"),
    ("S3PROXY_KEK_OBJECTS", "keys.kek_objects"),
    ("S3PROXY_KEK_TIME", "keys.kek_time"),
    ("S3PROXY_KEY_CACHE_TIME", "keys.cache_time"),
    ("S3PROXY_KEY_CACHE_KEKS", "keys.cache_keks"),
    ("S3PROXY_PORT", "listen.port"),
    ("S3PROXY_ADMIN", "listen.admin"),
    ("S3PROXY_TLS", "listen.tls"),
    (
        "S3PROXY_VIRTUAL_HOST_DOMAINS",
        "listen.virtual_host_domains",
    ),
    ("S3PROXY_TRUSTED_PROXIES", "listen.trusted_proxies"),
    ("S3PROXY_THROTTLE_WAIT", "limits.throttle_wait"),
    ("S3PROXY_BODY_MEMORY", "limits.body_memory"),
    ("S3PROXY_HELD_BODY", "limits.held_body"),
    ("S3PROXY_BIND", "policy.key_binding"),
    ("S3PROXY_PLAINTEXT_READS", "policy.plaintext_reads"),
    ("S3PROXY_LEGACY_READS", "policy.legacy_reads"),
    ("S3PROXY_LISTING", "policy.listing"),
    ("S3PROXY_LOOKUP_CONCURRENCY", "policy.lookup_concurrency"),
    ("S3PROXY_MULTIPART", "policy.multipart"),
    ("S3PROXY_PART_SIZES", "policy.part_sizes"),
    ("S3PROXY_METADATA", "policy.metadata"),
    ("S3PROXY_ANNOUNCE_ENCRYPTION", "policy.announce_encryption"),
    ("S3PROXY_STATE_PREFIX", "policy.state_prefix"),
    ("S3PROXY_STATE_BUCKET", "policy.state_bucket"),
    ("S3PROXY_SWEEP_INTERVAL", "policy.sweep_interval"),
    ("S3PROXY_AUDIT", "audit.output"),
];

/// Today's path of a setting under its former one.
pub(crate) fn path(former: &str) -> Option<&'static str> {
    let mut paths = PATHS.iter();
    paths
        .find(|(name, _)| *name == former)
        .map(|(_, path)| *path)
}

/// Former environment variables of the setting at `path`.
pub(crate) fn variables(path: &str) -> impl Iterator<Item = &'static str> {
    let of_setting = VARIABLES.iter().filter(move |(_, today)| *today == path);
    of_setting.map(|(name, _)| *name)
}

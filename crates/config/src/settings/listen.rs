//! The settings of `[listen]`, `[limits]`, `[log]` and `[reload]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::resolved::LogFormat;
use crate::value::{ByteCount, Cidr, Domain, Level, List, Period, Switch, Timeout, Whole};

settings! { LISTEN:
    /// The address to listen on.
    LISTEN_IP: Setting<IpAddr> = "listen.ip" | "S3PROXY_IP",
        Flag::Value { name: "ip", placeholder: "ADDRESS" }, "0.0.0.0";

    /// The port to listen on; 0 picks any free port. An environment variable of the form `tcp://…`,
    /// which Kubernetes sets for a Service named s3proxy, is ignored.
    LISTEN_PORT: Setting<Whole<0, 65535>> = "listen.port",
        Flag::Value { name: "port", placeholder: "PORT" }, "4433";

    /// The address of a second listener, for metrics and health checks. It serves `/metrics`
    /// (Prometheus), `/keys`, `/healthz` and `/readyz` over plain HTTP and without authentication,
    /// so bind it to a private address.
    LISTEN_ADMIN: Optional<SocketAddr> = "listen.admin",
        Flag::Value { name: "admin", placeholder: "ADDRESS:PORT" },
        "none: no metrics, and probes are answered on the S3 port";

    /// Whether to serve HTTPS, with the certificate in the certificate folder, or plain HTTP.
    LISTEN_TLS: Setting<Switch> = "listen.tls",
        Flag::Switch { name: "no-tls", yes: "off", no: "on", help: "Serve plain HTTP instead of HTTPS" }, "on";

    /// The folder that contains the certificate. The files are `s3proxy.crt` (certificate and
    /// chain, PEM) and `s3proxy.key` (private key, PEM), or `tls.crt` and `tls.key`, as in a
    /// Kubernetes secret.
    LISTEN_CERTIFICATES: Setting<PathBuf> = "listen.certificates" | "S3PROXY_CERT",
        Flag::Value { name: "cert", placeholder: "DIR" }, "/etc/s3proxy/certs";

    /// The host names to answer; if empty, all names. IP addresses, `localhost` and names under a
    /// virtual-host domain are always answered. Signatures cover the host, so a list only matters
    /// with `clients.auth = "none"`, where it prevents DNS rebinding: access by web pages of other
    /// sites whose DNS name resolves to the proxy.
    LISTEN_HOSTS: Setting<List<Domain>> = "listen.hosts", Flag::None, "";

    /// Domains whose subdomains are buckets: with `s3.example.com`, a request to
    /// `photos.s3.example.com` addresses the bucket `photos`. The backend's own host name and AWS's
    /// regional S3 names are included automatically. For any other host name the bucket is in the
    /// path.
    LISTEN_VIRTUAL_HOST_DOMAINS: Setting<List<Domain>> = "listen.virtual_host_domains", Flag::None, "";

    /// Load balancers whose `X-Forwarded-*` headers and PROXY protocol are trusted.
    LISTEN_TRUSTED_PROXIES: Setting<List<Cidr>> = "listen.trusted_proxies", Flag::None, "";

    /// Maximum number of open connections. Above it, a new connection evicts one that never carried
    /// a signed request, or else an idle one. If there is none, health checks on the new connection
    /// are answered, and all other requests get `SlowDown`.
    LISTEN_MAX_CONNECTIONS: Setting<Whole<1, 1_000_000>> = "listen.max_connections", Flag::None, "4096";

    /// Maximum size of the request line and headers together.
    LISTEN_MAX_HEADER_BYTES: Setting<ByteCount<8192, 1_048_576>> = "listen.max_header_bytes", Flag::None, "16 KiB";

    /// How long a connection is kept open between two requests. The default is longer than the 60 s
    /// of common load balancers, so that they close the connection first and never send a request
    /// on a closed one.
    LISTEN_IDLE_TIMEOUT: Setting<Timeout> = "listen.idle_timeout", Flag::None, "75s";

    /// Timeout of a TLS handshake, and of the headers of a request.
    LISTEN_HEADER_TIMEOUT: Setting<Timeout> = "listen.header_timeout", Flag::None, "15s";

    /// How long a body may make no progress, in either direction. A slow body that keeps moving is
    /// cut off only below `listen.min_body_rate`.
    LISTEN_BODY_TIMEOUT: Setting<Timeout> = "listen.body_timeout", Flag::None, "60s";

    /// Minimum rate of a body, per second, averaged over 3 s of an upload or 20 s of a download, or
    /// over `listen.body_timeout` if that is shorter. A slower client is cut off if others wait for
    /// memory (`limits.body_memory`) or for a connection (`listen.max_connections`), and otherwise
    /// left alone; time spent waiting for the backend does not count. 0 B disables the limit.
    LISTEN_MIN_BODY_RATE: Setting<ByteCount<0, 1_073_741_824>> = "listen.min_body_rate", Flag::None, "8 KiB";

    /// How long requests are still accepted after the signal to stop, so that load balancers can
    /// take the replica out of rotation. Then connections that have been idle for that long are
    /// closed.
    LISTEN_DRAIN_DELAY: Setting<Period> = "listen.drain_delay", Flag::None, "5s";

    /// How long requests in flight may take to finish after the drain delay. Together, the defaults
    /// stay below the 30 s after which Kubernetes kills a pod.
    LISTEN_DRAIN_TIMEOUT: Setting<Timeout> = "listen.drain_timeout", Flag::None, "20s";
}

settings! { LIMITS:
    /// Maximum number of requests per second for one replica; 0 disables the limit. Health checks
    /// do not count. Requests with a refused signature count only while nobody else waits for a
    /// turn.
    LIMITS_REQUESTS_PER_SECOND: Setting<Whole<0, 1_000_000>> = "limits.requests_per_second" | "S3PROXY_THROTTLING_REQUESTSMAX", Flag::None, "0";

    /// Maximum number of requests per second for each client without a limit of its own; 0 disables
    /// the limit. Unlisted clients are distinguished by address, IPv6 by its first 64 bits.
    LIMITS_CLIENT_REQUESTS_PER_SECOND: Setting<Whole<0, 1_000_000>> =
        "limits.client_requests_per_second",
        Flag::None, "0";

    /// Maximum number of unsigned requests per second for each address, if clients have to sign:
    /// CORS preflights and anonymous reads. 0 disables the limit. Refused requests of web pages
    /// count as preflights if the proxy has to ask the backend for the bucket's CORS rules; above
    /// the limit their responses have no CORS headers.
    LIMITS_ANONYMOUS_REQUESTS_PER_SECOND: Setting<Whole<0, 1_000_000>> =
        "limits.anonymous_requests_per_second", Flag::None, "100";

    /// Maximum number of requests that one replica serves at a time, each until the last byte of
    /// its response; 0 disables the limit. Health checks do not count. If requests wait, the next
    /// slot goes to the client, or to the network of unlisted clients, that holds the fewest. None
    /// holds more than seven eighths of the slots.
    LIMITS_REQUESTS_IN_FLIGHT: Setting<Whole<0, 1_000_000>> = "limits.requests_in_flight", Flag::None, "512";

    /// Maximum number of requests in flight for each client; 0 disables the limit.
    LIMITS_CLIENT_REQUESTS_IN_FLIGHT: Setting<Whole<0, 1_000_000>> =
        "limits.client_requests_in_flight",
        Flag::None, "0";

    /// How long a request above these limits waits for its turn before it gets `SlowDown`. A
    /// request that cannot get its turn within that time is refused at once.
    LIMITS_THROTTLE_WAIT: Setting<Period> = "limits.throttle_wait", Flag::None, "10s";

    /// Memory budget for the buffers of all bodies together, allocated as bodies arrive. When it is
    /// used up, bodies wait for up to 10 s and then get `SlowDown`. One client may hold at most
    /// seven times the memory that it leaves free, and all unsigned requests together three times.
    LIMITS_BODY_MEMORY: Setting<ByteCount<4_194_304, 68_719_476_736>> = "limits.body_memory", Flag::None, "48 MiB";

    /// Maximum size of an object uploaded in one request, by PutObject or a form; 0 disables the
    /// limit. A larger object is refused with 413 `EntityTooLarge` before its body is read, or, in
    /// a small form, as soon as the file has been read. Parts of multipart uploads and copies are
    /// not limited.
    LIMITS_PUT_BODY: Setting<ByteCount<0, 5_497_558_138_880>> = "limits.put_body" | "S3PROXY_PUTBODY_MAX", Flag::None, "0";

    /// Bodies up to this size are buffered whole, so that a trailing checksum can be stored and a
    /// failed request to the backend can be retried.
    LIMITS_HELD_BODY: Setting<ByteCount<0, 16_777_216>> = "limits.held_body", Flag::None, "1 MiB";
}

settings! { LOG:
    /// The log level. Less severe messages are not logged.
    LOG_LEVEL: Setting<Level> = "log.level",
        Flag::Value { name: "level", placeholder: "LEVEL" }, "info";

    /// The log format. Text is for people, JSON for machines; `auto` is text on a terminal and JSON
    /// elsewhere.
    LOG_FORMAT: Setting<LogFormat> = "log.format",
        Flag::Value { name: "log-format", placeholder: "FORMAT" }, "auto";
}

settings! { RELOAD:
    /// Whether a running proxy reloads its configuration when a file changes: the configuration
    /// file, a file of a secret, or CA certificates. SIGHUP always triggers a reload, and the
    /// proxy's own certificate always follows its files.
    RELOAD_WATCH: Setting<Switch> = "reload.watch", Flag::None, "on";
}

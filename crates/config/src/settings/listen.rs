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

    /// The port to listen on; 0 takes any free one. As an environment variable, the `tcp://…` that
    /// Kubernetes sets for a Service called s3proxy is ignored.
    LISTEN_PORT: Setting<Whole<0, 65535>> = "listen.port",
        Flag::Value { name: "port", placeholder: "PORT" }, "4433";

    /// The address of a second listener, for metrics and health checks. It answers `/metrics` for
    /// Prometheus, `/healthz` and `/readyz`, in plain HTTP and without authentication, so it belongs
    /// on a private address.
    LISTEN_ADMIN: Optional<SocketAddr> = "listen.admin",
        Flag::Value { name: "admin", placeholder: "ADDRESS:PORT" },
        "none: no metrics; the probes are answered where S3 is";

    /// HTTPS, with the certificate in the certificate folder, or plain HTTP.
    LISTEN_TLS: Setting<Switch> = "listen.tls",
        Flag::Switch { name: "no-tls", yes: "off", no: "on", help: "Plain HTTP instead of HTTPS" }, "on";

    /// The folder with the certificate. It holds `s3proxy.crt` (the certificate and its chain, PEM) and
    /// `s3proxy.key` (its private key, PEM), or `tls.crt` and `tls.key`, as in a Kubernetes secret.
    LISTEN_CERTIFICATES: Setting<PathBuf> = "listen.certificates" | "S3PROXY_CERT",
        Flag::Value { name: "cert", placeholder: "DIR" }, "/etc/s3proxy/certs";

    /// The only host names that are answered to; empty: every name. Addresses, `localhost` and names
    /// under a virtual-host domain always are. Signatures cover the host, so a list only matters with
    /// `clients.auth = "none"`, where it keeps out pages of other sites whose DNS name resolves to the
    /// proxy (DNS rebinding).
    LISTEN_HOSTS: Setting<List<Domain>> = "listen.hosts", Flag::None, "";

    /// Domains under which a name is a bucket: with `s3.example.com`, a request to
    /// `photos.s3.example.com` is about the bucket `photos`. The backend's own host name and AWS's
    /// regional S3 names are such domains without being listed. Under every other name the bucket
    /// stands in the path.
    LISTEN_VIRTUAL_HOST_DOMAINS: Setting<List<Domain>> = "listen.virtual_host_domains", Flag::None, "";

    /// Load balancers whose `X-Forwarded-*` headers and PROXY protocol are believed.
    LISTEN_TRUSTED_PROXIES: Setting<List<Cidr>> = "listen.trusted_proxies", Flag::None, "";

    /// Connections held at the same time. For further ones, connections that never carried a signed
    /// request give way, and then idle ones. Where there are none, health checks are answered and
    /// everything else gets `SlowDown`.
    LISTEN_MAX_CONNECTIONS: Setting<Whole<1, 1_000_000>> = "listen.max_connections", Flag::None, "4096";

    /// The longest request line and headers together.
    LISTEN_MAX_HEADER_BYTES: Setting<ByteCount<8192, 1_048_576>> = "listen.max_header_bytes", Flag::None, "16 KiB";

    /// How long a connection is kept between two requests. Longer than the 60 s of common load
    /// balancers, so that they are the ones to close it and never send into a closed one.
    LISTEN_IDLE_TIMEOUT: Setting<Timeout> = "listen.idle_timeout", Flag::None, "75s";

    /// How long a TLS handshake, and the headers of a request, may take.
    LISTEN_HEADER_TIMEOUT: Setting<Timeout> = "listen.header_timeout", Flag::None, "15s";

    /// How long a body may make no progress in either direction. A slow body that keeps moving is
    /// cut off only below `listen.min_body_rate`.
    LISTEN_BODY_TIMEOUT: Setting<Timeout> = "listen.body_timeout", Flag::None, "60s";

    /// The least rate of a body, per second, on average over 3 s of an upload and 20 s of a download,
    /// or over `listen.body_timeout` where that is shorter. A client that is slower is cut off when others wait for memory (`limits.body_memory`) or for a connection
    /// (`listen.max_connections`), and otherwise let be; time that the backend takes does not count.
    /// 0 B cuts nobody off.
    LISTEN_MIN_BODY_RATE: Setting<ByteCount<0, 1_073_741_824>> = "listen.min_body_rate", Flag::None, "8 KiB";

    /// How long requests are still accepted after the signal to stop, so that load balancers can
    /// take the replica out. Connections that were idle for as long are closed then.
    LISTEN_DRAIN_DELAY: Setting<Period> = "listen.drain_delay", Flag::None, "5s";

    /// How long running requests may take to end after that. With the delay, it stays below the
    /// 30 s after which Kubernetes kills a pod.
    LISTEN_DRAIN_TIMEOUT: Setting<Timeout> = "listen.drain_timeout", Flag::None, "20s";
}

settings! { LIMITS:
    /// Requests per second that one replica takes; 0 sets no limit. Health checks do not count.
    /// Requests whose signature is refused count only where nobody else waits for a turn.
    LIMITS_REQUESTS_PER_SECOND: Setting<Whole<0, 1_000_000>> = "limits.requests_per_second" | "S3PROXY_THROTTLING_REQUESTSMAX", Flag::None, "0";

    /// The same for each client, unless it has a limit of its own. Who is not listed is told apart
    /// by address, IPv6 by its first 64 bits.
    LIMITS_CLIENT_REQUESTS_PER_SECOND: Setting<Whole<0, 1_000_000>> =
        "limits.client_requests_per_second",
        Flag::None, "0";

    /// The same for each address that sends unsigned requests where others have to sign: CORS
    /// preflights and anonymous reads. Refused requests of pages in a browser count as preflights
    /// where the proxy has to ask the backend for the bucket's CORS rules; above the limit their
    /// answers come without CORS headers.
    LIMITS_ANONYMOUS_REQUESTS_PER_SECOND: Setting<Whole<0, 1_000_000>> =
        "limits.anonymous_requests_per_second", Flag::None, "100";

    /// Requests that one replica serves at the same time, each to the last byte of its answer; 0
    /// sets no limit. Health checks do not count. Where requests wait, the next place goes to the
    /// client, or the network of unlisted ones, that holds least, and none holds more than seven
    /// eighths of all.
    LIMITS_REQUESTS_IN_FLIGHT: Setting<Whole<0, 1_000_000>> = "limits.requests_in_flight", Flag::None, "512";

    /// The same for each client.
    LIMITS_CLIENT_REQUESTS_IN_FLIGHT: Setting<Whole<0, 1_000_000>> =
        "limits.client_requests_in_flight",
        Flag::None, "0";

    /// How long a request above these limits waits for its turn before it gets `SlowDown`. What
    /// cannot get its turn in that time is told so at once.
    LIMITS_THROTTLE_WAIT: Setting<Period> = "limits.throttle_wait", Flag::None, "10s";

    /// The memory that the buffers of all bodies share. It is taken as bodies arrive. Where it is
    /// used up, bodies wait for 10 s and then get `SlowDown`. One client has at most seven times what
    /// it leaves free, and all unsigned requests together three times.
    LIMITS_BODY_MEMORY: Setting<ByteCount<4_194_304, 68_719_476_736>> = "limits.body_memory", Flag::None, "48 MiB";

    /// The largest object that a client may upload in one request, by PutObject or a form; 0 sets no
    /// limit. A larger one is refused with 413 `EntityTooLarge` before its body is read, or as soon as
    /// the file of a small form was. Parts of multipart uploads and copies are not limited by it.
    LIMITS_PUT_BODY: Setting<ByteCount<0, 5_497_558_138_880>> = "limits.put_body" | "S3PROXY_PUTBODY_MAX", Flag::None, "0";

    /// Bodies up to this size are held whole: a checksum that comes after the body can be stored,
    /// and a failed request to the backend can be repeated.
    LIMITS_HELD_BODY: Setting<ByteCount<0, 16_777_216>> = "limits.held_body", Flag::None, "1 MiB";
}

settings! { LOG:
    /// How much is logged.
    LOG_LEVEL: Setting<Level> = "log.level",
        Flag::Value { name: "level", placeholder: "LEVEL" }, "info";

    /// The form of the log. Text is for people, JSON for machines; `auto` is text on a terminal and JSON
    /// elsewhere.
    LOG_FORMAT: Setting<LogFormat> = "log.format",
        Flag::Value { name: "log-format", placeholder: "FORMAT" }, "auto";
}

settings! { RELOAD:
    /// Whether a changed file makes a running proxy load its configuration anew: the configuration
    /// file, files of secrets, certificates of authorities. SIGHUP does so in any case, and the
    /// proxy's own certificate is always served as its files have it.
    RELOAD_WATCH: Setting<Switch> = "reload.watch", Flag::None, "on";
}

//! Settings of the two older proxies, and of OpenTelemetry, as their users have them.

use s3proxy::config::resolved::{Collector, OtlpTransport, Traces};

use super::*;

/// Loads a configuration with these variables. The backend is AWS unless they name another one.
fn with(environment: &[(&str, &str)]) -> LoadedConfig {
    load(
        &[],
        &[&[KEY, PLAIN_HTTP, ("S3PROXY_HOST", "aws")], environment].concat(),
    )
}

fn refused(environment: &[(&str, &str)]) -> String {
    refusal(&[], &[&[KEY, PLAIN_HTTP], environment].concat()).to_string()
}

fn told(loaded: &LoadedConfig) -> String {
    let notices = loaded.notices.iter();
    let notices = notices.map(|notice| format!("{}: {notice}", notice.heading()));
    notices.collect::<Vec<_>>().join("\n")
}

fn backend(loaded: &LoadedConfig) -> String {
    match &loaded.config.backend.endpoint {
        Endpoint::Fixed(address) => address.to_string(),
        Endpoint::ByHostName => "by host name".to_owned(),
    }
}

#[test]
fn an_insecure_backend_is_plain_unless_it_names_a_scheme_and_is_warned_of() {
    for (host, expected, warned) in [
        ("seaweedfs:8333", "http://seaweedfs:8333", true),
        ("s3.example.com", "http://s3.example.com", true),
        ("[::1]:9000", "http://[::1]:9000", true),
        ("http://seaweedfs:8333", "http://seaweedfs:8333", false),
    ] {
        let loaded = with(&[("S3PROXY_HOST", host), ("S3PROXY_INSECURE", "1")]);
        assert_eq!(backend(&loaded), expected);
        let told = told(&loaded);
        assert_eq!(told.contains("PLAIN HTTP"), warned, "{told}");
        assert_eq!(told.contains(expected), warned, "{told}");
    }
    let loaded = with(&[
        ("S3PROXY_HOST", "seaweedfs:8333"),
        ("S3PROXY_INSECURE", "0"),
    ]);
    assert_eq!(backend(&loaded), "https://seaweedfs:8333");
    assert_eq!(told(&loaded), "");
}

#[test]
fn an_insecure_backend_that_is_asked_for_by_https_is_a_contradiction() {
    let insecure = ("S3PROXY_INSECURE", "true");
    let both = refused(&[("S3PROXY_HOST", "https://s3.example.com"), insecure]);
    assert!(
        both.contains("backend.insecure (environment variable S3PROXY_INSECURE)"),
        "{both}"
    );
    assert!(both.contains("backend.host says https://"), "{both}");
    let none = refused(&[insecure]);
    assert!(none.contains("without a server in backend.host"), "{none}");
}

#[test]
fn the_largest_put_body_is_in_bytes_and_has_no_default() {
    let limit = |environment: &[_]| {
        let limit = with(environment).config.limits.put_body_bytes;
        limit.map(std::num::NonZeroU64::get)
    };
    assert_eq!(limit(&[]), None);
    assert_eq!(limit(&[("S3PROXY_PUTBODY_MAX", "0")]), None);
    assert_eq!(
        limit(&[("S3PROXY_PUTBODY_MAX", "268435456")]),
        Some(1 << 28)
    );
    assert_eq!(limit(&[("S3PROXY_PUTBODY_MAX", "256 MiB")]), Some(1 << 28));
    assert!(refused(&[("S3PROXY_PUTBODY_MAX", "256M")]).contains("limits.put_body"));
}

#[test]
fn the_reading_of_the_older_throttling_variable_is_told_and_no_warning() {
    let loaded = with(&[("S3PROXY_THROTTLING_REQUESTSMAX", "50")]);
    let told = told(&loaded);
    assert!(
        told.starts_with("note: S3PROXY_THROTTLING_REQUESTSMAX is read as 50 requests per second")
    );
    assert!(told.contains("S3PROXY_LIMITS_REQUESTS_IN_FLIGHT"), "{told}");
    assert!(
        with(&[("S3PROXY_THROTTLING_REQUESTSMAX", "0")])
            .notices
            .is_empty()
    );
    let (_folder, path) = file("[limits]\nrequests_per_second = 50\n");
    assert!(with(&[("S3PROXY_CONFIG", &path)]).notices.is_empty());
}

#[test]
fn the_name_of_the_kek_version_follows_the_envelopes_unless_it_is_set() {
    let header = |environment: &[_]| {
        let tag = with(environment).config.keys.dek_tag;
        tag.kek_version_header().to_string()
    };
    let name = ("S3PROXY_DEKTAG_NAME", "Mine");
    assert_eq!(header(&[]), "x-amz-meta-isec-kek-ver");
    assert_eq!(header(&[name]), "x-amz-meta-mine-kek-ver");
    assert_eq!(
        header(&[name, ("S3PROXY_DEKTAG_KEKVER", "V")]),
        "x-amz-meta-v"
    );
    for taken in ["mine", "constellation-dek", "constellation_dek"] {
        let refused = refused(&[name, ("S3PROXY_DEKTAG_KEKVER", taken)]);
        assert!(refused.contains("keys.dektag_kekver"), "{refused}");
    }
}

fn collector(environment: &[(&str, &str)]) -> Collector {
    match with(environment).config.traces {
        Traces::Sent { collector, .. } => *collector,
        Traces::Off => panic!("traces are off"),
    }
}

const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const FOR_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const OWN: &str = "S3PROXY_TRACES_ENDPOINT";

#[test]
fn traces_go_over_http_by_default_and_where_opentelemetrys_variables_say() {
    for (variable, endpoint, url) in [
        (GENERAL, "http://c:4318", "http://c:4318/v1/traces"),
        (GENERAL, "http://c:4318/", "http://c:4318/v1/traces"),
        (
            GENERAL,
            "http://c:4318/otlp/",
            "http://c:4318/otlp/v1/traces",
        ),
        (GENERAL, "https://c", "https://c/v1/traces"),
        (GENERAL, "http://c", "http://c/v1/traces"),
        (FOR_TRACES, "http://c:4318", "http://c:4318/"),
        (
            FOR_TRACES,
            "http://c:4318/v1/traces",
            "http://c:4318/v1/traces",
        ),
        (FOR_TRACES, "http://c:4318/mine", "http://c:4318/mine"),
        (OWN, "http://c", "http://c:4318/v1/traces"),
        (OWN, "c:9/", "http://c:9/v1/traces"),
        (OWN, "https://c/mine", "https://c/mine"),
    ] {
        let collector = collector(&[(variable, endpoint)]);
        assert_eq!(collector.to_string(), url, "{variable}={endpoint}");
        assert_eq!(collector.transport.name(), "http/protobuf");
        assert_eq!(collector.timeout, Duration::from_secs(10));
        assert!(collector.headers.is_empty());
    }
    let both = [(GENERAL, "http://a:4318"), (FOR_TRACES, "http://b:4318/x")];
    assert_eq!(collector(&both).to_string(), "http://b:4318/x");
}

#[test]
fn grpc_is_chosen_by_opentelemetrys_variables_and_has_no_path() {
    const GENERAL_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    let grpc = |variable, endpoint| collector(&[(GENERAL, endpoint), (variable, "grpc")]);
    for (variable, endpoint, url) in [
        (GENERAL_PROTOCOL, "http://c:4317", "http://c:4317"),
        (TRACES_PROTOCOL, "http://c:4317/", "http://c:4317"),
        (TRACES_PROTOCOL, "http://c", "http://c:4317"),
    ] {
        let collector = grpc(variable, endpoint);
        assert_eq!(collector.transport, OtlpTransport::Grpc);
        assert_eq!(collector.to_string(), url);
    }
    let for_traces = [
        (GENERAL, "http://c:4318"),
        (GENERAL_PROTOCOL, "grpc"),
        (TRACES_PROTOCOL, "http/protobuf"),
    ];
    assert_eq!(collector(&for_traces).transport.name(), "http/protobuf");
    let path = refused(&[(OWN, "http://c:4317/v1/traces"), (GENERAL_PROTOCOL, "grpc")]);
    assert!(path.contains("gRPC has no path"), "{path}");
    let json = refused(&[(OWN, "http://c"), (GENERAL_PROTOCOL, "http/json")]);
    assert!(json.contains("expected http/protobuf | grpc"), "{json}");
}

#[test]
fn a_port_of_the_other_protocol_is_warned_of() {
    let over_http = with(&[(GENERAL, "http://c:4317")]);
    assert!(told(&over_http).contains("traces.protocol = \"grpc\""));
    let over_grpc = with(&[
        (GENERAL, "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ]);
    assert!(told(&over_grpc).contains("traces.protocol = \"http/protobuf\""));
    assert_eq!(told(&with(&[(GENERAL, "http://c:4318")])), "");
}

#[test]
fn headers_and_the_time_limit_are_those_for_traces_or_the_general_ones() {
    let endpoint = (GENERAL, "http://c:4318");
    let general = [
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20general,x-tenant=one",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
    ];
    let read = collector(&[endpoint, general[0], general[1]]);
    assert_eq!(read.headers["authorization"], "Bearer general");
    assert_eq!(read.headers["x-tenant"], "one");
    assert_eq!(read.timeout, Duration::from_millis(2500));
    assert!(
        !format!("{read:?}").contains("general"),
        "a token is never shown"
    );
    let own = [
        (
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "authorization=Bearer%20traces",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1s"),
    ];
    let read = collector(&[endpoint, general[0], general[1], own[0], own[1]]);
    assert_eq!(read.headers["authorization"], "Bearer traces");
    assert_eq!(read.headers.len(), 1);
    assert_eq!(read.timeout, Duration::from_secs(1));
    let wrong = refused(&[
        endpoint,
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cr3t-without-a-name"),
    ]);
    assert!(
        wrong.contains("traces.headers") && !wrong.contains("s3cr3t"),
        "{wrong}"
    );
}

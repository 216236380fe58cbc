//! The audit log and traces.

use http::uri::PathAndQuery;

use crate::notice::Notice;
use crate::problem::Origin;
use crate::reader::{HERE, Reader};
use crate::resolved::{Audit, Collector, OtlpTransport, Scheme, Traces};
use crate::settings::{
    AUDIT_OBJECT_KEYS, AUDIT_ON_FAILURE, AUDIT_OUTPUT, TRACES_ENDPOINT, TRACES_HEADERS,
    TRACES_PROTOCOL, TRACES_SAMPLE_RATIO, TRACES_SERVICE_NAME, TRACES_TIMEOUT,
};
use crate::value::{CollectorAddress, OtlpProtocol};

/// Usual ports of collectors.
const HTTP_PORT: u16 = 4318;
const GRPC_PORT: u16 = 4317;

/// Path at which collectors receive traces by OTLP over HTTP (OpenTelemetry, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// OpenTelemetry's variable for the collector of all signals.
const GENERAL_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// OpenTelemetry's variable for the collector of traces alone.
const TRACES_OWN_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

pub(super) fn audit(reader: &mut Reader) -> Audit {
    Audit {
        output: reader.value(AUDIT_OUTPUT),
        object_keys: reader.value(AUDIT_OBJECT_KEYS),
        on_failure: reader.value(AUDIT_ON_FAILURE),
    }
}

pub(super) fn traces(reader: &mut Reader) -> Traces {
    let sample_ratio = reader.value(TRACES_SAMPLE_RATIO).0;
    let service_name = reader.value(TRACES_SERVICE_NAME);
    let protocol = reader.value(TRACES_PROTOCOL);
    let headers = reader.optional(TRACES_HEADERS);
    let timeout = reader.value(TRACES_TIMEOUT).0;
    // Everything else was read before, so that problems are reported even if traces are off.
    let Some(given) = reader.optional(TRACES_ENDPOINT) else {
        return Traces::Off;
    };
    let rule = EndpointRule::of(reader);
    let address = given.server(match (protocol, rule) {
        (OtlpProtocol::Grpc, _) => |scheme| usual_port(scheme, GRPC_PORT),
        (OtlpProtocol::HttpProtobuf, EndpointRule::Own) => |scheme| usual_port(scheme, HTTP_PORT),
        (OtlpProtocol::HttpProtobuf, _) => Scheme::default_port,
    });
    let others = match protocol {
        OtlpProtocol::HttpProtobuf => GRPC_PORT,
        OtlpProtocol::Grpc => HTTP_PORT,
    };
    if address.port == others {
        let notice = Notice::CollectorPort { port: others };
        reader.findings.notices.push(notice);
    }
    Traces::Sent {
        collector: Box::new(Collector {
            address,
            transport: match protocol {
                OtlpProtocol::HttpProtobuf => OtlpTransport::HttpProtobuf {
                    path: rule.path(&given),
                },
                OtlpProtocol::Grpc => {
                    refuse_path(reader, &given);
                    OtlpTransport::Grpc
                }
            },
            headers: headers.map(|headers| headers.0).unwrap_or_default(),
            timeout,
        }),
        sample_ratio,
        service_name,
    }
}

/// How an address becomes the URL that traces are sent to.
#[derive(Clone, Copy)]
enum EndpointRule {
    /// This program's rule: the usual port and path unless they are given.
    Own,
    /// OpenTelemetry's rule for all signals: the path is appended.
    General,
    /// OpenTelemetry's rule for traces: the URL is used unchanged.
    AsItIs,
}

impl EndpointRule {
    fn of(reader: &Reader) -> Self {
        match reader.origin(TRACES_ENDPOINT.declaration.path) {
            Some(Origin::Environment(name)) if name == GENERAL_ENDPOINT => Self::General,
            Some(Origin::Environment(name)) if name == TRACES_OWN_ENDPOINT => Self::AsItIs,
            _ => Self::Own,
        }
    }

    fn path(self, given: &CollectorAddress) -> PathAndQuery {
        let usual = PathAndQuery::from_static(TRACES_PATH);
        match (self, &given.path) {
            (Self::Own | Self::General, None) => usual,
            (Self::Own, Some(path)) if path == "/" => usual,
            (Self::General, Some(path)) => {
                let path = format!("{}{TRACES_PATH}", path.as_str().trim_end_matches('/'));
                path.parse().expect("two paths are one")
            }
            (Self::Own, Some(path)) => path.clone(),
            (Self::AsItIs, path) => path
                .clone()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        }
    }
}

/// Returns the usual port; collectors with TLS usually use HTTPS's own port.
fn usual_port(scheme: Scheme, port: u16) -> u16 {
    match scheme {
        Scheme::Http => port,
        Scheme::Https => scheme.default_port(),
    }
}

fn refuse_path(reader: &mut Reader, given: &CollectorAddress) {
    if given.path.as_ref().is_some_and(|path| path != "/") {
        let message = "gRPC has no path; expected http://host:port or https://host:port, or \
                       http/protobuf in traces.protocol";
        reader.conflict(&TRACES_ENDPOINT.declaration, HERE, message);
    }
}

//! Destinations of the audit log and of traces.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3proxy_protocol::percent::{self, Plus};

use super::{Reason, Scalar, Timeout};
use crate::declare::Sensitivity;
use crate::endpoint::{Scheme, ServerAddress};
use crate::resolved::AuditOutput;

impl Scalar for AuditOutput {
    fn expects() -> String {
        "off | stdout | a path that contains a slash, such as /var/log/s3proxy/audit.log".to_owned()
    }

    /// Parses the output. A word without a slash is treated as a mistyped one, not as the name of a
    /// file.
    fn parse(text: &str) -> Result<Self, Reason> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            path if path.ends_with('/') => Err("it is a folder".to_owned()),
            path if path.contains('/') => Ok(Self::File(PathBuf::from(path))),
            _ => Err(String::new()),
        }
    }
}

/// Transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtlpProtocol {
    HttpProtobuf,
    Grpc,
}

/// Address of an OpenTelemetry collector. Plain HTTP unless it says `https`. Its usual port depends
/// on the protocol, which is another setting.
#[derive(Debug)]
pub(crate) struct CollectorAddress {
    server: String,
    /// Path with its leading slash; `None` if the address has none.
    pub(crate) path: Option<PathAndQuery>,
}

impl CollectorAddress {
    /// Returns the server, at `port` unless the address names one.
    pub(crate) fn server(&self, port: fn(Scheme) -> u16) -> ServerAddress {
        ServerAddress::of_service(&self.server, port).expect("it was read once")
    }
}

impl Scalar for CollectorAddress {
    fn expects() -> String {
        "http://host:port or https://host:port of a collector, with a path for HTTP if needed"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        // The path begins after the authority: the slashes of `://` do not count.
        let authority = text.find("://").map_or(0, |scheme| scheme + 3);
        let end = text[authority..].find('/').map(|slash| authority + slash);
        let (server, path) = text.split_at(end.unwrap_or(text.len()));
        // Only validated here: the default port depends on another setting.
        ServerAddress::of_service(server, Scheme::default_port)
            .map_err(|error| error.to_string())?;
        if path.contains(['?', '#']) {
            return Err("it must not contain a query".to_owned());
        }
        let path = match path {
            "" => None,
            path => Some(
                path.parse()
                    .map_err(|_| "the path is not valid in a URL".to_owned())?,
            ),
        };
        let server = server.to_owned();
        Ok(Self { server, path })
    }
}

/// Headers in the form of OpenTelemetry's variables: `name=value` separated by commas, values
/// percent-encoded.
#[derive(Debug)]
pub(crate) struct CollectorHeaders(pub HeaderMap);

impl Scalar for CollectorHeaders {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "name=value pairs, separated by commas, with percent-encoded values".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        let mut headers = HeaderMap::new();
        let pairs = text.split(',').map(str::trim);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| "a pair has no =".to_owned())?;
            let name: HeaderName = name
                .trim()
                .parse()
                .map_err(|_| "a name is not a valid header name".to_owned())?;
            let value = percent::decode(value.trim(), Plus::Literal);
            let value = value
                .ok()
                .and_then(|value| HeaderValue::try_from(value).ok());
            let Some(mut value) = value else {
                return Err(format!("the value of {name} is not a valid header value"));
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if headers.is_empty() {
            return Err("there are none".to_owned());
        }
        Ok(Self(headers))
    }
}

/// A time longer than zero; without a unit in milliseconds, as in OpenTelemetry.
pub(crate) struct CollectorTimeout(pub Duration);

impl Scalar for CollectorTimeout {
    fn expects() -> String {
        "a duration with its unit, such as 500ms or 10s, or a number of milliseconds, longer than 0"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let with_unit = if is_number {
            format!("{text}ms")
        } else {
            text.to_owned()
        };
        Timeout::parse(&with_unit).map(|Timeout(time)| Self(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_log_goes_to_a_path_and_to_no_mistyped_word() {
        let file = AuditOutput::File("./audit.log".into());
        assert_eq!(AuditOutput::parse("./audit.log"), Ok(file));
        assert_eq!(AuditOutput::parse("stdout"), Ok(AuditOutput::Stdout));
        for wrong in ["", "sdtout", "audit.log", "/var/log/"] {
            assert!(AuditOutput::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_collectors_address_has_a_server_and_may_have_a_path() {
        let parse = |text| {
            let address = CollectorAddress::parse(text)?;
            let path = address.path.as_ref().map(ToString::to_string);
            Ok::<_, Reason>((address.server(|_| 4318).to_string(), path))
        };
        let root = Some("/".to_owned());
        let traces = Some("/v1/traces".to_owned());
        for (text, server, path) in [
            ("http://collector", "http://collector:4318", None),
            ("http://collector:80", "http://collector", None),
            ("collector:9", "http://collector:9", None),
            ("https://collector:443/", "https://collector", root),
            (
                "http://[::1]:4318/v1/traces",
                "http://[::1]:4318",
                traces.clone(),
            ),
            ("collector:9/v1/traces", "http://collector:9", traces),
        ] {
            assert_eq!(parse(text), Ok((server.to_owned(), path)), "{text}");
        }
        for wrong in [
            "",
            "/v1/traces",
            "grpc://collector:4317",
            "http://collector:4318/v1/traces?token=x",
            "http://user:word@collector",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_percent_decoded_and_never_shown() {
        let read = |text| CollectorHeaders::parse(text).map(|headers| headers.0);
        let headers = read(" Authorization=Basic%20YTpi==, x-tenant = one ,").unwrap();
        assert_eq!(headers["authorization"], "Basic YTpi==");
        assert_eq!(headers["x-tenant"], "one");
        assert_eq!(headers.len(), 2);
        assert!(!format!("{headers:?}").contains("YTpi"));
        for wrong in ["", ",", "token", "two words=x", "a=%", "a=%0A"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(!read("a=s3cr3t%").unwrap_err().contains("s3cr3t"));
    }

    #[test]
    fn a_timeout_without_a_unit_is_in_milliseconds() {
        let read = |text| CollectorTimeout::parse(text).map(|time| time.0.as_millis());
        assert_eq!(read("10000"), Ok(10_000));
        assert_eq!(read("10s"), Ok(10_000));
        for wrong in ["", "0", "0s", "-1", "ten"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

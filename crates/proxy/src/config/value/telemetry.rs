//! Where the audit log and traces go.

use std::path::PathBuf;

use super::{Reason, Scalar};
use crate::config::endpoint::{Scheme, ServerAddress};
use crate::config::resolved::AuditOutput;

impl Scalar for AuditOutput {
    fn expects() -> String {
        "off | stdout | a path with a slash in it, such as /var/log/s3proxy/audit.log".to_owned()
    }

    /// A word without a slash is taken for a mistyped one, and not for a file's name.
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

/// The address of an OpenTelemetry collector: that of gRPC, without a path. Plain unless it says
/// `https`.
pub(crate) struct CollectorAddress(pub ServerAddress);

/// Where collectors take OTLP over gRPC; those behind TLS are at its own port, as a rule.
const OTLP_PORT: u16 = 4317;

impl Scalar for CollectorAddress {
    fn expects() -> String {
        "host:port, http://host:port or https://host:port of a collector's gRPC port".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        let port = |scheme| match scheme {
            Scheme::Http => OTLP_PORT,
            Scheme::Https => Scheme::Https.default_port(),
        };
        ServerAddress::of_service(text, port)
            .map(Self)
            .map_err(|error| error.to_string())
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
    fn a_collector_is_asked_at_its_usual_port_unless_another_is_named() {
        let parse = |text| CollectorAddress::parse(text).map(|address| address.0.to_string());
        let usual = parse("http://collector");
        assert_eq!(usual.as_deref(), Ok("http://collector:4317"));
        assert_eq!(parse("collector:9").as_deref(), Ok("http://collector:9"));
        let other = parse("https://collector:443");
        assert_eq!(other.as_deref(), Ok("https://collector"));
        assert!(parse("http://collector:4318/v1/traces").is_err());
        assert!(parse("grpc://collector:4317").is_err());
    }
}

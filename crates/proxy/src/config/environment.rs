//! Settings from environment variables.
//!
//! An empty variable counts as absent, since charts and compose files set such. An unknown variable
//! with our prefix is a warning, not an error: other programs may share the environment, and
//! Kubernetes describes a Service called s3proxy in variables such as `S3PROXY_SERVICE_HOST` and
//! `S3PROXY_PORT=tcp://…`, which are ignored silently.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::declare::{Declaration, Sensitivity};
use super::gather::{Entry, Findings, Layer, entry, read_secret};
use super::problem::{Fault, Notice, Origin, near};
use super::settings;
use super::value::Given;

/// Variable with the name of the configuration file; the flag `--config` takes precedence.
pub(crate) const CONFIG_VARIABLE: &str = "S3PROXY_CONFIG";

const PREFIX: &str = "S3PROXY_";

type Variables = BTreeMap<OsString, OsString>;

/// Returns the name of the configuration file.
pub(super) fn file(variables: &Variables) -> Option<PathBuf> {
    text_of(variables, CONFIG_VARIABLE).map(PathBuf::from)
}

/// Reads the settings from the variables.
pub(super) fn layer(variables: &Variables, findings: &mut Findings) -> Layer {
    let mut layer = Layer::new();
    for declaration in settings::all() {
        if let Some(entry) = from_first_variable(declaration, variables, findings) {
            layer.insert(declaration.path.to_owned(), entry);
        }
    }
    findings.endpoint_variable = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find(|name| text_of(variables, name).is_some());
    warn_of_unknown(variables, findings);
    layer
}

fn from_first_variable(
    declaration: &Declaration,
    variables: &Variables,
    findings: &mut Findings,
) -> Option<Entry> {
    refuse_differing(declaration, variables, findings);
    for name in declaration.environment {
        let direct = text_of(variables, name);
        let file_name = format!("{name}_FILE");
        let file = match declaration.sensitivity {
            Sensitivity::Plain | Sensitivity::Masked => None,
            Sensitivity::Secret => text_of(variables, &file_name),
        };
        let origin = |name: &str| Origin::Environment(name.to_owned());
        let (text, origin) = match (direct, file) {
            (None, None) => continue,
            (Some(_), Some(_)) => {
                findings.problem(declaration.path, Some(origin(name)), Fault::GivenTwice);
                return None;
            }
            (Some(text), None) => {
                let utf8 = text.to_str().map(|text| Zeroizing::new(text.to_owned()));
                (utf8.ok_or_else(|| not_utf8(declaration)), origin(name))
            }
            (None, Some(path)) => (read_secret(Path::new(path), findings), origin(&file_name)),
        };
        match text {
            Ok(text) => return Some(entry(Given::Text(text), origin)),
            // No further name is tried: a lower one must not replace a broken value silently.
            Err(fault) => findings.problem(declaration.path, Some(origin), fault),
        }
        return None;
    }
    None
}

/// Refuses two of our own names for one setting with different values. Names of other programs,
/// such as `AWS_REGION`, only give a default.
fn refuse_differing(declaration: &Declaration, variables: &Variables, findings: &mut Findings) {
    let own = declaration.environment.iter();
    // Another program may need another value in a variable of AWS.
    let own = own.filter(|name| name.starts_with(PREFIX));
    let mut given = own.filter_map(|name| Some((name, text_of(variables, name)?)));
    let Some((first, text)) = given.next() else {
        return;
    };
    if let Some((other, _)) = given.find(|(_, other)| *other != text) {
        let origin = Origin::Environment((*other).to_owned());
        let message = format!(
            "{first} is another name for the same setting and has another value; keep one of them"
        );
        findings.problem(declaration.path, Some(origin), Fault::Conflict(message));
    }
}

fn not_utf8(declaration: &Declaration) -> Fault {
    Fault::Invalid {
        shown: None,
        reason: "it is not UTF-8".to_owned(),
        expected: (declaration.expects)(),
    }
}

fn text_of<'a>(variables: &'a Variables, name: &str) -> Option<&'a OsStr> {
    let value = variables.get(OsStr::new(name))?;
    let absent = value.is_empty() || is_service_link(name, value);
    (!absent).then_some(value.as_os_str())
}

fn warn_of_unknown(variables: &Variables, findings: &mut Findings) {
    let known = known_names();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if !known.contains(name) && !is_service_link(name, value) {
            let near = match meant(name) {
                Some(meant) => vec![meant.to_owned()],
                None => near(name, known.iter().map(String::as_str)),
            };
            findings.notices.push(Notice::UnknownVariable {
                name: name.to_owned(),
                near,
            });
        }
    }
}

/// Returns the setting that an unknown name probably means, for names that spelling does not
/// reveal.
fn meant(name: &str) -> Option<&'static str> {
    const MEANT: &[(&[&str], &str)] = &[
        (
            &["NO_TLS", "PLAIN_HTTP", "TLS_ENABLED", "DISABLE_TLS"],
            "S3PROXY_TLS=off (--no-tls)",
        ),
        (
            &[
                "ENDPOINT",
                "ENDPOINT_URL",
                "URL",
                "UPSTREAM",
                "BACKEND_URL",
                "BACKEND_ENDPOINT",
                "S3_ENDPOINT",
                "SERVER",
            ],
            "S3PROXY_HOST",
        ),
        (
            &[
                "KEY",
                "SECRET",
                "PASSPHRASE",
                "PASSWORD",
                "ENCRYPTION_PASSPHRASE",
                "MASTER_KEY",
                "KEK",
            ],
            "S3PROXY_ENCRYPT_KEY",
        ),
        (
            &[
                "KEY_FILE",
                "KEK_FILE",
                "ENCRYPT_KEY_PATH",
                "ENCRYPTION_KEY_PATH",
            ],
            "S3PROXY_ENCRYPT_KEY_FILE",
        ),
        (
            &["ACCESS_KEY", "ACCESS_KEY_ID", "BACKEND_ACCESS_KEY"],
            "S3PROXY_BACKEND_ACCESS_KEY_ID",
        ),
        (
            &["SECRET_KEY", "SECRET_ACCESS_KEY", "BACKEND_SECRET_KEY"],
            "S3PROXY_BACKEND_SECRET_ACCESS_KEY",
        ),
        (
            &[
                "LISTEN",
                "ADDRESS",
                "ADDR",
                "BIND_ADDRESS",
                "LISTEN_ADDRESS",
            ],
            "S3PROXY_IP and S3PROXY_PORT",
        ),
        (&["LISTEN_PORT", "HTTP_PORT", "HTTPS_PORT"], "S3PROXY_PORT"),
        (
            &[
                "CERTS",
                "CERT_DIR",
                "TLS_CERT",
                "TLS_KEY",
                "CERT_FILE",
                "CERTIFICATE",
            ],
            "S3PROXY_CERT, the folder of s3proxy.crt and s3proxy.key",
        ),
        (&["LEVEL", "DEBUG", "LOG", "RUST_LOG"], "S3PROXY_LOG_LEVEL"),
        (&["METRICS", "METRICS_PORT", "ADMIN_PORT"], "S3PROXY_ADMIN"),
        (&["CONFIG_FILE", "CONFIGURATION"], "S3PROXY_CONFIG"),
        (&["DOMAIN", "DOMAINS"], "S3PROXY_VIRTUAL_HOST_DOMAINS"),
    ];
    let name = name.strip_prefix(PREFIX)?;
    let mut table = MEANT.iter();
    let found = table.find(|(names, _)| names.contains(&name));
    found.map(|(_, meant)| *meant)
}

fn known_names() -> BTreeSet<String> {
    let mut known = BTreeSet::from([CONFIG_VARIABLE.to_owned()]);
    for declaration in settings::all() {
        for name in declaration.environment {
            known.insert((*name).to_owned());
            if declaration.sensitivity == Sensitivity::Secret {
                known.insert(format!("{name}_FILE"));
            }
        }
    }
    known
}

/// Returns whether Kubernetes set the variable to describe a Service.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = value.to_str().is_some_and(|value| {
        ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme))
    });
    let names_a_port = |(_, port): (&str, &str)| {
        let mut parts = port.split('_');
        parts
            .next()
            .is_some_and(|number| number.parse::<u16>().is_ok())
            && parts
                .next()
                .is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url)
        || name.rsplit_once("_PORT_").is_some_and(names_a_port)
        || name.split_once("_PORT_").is_some_and(names_a_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn what_kubernetes_says_of_a_service_is_passed_over_in_silence() {
        let mut findings = Findings::default();
        let layer = layer(
            &variables(&[
                ("S3PROXY_SERVICE_HOST", "10.0.0.1"),
                ("S3PROXY_SERVICE_PORT", "4433"),
                ("S3PROXY_SERVICE_PORT_HTTPS", "4433"),
                // Kubernetes sets it for a service named "s3proxy"; ours is a number.
                ("S3PROXY_PORT", "tcp://10.0.0.1:4433"),
                ("S3PROXY_PORT_4433_TCP", "tcp://10.0.0.1:4433"),
                ("S3PROXY_PORT_4433_TCP_PROTO", "tcp"),
                ("S3PROXY_PORT_4433_TCP_PORT", "4433"),
                ("S3PROXY_PORT_4433_TCP_ADDR", "10.0.0.1"),
                ("S3PROXY_METRICS_PORT_9000_TCP_ADDR", "10.0.0.1"),
            ]),
            &mut findings,
        );
        assert!(layer.is_empty());
        assert_eq!(findings.notices, []);
    }

    #[test]
    fn a_port_in_the_environment_counts() {
        let layer = layer(
            &variables(&[("S3PROXY_PORT", "8080")]),
            &mut Findings::default(),
        );
        assert!(layer.contains_key("listen.port"));
    }

    #[test]
    fn an_unknown_variable_is_a_warning_with_near_names() {
        let mut findings = Findings::default();
        layer(
            &variables(&[("S3PROXY_ENCRYPTKEY", "x"), ("HOME", "/")]),
            &mut findings,
        );
        assert!(findings.problems.is_empty());
        let [Notice::UnknownVariable { name, near }] = findings.notices.as_slice() else {
            panic!("one warning is due");
        };
        assert_eq!(name, "S3PROXY_ENCRYPTKEY");
        assert_eq!(near[0], "S3PROXY_ENCRYPT_KEY");
    }

    #[test]
    fn an_empty_variable_counts_as_absent_and_the_next_name_is_asked() {
        let pairs = [
            ("S3PROXY_REGION", ""),
            ("AWS_REGION", "us-east-2"),
            ("S3PROXY_HOST", ""),
        ];
        let layer = layer(&variables(&pairs), &mut Findings::default());
        assert_eq!(layer.keys().collect::<Vec<_>>(), ["backend.region"]);
        let origin = &layer["backend.region"].origin;
        assert_eq!(*origin, Origin::Environment("AWS_REGION".to_owned()));
    }
}

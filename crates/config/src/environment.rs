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

use super::declare::{Declaration, PREFIX, Sensitivity};
use super::gather::{Entry, Findings, Layer, entry, read_secret};
use super::notice::Notice;
use super::problem::{Fault, Origin, near};
use super::settings::{self, former};
use super::value::RawValue;

/// Variable with the name of the configuration file; the flag `--config` takes precedence.
pub(crate) const CONFIG_VARIABLE: &str = "S3PROXY_CONFIG";

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
    let mut today = declaration.variables();
    if let Some(given) = today.find_map(|name| Variable::of(declaration, variables, &name)) {
        return given.entry(declaration, findings);
    }
    let mut former = former::variables(declaration.path);
    let given = former.find_map(|name| Variable::of(declaration, variables, name))?;
    findings.notice(Notice::FormerName {
        name: given.name.clone(),
        today: declaration.variables().next().unwrap_or_default(),
    });
    given.entry(declaration, findings)
}

/// A variable of a setting that is set, by itself or as the name of a file.
struct Variable<'a> {
    name: String,
    direct: Option<&'a OsStr>,
    file: Option<&'a OsStr>,
}

impl<'a> Variable<'a> {
    fn of(declaration: &Declaration, variables: &'a Variables, name: &str) -> Option<Self> {
        let direct = text_of(variables, name);
        let file = match declaration.sensitivity {
            Sensitivity::Plain | Sensitivity::Masked => None,
            Sensitivity::Secret => text_of(variables, &file_form(name)),
        };
        let name = name.to_owned();
        (direct.is_some() || file.is_some()).then_some(Self { name, direct, file })
    }

    fn entry(self, declaration: &Declaration, findings: &mut Findings) -> Option<Entry> {
        let file_name = file_form(&self.name);
        let (text, name) = match (self.direct, self.file) {
            (Some(_), Some(_)) => (Err(Fault::GivenTwice), self.name),
            (Some(text), None) => {
                let utf8 = text.to_str().map(|text| Zeroizing::new(text.to_owned()));
                (utf8.ok_or_else(|| not_utf8(declaration)), self.name)
            }
            (None, Some(path)) => (read_secret(Path::new(path), findings), file_name),
            (None, None) => return None,
        };
        let origin = Origin::Environment(name);
        match text {
            Ok(text) => Some(entry(RawValue::Text(text), origin)),
            Err(fault) => {
                findings.problem(declaration.path, Some(origin), fault);
                None
            }
        }
    }
}

fn file_form(name: &str) -> String {
    format!("{name}_FILE")
}

/// Refuses two of our own names for one setting with different values. Names of other programs,
/// such as `AWS_REGION`, only give a default.
fn refuse_differing(declaration: &Declaration, variables: &Variables, findings: &mut Findings) {
    let own = declaration.variables();
    let own = own.filter(|name| name.starts_with(PREFIX));
    let own = own.chain(former::variables(declaration.path).map(str::to_owned));
    let mut given = own.filter_map(|name| Some((text_of(variables, &name)?, name)));
    let Some((text, first)) = given.next() else {
        return;
    };
    if let Some((_, other)) = given.find(|(other, _)| *other != text) {
        let origin = Origin::Environment(other);
        let message = format!(
            "{first} is another name for the same setting and has a different value; use one"
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
    let name = name.strip_prefix(PREFIX)?;
    let mut table = MISTAKEN_NAMES.iter();
    let found = table.find(|(names, _)| names.contains(&name));
    found.map(|(_, meant)| *meant)
}

/// Names that users try, without the prefix, and the settings that they mean.
const MISTAKEN_NAMES: &[(&[&str], &str)] = &[
    (
        &["NO_TLS", "PLAIN_HTTP", "TLS_ENABLED", "DISABLE_TLS"],
        "S3PROXY_LISTEN_TLS=off (--no-tls)",
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
        "S3PROXY_IP and S3PROXY_LISTEN_PORT",
    ),
    (&["HTTP_PORT", "HTTPS_PORT"], "S3PROXY_LISTEN_PORT"),
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
    (
        &["METRICS", "METRICS_PORT", "ADMIN_PORT"],
        "S3PROXY_LISTEN_ADMIN",
    ),
    (&["CONFIG_FILE", "CONFIGURATION"], "S3PROXY_CONFIG"),
    (
        &["DOMAIN", "DOMAINS"],
        "S3PROXY_LISTEN_VIRTUAL_HOST_DOMAINS",
    ),
];

fn known_names() -> BTreeSet<String> {
    let mut known = BTreeSet::from([CONFIG_VARIABLE.to_owned()]);
    for declaration in settings::all() {
        let former = former::variables(declaration.path).map(str::to_owned);
        for name in declaration.variables().chain(former) {
            if declaration.sensitivity == Sensitivity::Secret {
                known.insert(file_form(&name));
            }
            known.insert(name);
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
        for name in ["S3PROXY_LISTEN_PORT", "S3PROXY_PORT"] {
            let given = variables(&[(name, "8080")]);
            let layer = layer(&given, &mut Findings::default());
            assert!(layer.contains_key("listen.port"), "{name}");
        }
    }

    #[test]
    fn every_former_variable_counts_with_a_warning() {
        for (name, path) in former::VARIABLES {
            let mut findings = Findings::default();
            let layer = layer(&variables(&[(name, "1")]), &mut findings);
            assert!(layer.contains_key(*path), "{name}");
            let [Notice::FormerName { name: told, today }] = findings.notices.as_slice() else {
                panic!("{name} must be told of");
            };
            assert_eq!(told, name);
            assert!(today.starts_with(PREFIX), "{today}");
        }
    }

    #[test]
    fn a_former_name_must_not_contradict_todays() {
        let mut findings = Findings::default();
        let both = [("S3PROXY_LISTEN_PORT", "1"), ("S3PROXY_PORT", "2")];
        layer(&variables(&both), &mut findings);
        assert_eq!(findings.problems.len(), 1);
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

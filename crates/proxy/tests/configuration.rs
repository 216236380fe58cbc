//! Configurations as users write them: their effect, and the messages about wrong ones.

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use s3proxy::cli::{self, Command};
use s3proxy::config::resolved::{
    Access, ActiveKey, Addressing, Authentication, Bound, Config, Credential, Endpoint,
    KnownClients, LogLevel, Permission, SecretText, SessionToken, StateBucket, Tls,
};
use s3proxy::config::{self, LoadedConfig, Problems, SettingFlags, Sources, Transport, reference};
use tempfile::TempDir;

#[path = "configuration/addresses.rs"]
mod addresses;
#[path = "configuration/ancestors.rs"]
mod ancestors;
#[path = "configuration/providers.rs"]
mod providers;
#[path = "configuration/warnings.rs"]
mod warnings;

const KEY: (&str, &str) = (
    "S3PROXY_ENCRYPT_KEY",
    "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE",
);
const HOST: (&str, &str) = ("S3PROXY_HOST", "s3.example.com");
const PLAIN_HTTP: (&str, &str) = ("S3PROXY_LISTEN_TLS", "off");

fn flags(arguments: &[&str]) -> SettingFlags {
    let program = std::iter::once("s3proxy");
    let arguments = program.chain(arguments.iter().copied()).map(OsString::from);
    match cli::try_parse(arguments) {
        Ok(Command::Serve(flags)) => flags.into(),
        Ok(_) => panic!("these are the arguments of serve"),
        Err(error) => panic!("{error}"),
    }
}

fn sources(arguments: &[&str], environment: &[(&str, &str)]) -> Sources {
    let environment = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Sources::new(flags(arguments), environment)
}

fn load(arguments: &[&str], environment: &[(&str, &str)]) -> LoadedConfig {
    config::load(sources(arguments, environment)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> Problems {
    match config::load(sources(arguments, environment)) {
        Ok(_) => panic!("this configuration is wrong"),
        Err(problems) => problems,
    }
}

fn exposed(secret: Option<&SecretText>) -> &str {
    secret.expect("the key is given").expose()
}

fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("s3proxy.toml");
    fs::write(&path, text).expect("a file in it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its permissions");
    let path = path
        .to_str()
        .expect("temporary folders have plain names")
        .to_owned();
    (folder, path)
}

fn without(folder: &Path, text: &str) -> String {
    text.replace(
        folder.to_str().expect("temporary folders have plain names"),
        "DIR",
    )
}

#[test]
fn what_the_older_proxies_were_given_is_enough() {
    let (folder, _) = file("");
    for name in ["s3proxy.crt", "s3proxy.key"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let certificates = folder.path().to_str().unwrap();
    let Config {
        listen,
        backend,
        clients,
        keys,
        limits,
        log,
        ..
    } = load(
        &[
            "--cert",
            certificates,
            "--ip",
            "::1",
            "--region",
            "eu-central-1",
            "--level=-4",
        ],
        &[
            ("S3PROXY_HOST", "s3.example.com"),
            KEY,
            ("S3PROXY_DEKTAG_NAME", "Mine"),
            ("S3PROXY_THROTTLING_REQUESTSMAX", "50"),
            ("S3PROXY_DECRYPTION_FALLBACK", "1"),
        ],
    )
    .config;
    assert_eq!(listen.address.to_string(), "[::1]:4433");
    let Tls::Files {
        certificate,
        private_key,
    } = listen.tls
    else {
        panic!("TLS is due")
    };
    assert_eq!(certificate, folder.path().join("s3proxy.crt"));
    assert_eq!(private_key, folder.path().join("s3proxy.key"));
    let Endpoint::Fixed(address) = backend.endpoint else {
        panic!("an address is given")
    };
    assert_eq!(address.to_string(), "https://s3.example.com");
    assert_eq!(backend.region, "eu-central-1");
    assert_eq!(backend.addressing, Addressing::Path);
    assert!(matches!(backend.credential, Credential::DefaultChain));
    assert!(matches!(
        clients.authentication,
        Authentication::SigV4 {
            known: KnownClients::BackendCredential
        }
    ));
    assert_eq!(keys.active, ActiveKey::EncryptKey);
    assert_eq!(exposed(keys.encrypt_key.as_ref()), KEY.1);
    assert_eq!(keys.dek_tag.name(), "mine");
    assert_eq!(keys.legacy_zero_key, Permission::Allow);
    let fifty = NonZeroU32::new(50).expect("it is not zero");
    assert_eq!(limits.requests_per_second, Bound::At(fifty));
    assert_eq!(limits.throttle_wait, Duration::from_secs(10));
    assert_eq!(log.level, LogLevel::Debug);
}

#[test]
fn keys_that_are_not_configured_are_refused_wherever_they_are_named() {
    let text = "[keys]\nactive = \"vault:transit/other\"\n\
                [[keys.local]]\nlabel = \"archive\"\nkey = \"correct horse battery\"\n\
                [[rules]]\nkey = \"archives\"\n\
                [[rules]]\nkey = \"archive\"\n\
                [[rules]]\nkey = \"local:0011223344556677\"\n";
    let (_folder, path) = file(text);
    let problems = refusal(&["--no-tls", "--config", &path], &[]).to_string();
    let expected = "available: archive";
    assert_eq!(problems.matches(expected).count(), 2, "{problems}");
    for setting in ["keys.active", "rules[0].key"] {
        assert!(problems.contains(setting), "{problems}");
    }
}

#[test]
fn a_key_that_is_given_and_wrong_is_not_told_of_as_missing_where_it_is_named() {
    let (_folder, path) =
        file("[[keys.local]]\nlabel = \"archive\"\n[[rules]]\nkey = \"archive\"\n");
    let problems = refusal(&["--no-tls", "--config", &path], &[KEY]).to_string();
    assert!(problems.contains("keys.local[0].key"), "{problems}");
    assert!(!problems.contains("unknown key"), "{problems}");
}

#[test]
fn every_default_is_valid() {
    let config = load(&["--no-tls"], &[KEY]).config;
    assert_eq!(config.listen.address.to_string(), "0.0.0.0:4433");
    assert_eq!(config.listen.tls, Tls::Off);
    assert_eq!(config.backend.endpoint, Endpoint::ByHostName);
    assert_eq!(config.backend.region, "eu-west-1");
    assert!(config.backend.connection_idle < Duration::from_secs(5));
    assert!(config.listen.idle_timeout > Duration::from_mins(1));
    assert_eq!(config.limits.requests_per_second, Bound::Off);
    assert_eq!(config.limits.client_requests_in_flight, Bound::Off);
    assert_eq!(config.limits.body_memory_bytes, 48 << 20);
    assert_eq!(config.policy.state_prefix, ".s3proxy/");
    assert_eq!(config.policy.state_bucket, StateBucket::Same);
    assert_eq!(config.keys.legacy_zero_key, Permission::Deny);
}

#[test]
fn flags_come_before_the_environment_and_the_environment_before_the_file() {
    let (_folder, path) = file("[backend]\nregion = \"file-1\"\n");
    let region = |arguments: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["--config", &path], arguments].concat();
        let environment = [&[KEY, PLAIN_HTTP], environment].concat();
        load(&arguments, &environment).config.backend.region
    };
    let aws = ("AWS_REGION", "aws-1");
    let own = ("S3PROXY_REGION", "own-1");
    assert_eq!(region(&[], &[]), "file-1");
    assert_eq!(region(&[], &[aws]), "aws-1");
    assert_eq!(region(&[], &[aws, own]), "own-1");
    assert_eq!(region(&["--region", "flag-1"], &[aws, own]), "flag-1");
    assert_eq!(
        region(
            &["--region", "flag-1", "--set", "backend.region=set-1"],
            &[aws]
        ),
        "set-1"
    );
}

#[test]
fn the_command_may_choose_other_defaults_and_users_still_come_first() {
    let dev = |arguments: &[&str]| {
        let sources = sources(arguments, &[]).preset("listen.tls", "off");
        let sources = sources
            .preset("listen.ip", "127.0.0.1")
            .preset("keys.encrypt_key", "development");
        config::load(sources)
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config
    };
    assert_eq!(dev(&[]).listen.address.to_string(), "127.0.0.1:4433");
    assert_eq!(exposed(dev(&[]).keys.encrypt_key.as_ref()), "development");
    assert_eq!(
        dev(&["--ip", "::1"]).listen.address.to_string(),
        "[::1]:4433"
    );
}

#[test]
fn secrets_may_stand_in_files_of_their_own() {
    let (folder, path) = file("");
    let secret = folder.path().join("secret");
    fs::write(&secret, "kept as it is\r\n").unwrap();
    let secret = secret.to_str().unwrap();
    let text =
        format!("[keys]\nencrypt_key_file = \"{secret}\"\ndecrypt_keys = [\"a,b\", \"c\"]\n");
    fs::write(&path, text).unwrap();
    let from_file = load(&["--config", &path, "--no-tls"], &[]).config.keys;
    assert_eq!(exposed(from_file.encrypt_key.as_ref()), "kept as it is");
    let others: Vec<_> = from_file
        .decrypt_keys
        .iter()
        .map(SecretText::expose)
        .collect();
    assert_eq!(others, ["a,b", "c"]);
    let from_variable = load(&["--no-tls"], &[("S3PROXY_ENCRYPT_KEY_FILE", secret)])
        .config
        .keys;
    assert_eq!(exposed(from_variable.encrypt_key.as_ref()), "kept as it is");
}

#[test]
fn clients_and_grants_come_from_the_file() {
    let (_folder, path) = file(
        r#"
        [[clients.known]]
        access_key_id = "ALL"
        secret_access_key = "one"

        [[clients.known]]
        name = "reports"
        access_key_id = "REPORTS"
        secret_access_key = "two"
        session_token = "token"

        [[clients.known.grants]]
        operations = ["read", "list"]
        buckets = ["reports-*"]

        [[clients.known.grants]]
        operations = ["write"]
        buckets = ["inbox"]
        prefixes = ["reports/"]
        "#,
    );
    let config = load(&["--config", &path], &[KEY, PLAIN_HTTP]).config;
    let Authentication::SigV4 {
        known: KnownClients::List(clients),
    } = config.clients.authentication
    else {
        panic!("clients are listed");
    };
    let [all, reports] = clients.as_slice() else {
        panic!("two of them")
    };
    assert_eq!(
        (all.name.as_str(), all.secret_access_key.expose()),
        ("ALL", "one")
    );
    assert!(matches!(all.session_token, SessionToken::Absent));
    let [everything] = all.grants.as_slice() else {
        panic!("one grant is implied")
    };
    assert_eq!(everything.operations.len(), 5);
    assert!(everything.buckets[0].matches("any") && everything.prefixes[0].covers("any"));
    assert_eq!(reports.name, "reports");
    assert!(matches!(&reports.session_token, SessionToken::Required(t) if t.expose() == "token"));
    let [read, write] = reports.grants.as_slice() else {
        panic!("two grants")
    };
    assert_eq!(
        read.operations.iter().collect::<Vec<_>>(),
        [&Access::Read, &Access::List]
    );
    assert!(read.buckets[0].matches("reports-2026") && !read.buckets[0].matches("inbox"));
    assert!(write.prefixes[0].covers("reports/x") && !write.prefixes[0].covers("other"));
}

#[test]
fn all_errors_are_reported_at_once_with_place_and_remedy() {
    let (folder, path) = file(
        r#"
[listen]
port = 70000
idle_timeout = "75"
colour = "red"

[backend]
host = "https://user:hidden-word@s3.example.com"
retry_atempts = 5
retry_base_delay = "10s"
client_certificate = "DIR/absent.pem"

[keys]
encrypt_key = ""
decrypt_keys = "s3pk1.hidden,s3pk1.hidden"

[policy]
metadata = "sealed"
listing = ["exact"]
state_prefix = "s3proxy"

[limits]
held_body = "2 MiB"
body_memory = 1

[[clients.known]]
access_key_id = "A"
secret_access_key = "x"

[[clients.known]]
access_key_id = "A"
secret_acess_key = "x"

[[clients.known]]
access_key_id = "A"
secret_access_key_file = "DIR/absent"

[[clients.known.grants]]
operations = ["read", "fly"]
buckets = []
"#,
    );
    let directory = folder.path().to_str().unwrap();
    let text = fs::read_to_string(&path).unwrap().replace("DIR", directory);
    fs::write(&path, text).unwrap();
    let problems = refusal(
        &[
            "--config",
            &path,
            "--cert",
            directory,
            "--level",
            "loud",
            "--kms",
            "key-service:9000",
        ],
        &[
            ("S3PROXY_LISTEN_DRAIN_DELAY", "-1s"),
            ("S3PROXY_LISTEN_TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.0/64"),
            ("S3PROXY_POLICY_MULTIPART", "forward"),
            ("S3PROXY_BACKEND_SECRET_ACCESS_KEY", "hidden"),
            ("S3PROXY_ENCRPYT_KEY", "hidden"),
        ],
    )
    .to_string();
    assert!(!problems.contains("hidden"), "{problems}");
    insta::assert_snapshot!(without(folder.path(), &problems));
}

#[test]
fn the_example_of_the_reference_is_valid_but_for_the_secrets_that_are_not_here() {
    let page = reference::markdown();
    let (_, example) = page.split_once("```toml\n").expect("there is an example");
    let (example, _) = example.split_once("```").expect("it has an end");
    let (_folder, path) = file(example);
    let problems = refusal(&["--config", &path], &[]).to_string();
    let (_, problems) = problems
        .split_once('\n')
        .expect("the problems follow their number");
    assert_eq!(problems.lines().count(), 2, "{problems}");
    assert!(
        problems
            .lines()
            .all(|line| line.contains("cannot read /run/secrets/")),
        "{problems}"
    );
}

#[test]
fn a_missing_key_says_how_to_give_one() {
    insta::assert_snapshot!(refusal(&["--no-tls"], &[]).to_string());
}

#[test]
fn a_syntax_error_has_its_line_and_quotes_nothing() {
    let (folder, path) = file("[keys]\nencrypt_key = \"hidden\n");
    let problems = refusal(&["--config", &path], &[KEY, PLAIN_HTTP]).to_string();
    assert!(!problems.contains("hidden"), "{problems}");
    insta::assert_snapshot!(without(folder.path(), &problems));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let problems = refusal(
        &["--config", "/nonexistent/s3proxy.toml"],
        &[KEY, PLAIN_HTTP],
    );
    assert!(
        problems
            .to_string()
            .contains("cannot read /nonexistent/s3proxy.toml"),
        "{problems}"
    );
}

#[test]
fn a_secret_is_refused_on_the_command_line_and_not_repeated() {
    let problems = refusal(&["--set", "keys.encrypt_key=hidden", "--no-tls"], &[KEY]).to_string();
    assert!(
        problems.contains("a secret cannot be given on the command line"),
        "{problems}"
    );
    assert!(!problems.contains("hidden"), "{problems}");
}

#[test]
fn a_secret_in_the_place_of_an_access_key_id_is_not_repeated() {
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let (_folder, path) = file(&format!(
        "[[clients.known]]\naccess_key_id = \"{SECRET}\"\nsecret_access_key = \"x\"\n"
    ));
    let refused = refusal(
        &["--config", &path],
        &[
            ("S3PROXY_BACKEND_ACCESS_KEY_ID", SECRET),
            ("S3PROXY_BACKEND_SECRET_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
        ],
    );
    let shown = refused.to_string();
    assert!(shown.contains("backend.access_key_id"), "{shown}");
    assert!(shown.contains("clients.known[0].access_key_id"), "{shown}");
    assert!(!shown.contains("wJalr"), "{shown}");
}

#[test]
fn a_secret_given_twice_is_an_error() {
    let environment = [KEY, ("S3PROXY_ENCRYPT_KEY_FILE", "/run/key"), PLAIN_HTTP];
    let problems = refusal(&[], &environment).to_string();
    assert!(problems.contains("keys.encrypt_key"), "{problems}");
    assert!(problems.contains("use one"), "{problems}");
}

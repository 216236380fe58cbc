//! Valid but surprising settings: they cause a warning, and the program starts.

use s3proxy::config::resolved::KeyBinding;

use super::*;

fn notices(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let environment = [&[KEY, PLAIN_HTTP, HOST], environment].concat();
    load(arguments, &environment)
        .notices
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_is_valid_and_surprising_is_a_warning() {
    let all = notices(
        &["--allow-multipart", "--auth", "none"],
        &[
            ("S3PROXY_DECRYPTION_FALLBACK", "true"),
            ("S3PROXY_HOSTS", "s3.example.com"),
        ],
    );
    insta::assert_snapshot!(all.join("\n"));
    assert_eq!(
        notices(&[], &[("S3PROXY_SERVICE_HOST", "10.0.0.1")]),
        [""; 0]
    );
}

#[test]
fn storing_what_is_not_served_is_a_warning() {
    let warnings = |reads: &str| {
        let text =
            format!("[policy]\nplaintext_reads = \"{reads}\"\n[[rules]]\nencryption = \"off\"\n");
        let (_folder, path) = file(&text);
        notices(&["--config", &path], &[]).join("\n")
    };
    assert!(warnings("deny").contains("cannot be read back"));
    assert_eq!(warnings("allow"), "");
}

#[test]
fn former_names_of_settings_count_and_are_a_warning() {
    let text = "[policy]\nbind = \"bucket-and-key\"\n[[rules]]\nbind = \"bucket-and-key\"\n\
                opens_bind = \"key\"\n";
    let (_folder, path) = file(text);
    let loaded = load(&["--config", &path], &[KEY, PLAIN_HTTP, HOST]);
    let policy = &loaded.config.policy;
    assert_eq!(policy.key_binding, KeyBinding::BucketAndKey);
    let rule = &loaded.config.rules[0];
    assert_eq!(rule.key_binding, Some(KeyBinding::BucketAndKey));
    assert_eq!(rule.opens_key_binding, Some(KeyBinding::Key));
    let told: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
    let now = |name, today| format!("{name} is now called {today}; the old name still works");
    assert_eq!(
        told,
        [
            now("policy.bind", "policy.key_binding"),
            now("rules[0].bind", "rules[0].key_binding"),
            now("rules[0].opens_bind", "rules[0].opens_key_binding"),
        ]
    );
    let set = ["--set", "policy.bind=bucket-and-key"];
    let told = notices(&set, &[]);
    assert_eq!(told, [now("policy.bind", "policy.key_binding")]);
    let both = "[policy]\nbind = \"key\"\nkey_binding = \"bucket-and-key\"\n";
    let (_folder, path) = file(both);
    refusal(&["--config", &path], &[KEY, PLAIN_HTTP, HOST]);
}

#[test]
fn a_file_with_secrets_that_others_may_read_is_a_warning() {
    let (_folder, path) = file("[keys]\ndecrypt_keys = [\"old\"]\n");
    assert_eq!(notices(&["--config", &path], &[]), [""; 0]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = notices(&["--config", &path], &[]);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("readable by other users of this machine"),
        "{warnings:?}"
    );
    fs::write(&path, "[backend]\nregion = \"eu-west-1\"\n").unwrap();
    assert_eq!(notices(&["--config", &path], &[]), [""; 0]);
}

#[test]
fn a_passphrase_is_a_warning_and_a_short_one_seals_only_where_that_is_asked_for() {
    let passphrase = |text: &'static str| ("S3PROXY_ENCRYPT_KEY", text);
    let warnings = |text: &'static str, allowed: &'static str| {
        let allowed = ("S3PROXY_KEYS_SHORT_PASSPHRASE", allowed);
        notices(&[], &[passphrase(text), allowed]).join("\n")
    };
    let told = warnings("correct horse", "deny");
    assert!(told.starts_with("keys.encrypt_key is a passphrase of 13 characters"));
    assert!(!told.contains("correct"));
    assert!(warnings("short", "allow").contains("of 5 characters"));
    let refused = refusal(&[], &[PLAIN_HTTP, HOST, passphrase("short")]).to_string();
    assert!(refused.contains("keys.short_passphrase"), "{refused}");
    assert!(!refused.contains("\"short\""), "{refused}");
}

#[test]
fn a_short_passphrase_may_open_what_is_there() {
    let decrypt = ("S3PROXY_KEYS_DECRYPT_KEYS", "toto");
    assert_eq!(notices(&[], &[decrypt]), [""; 0]);
    let (_folder, path) = file("[[keys.local]]\nlabel = \"old\"\nkey = \"toto\"\n");
    let told = notices(&["--config", &path], &[]).join("\n");
    assert!(told.starts_with("keys.local[0].key is a passphrase of 4 characters"));
    let (_folder, path) =
        file("[[keys.local]]\nlabel = \"old\"\nkey = \"toto\"\n[[rules]]\nkey = \"old\"\n");
    let refused = refusal(&["--config", &path], &[KEY, PLAIN_HTTP, HOST]).to_string();
    assert!(refused.contains("keys.local[0].key"), "{refused}");
}

#[test]
fn no_backend_is_a_warning_unless_it_is_asked_for() {
    let told = |arguments: &[&str], environment: &[(&str, &str)]| {
        let environment = [&[KEY, PLAIN_HTTP], environment].concat();
        let loaded = load(arguments, &environment);
        assert_eq!(loaded.config.backend.endpoint, Endpoint::ByHostName);
        let told = loaded.notices.iter().map(ToString::to_string);
        told.collect::<Vec<_>>().join("\n")
    };
    assert!(told(&[], &[]).starts_with("no backend is configured"));
    assert_eq!(told(&["--backend", "aws"], &[]), "");
    assert_eq!(told(&[], &[("S3PROXY_HOST", "aws")]), "");
    let elsewhere = ("AWS_ENDPOINT_URL", "http://minio:9000");
    assert!(told(&[], &[elsewhere]).contains("AWS_ENDPOINT_URL is set"));
}

#[test]
fn a_region_that_aws_does_not_have_is_a_warning_towards_aws() {
    let region = ("S3PROXY_REGION", "eu-west-11");
    assert_eq!(notices(&[], &[region]), [""; 0]);
    let aws = ("S3PROXY_HOST", "s3.eu-west-1.amazonaws.com");
    let told = notices(&[], &[region, aws]).join("\n");
    assert!(told.contains("did you mean eu-west-1"), "{told}");
    assert_eq!(notices(&[], &[aws]), [""; 0]);
}

#[test]
fn version_2_of_the_signature_is_a_warning_that_names_the_client() {
    let client = |settings: &str| {
        let (_folder, path) = file(&format!(
            "[[clients.known]]\nname = \"archive\"\naccess_key_id = \"A\"\n\
             secret_access_key = \"a long secret\"\n{settings}\n"
        ));
        notices(&["--config", &path], &[]).join("\n")
    };
    assert_eq!(client(""), "");
    assert_eq!(client("signature_v2 = \"deny\""), "");
    let told = client("signature_v2 = \"allow\"");
    assert!(
        told.starts_with("clients.known[].signature_v2 is allow for the client \"archive\""),
        "{told}"
    );
}

//! What is valid and surprising: it is told, and does not keep the program from starting.

use super::*;

fn notices(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let environment = [&[KEY, PLAIN_HTTP], environment].concat();
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
fn a_file_with_secrets_that_others_may_read_is_a_warning() {
    let (_folder, path) = file("[keys]\ndecrypt_keys = [\"old\"]\n");
    assert_eq!(notices(&["--config", &path], &[]), [""; 0]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = notices(&["--config", &path], &[]);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("every user of this machine may read it"),
        "{warnings:?}"
    );
    fs::write(&path, "[backend]\nregion = \"eu-west-1\"\n").unwrap();
    assert_eq!(notices(&["--config", &path], &[]), [""; 0]);
}

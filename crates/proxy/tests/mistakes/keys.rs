//! Keys and key files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::runner::Answer::{self, Fine, Refused, Warned};
use crate::runner::{Mistake, answers, folder_of, judge, program, told};

const fn key(
    name: &'static str,
    answer: Answer,
    set: &'static [(&'static str, &'static str)],
) -> Mistake {
    Mistake::new(name, answer).set(set)
}

const fn file(
    name: &'static str,
    answer: Answer,
    content: &'static [(&'static str, &'static str)],
) -> Mistake {
    Mistake::new(name, answer)
        .set(&[
            ("S3PROXY_ENCRYPT_KEY", ""),
            ("S3PROXY_ENCRYPT_KEY_FILE", "DIR/key"),
        ])
        .files(content)
}

const GENERATED: &str = "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE";

pub(crate) const ROWS: &[Mistake] = &[
    key(
        "in quotes",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "\"s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE\"",
        )],
    ),
    key(
        "in single quotes",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "'s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE'",
        )],
    ),
    key(
        "with a byte order mark",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "\u{feff}s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE",
        )],
    ),
    key(
        "with a line break",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE\n",
        )],
    ),
    key(
        "with a blank before it",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            " s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE",
        )],
    ),
    key(
        "with a line break inside",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "s3pk1.dGhpcnR5LXR3byBieXRl\ncyBmb3IgYSB0ZXN0IGtleSE",
        )],
    ),
    key(
        "cut off",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "s3pk1.dGhpcnR5LXR3byBieXRl")],
    ),
    key(
        "with a comment",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE # mine",
        )],
    ),
    key(
        "with its variable's name",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "KEY=s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE",
        )],
    ),
    key(
        "in capitals",
        Refused,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "S3PK1.DGHPCNR5LXR3BYBIEXRLCYBMB3IGYSB0ZXN0IGTLESE",
        )],
    ),
    key(
        "twice in one line",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "s3pk1.dGhpcnR5,s3pk1.dGhpcnR5")],
    ),
    key(
        "a path",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "/run/secrets/key")],
    ),
    key(
        "a relative path",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "./key")],
    ),
    key(
        "a file's name",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "master.key")],
    )
    .files(&[("master.key", GENERATED)]),
    key(
        "an expression of the shell's",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "$(cat key)")],
    ),
    key(
        "a variable that nothing expanded",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "${KEY}")],
    ),
    key("one letter", Refused, &[("S3PROXY_ENCRYPT_KEY", "a")]),
    key("three letters", Refused, &[("S3PROXY_ENCRYPT_KEY", "abc")]),
    key(
        "three letters, on purpose",
        Warned,
        &[
            ("S3PROXY_ENCRYPT_KEY", "abc"),
            ("S3PROXY_KEYS_SHORT_PASSPHRASE", "allow"),
        ],
    ),
    key(
        "the word password",
        Warned,
        &[("S3PROXY_ENCRYPT_KEY", "password")],
    ),
    key(
        "random base64",
        Warned,
        &[(
            "S3PROXY_ENCRYPT_KEY",
            "RNDtextOf32BytesInBase64ThatAShellMade/abcd=",
        )],
    ),
    key(
        "a passphrase in quotes",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "\"the-secret passphrase\"")],
    ),
    key(
        "a passphrase with a line break",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY", "the-secret passphrase\n")],
    ),
    key(
        "given twice",
        Refused,
        &[("S3PROXY_ENCRYPT_KEY_FILE", "/run/secrets/key")],
    ),
    key(
        "an older one in quotes",
        Refused,
        &[("S3PROXY_KEYS_DECRYPT_KEYS", "\"the-secret passphrase\"")],
    ),
    key(
        "an older one that is short",
        Fine,
        &[("S3PROXY_KEYS_DECRYPT_KEYS", "toto")],
    ),
    key(
        "older ones with a comma",
        Refused,
        &[("S3PROXY_KEYS_DECRYPT_KEYS", "s3pk1.dGhpcnR5,s3pk1.dGhpcnR5")],
    ),
    key(
        "the same as an older one",
        Refused,
        &[("S3PROXY_KEYS_DECRYPT_KEYS", GENERATED)],
    ),
    file("file: it is not there", Refused, &[]),
    file("file: it is empty", Refused, &[("key", "")]),
    file("file: it is a line break", Refused, &[("key", "\n")]),
    file(
        "file: lines of Windows",
        Fine,
        &[(
            "key",
            "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE\r\n",
        )],
    ),
    file(
        "file: a byte order mark",
        Refused,
        &[(
            "key",
            "\u{feff}s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE\r\n",
        )],
    ),
    file(
        "file: two line breaks",
        Refused,
        &[(
            "key",
            "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE\n\n",
        )],
    ),
    Mistake::new("file: it is a folder", Refused).set(&[
        ("S3PROXY_ENCRYPT_KEY", ""),
        ("S3PROXY_ENCRYPT_KEY_FILE", "DIR"),
    ]),
    Mistake::new("recover: the key file is damaged", Refused)
        .typed(&[
            "recover",
            "--stored",
            "DIR/object",
            "--envelope",
            "s3p1.AA",
            "--bucket",
            "b",
            "--key",
            "k",
            "--kek-file",
            "DIR/key",
            "--out",
            "DIR/out",
        ])
        .files(&[
            (
                "key",
                "\"s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE\"",
            ),
            ("object", "x"),
        ]),
    Mistake::new("dev: the key file is broken", Refused)
        .typed(&["dev", "DIR"])
        .files(&[("key", "broken"), ("secret", "s")]),
];

#[test]
fn keys() {
    insta::assert_snapshot!(answers(ROWS));
}

#[test]
fn files_with_secrets_that_others_can_read_are_warned_of() {
    let folder = folder_of(&[("key", GENERATED), ("secret", "the-secret")]);
    let path = |name: &str| folder.path().join(name);
    let checked = || {
        let output = program(folder.path())
            .args([
                "check-config",
                "--no-tls",
                "--backend",
                "http://127.0.0.1:9",
            ])
            .env("S3PROXY_ENCRYPT_KEY_FILE", path("key"))
            .env("S3PROXY_BACKEND_ACCESS_KEY_ID", "AKIAEXAMPLE")
            .env("S3PROXY_BACKEND_SECRET_ACCESS_KEY_FILE", path("secret"))
            .output()
            .unwrap();
        let told = told(&output, folder.path());
        (output, told)
    };
    let (output, quiet) = checked();
    judge("readable by their owner", Fine, &output, &quiet);
    for mode in [0o644, 0o666] {
        for name in ["key", "secret"] {
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let (output, told) = checked();
        judge("readable by others", Warned, &output, &told);
        for name in ["key", "secret"] {
            assert!(
                told.contains(&format!("run: chmod o-rwx DIR/{name}")),
                "{told}"
            );
        }
    }
}

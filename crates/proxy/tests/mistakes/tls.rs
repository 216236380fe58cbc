//! Certificates and private keys.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::runner::Answer::{self, Fine, Refused, Warned};
use crate::runner::{KEY, folder_of, judge, program, told};

struct Pair {
    certificate: String,
    key: String,
}

/// A certificate and key that are valid in these years.
fn pair(years: std::ops::Range<i32>) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["s3.example.com".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(years.start, 1, 1);
    parameters.not_after = date_time_ymd(years.end, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

type Make = fn(&Path);

fn write(folder: &Path, files: &[(&str, &str)]) {
    use std::os::unix::fs::PermissionsExt;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

const GOOD: std::ops::Range<i32> = 2020..2090;

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIBvTBXBgkqhkiG9w0BBQ0wSjAp\n\
    -----END ENCRYPTED PRIVATE KEY-----\n";

pub(crate) const ROWS: usize = TABLE.len();

const TABLE: &[(&str, Answer, Make)] = &[
    ("no files", Refused, |_| {}),
    ("a certificate without its key", Refused, |folder| {
        write(folder, &[("s3proxy.crt", &pair(GOOD).certificate)]);
    }),
    ("certificate and key of two pairs", Refused, |folder| {
        let (one, other) = (pair(GOOD), pair(GOOD));
        write(
            folder,
            &[
                ("s3proxy.crt", &one.certificate),
                ("s3proxy.key", &other.key),
            ],
        );
    }),
    ("no PEM", Refused, |folder| {
        write(
            folder,
            &[("s3proxy.crt", "garbage"), ("s3proxy.key", "garbage")],
        );
    }),
    ("no PEM in the key alone", Refused, |folder| {
        write(
            folder,
            &[
                ("s3proxy.crt", &pair(GOOD).certificate),
                ("s3proxy.key", "garbage"),
            ],
        );
    }),
    ("the two swapped", Refused, |folder| {
        let Pair { certificate, key } = pair(GOOD);
        write(
            folder,
            &[("s3proxy.crt", &key), ("s3proxy.key", &certificate)],
        );
    }),
    ("an encrypted key", Refused, |folder| {
        write(
            folder,
            &[
                ("s3proxy.crt", &pair(GOOD).certificate),
                ("s3proxy.key", ENCRYPTED),
            ],
        );
    }),
    ("an empty certificate", Refused, |folder| {
        write(
            folder,
            &[("s3proxy.crt", ""), ("s3proxy.key", &pair(GOOD).key)],
        );
    }),
    ("a certificate that has expired", Warned, |folder| {
        let Pair { certificate, key } = pair(2020..2021);
        write(
            folder,
            &[("s3proxy.crt", &certificate), ("s3proxy.key", &key)],
        );
    }),
    ("a certificate that is not valid yet", Warned, |folder| {
        let Pair { certificate, key } = pair(2089..2090);
        write(
            folder,
            &[("s3proxy.crt", &certificate), ("s3proxy.key", &key)],
        );
    }),
    ("the names of a Kubernetes secret", Fine, |folder| {
        let Pair { certificate, key } = pair(GOOD);
        write(folder, &[("tls.crt", &certificate), ("tls.key", &key)]);
    }),
    ("a key that others can read", Warned, |folder| {
        use std::os::unix::fs::PermissionsExt;
        let Pair { certificate, key } = pair(GOOD);
        write(
            folder,
            &[("s3proxy.crt", &certificate), ("s3proxy.key", &key)],
        );
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(folder.join("s3proxy.key"), open).unwrap();
    }),
];

fn check(folder: &Path, certificates: &Path) -> std::process::Output {
    program(folder)
        .args(["check-config", "--backend", "http://127.0.0.1:9", "--cert"])
        .arg(certificates)
        .env("S3PROXY_ENCRYPT_KEY", KEY)
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-backend")
        .output()
        .unwrap()
}

#[test]
fn tls() {
    let mut answers = String::new();
    for (name, answer, make) in TABLE {
        let folder = folder_of(&[]);
        make(folder.path());
        let output = check(folder.path(), folder.path());
        let told = told(&output, folder.path());
        judge(name, *answer, &output, &told);
        write!(answers, "## {name}\n\n{told}\n").unwrap();
    }
    let folder = folder_of(&[("s3proxy.crt", "")]);
    let output = check(folder.path(), &folder.path().join("s3proxy.crt"));
    let told = told(&output, folder.path());
    judge("a file in place of the folder", Refused, &output, &told);
    write!(answers, "## a file in place of the folder\n\n{told}\n").unwrap();
    insta::assert_snapshot!(answers);
}

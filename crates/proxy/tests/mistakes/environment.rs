//! Environment variables.

use crate::runner::Answer::{Fine, Refused, Warned};
use crate::runner::{Mistake, answers};

const fn row(name: &'static str, answer: crate::runner::Answer) -> Mistake {
    Mistake::new(name, answer)
}

pub(crate) const ROWS: &[Mistake] = &[
    row("nothing is set", Refused).set(&[
        ("S3PROXY_HOST", ""),
        ("S3PROXY_ENCRYPT_KEY", ""),
        ("S3PROXY_LISTEN_TLS", ""),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ]),
    row("the key's variable has another name", Refused).set(&[
        ("S3PROXY_ENCRYPT_KEY", ""),
        ("S3PROXY_ENCRYPTION_KEY", "the-secret"),
    ]),
    row("the key file's variable has another name", Refused).set(&[
        ("S3PROXY_ENCRYPT_KEY", ""),
        ("S3PROXY_ENCRYPTION_KEY_PATH", "/run/key"),
    ]),
    row(
        "the key is a passphrase in a variable of that name",
        Refused,
    )
    .set(&[
        ("S3PROXY_ENCRYPT_KEY", ""),
        ("S3PROXY_PASSPHRASE", "the-secret"),
    ]),
    row("a typo in the key's variable", Refused).set(&[
        ("S3PROXY_ENCRYPT_KEY", ""),
        ("S3PROXY_ENCRPYT_KEY", "the-secret"),
    ]),
    row("the backend by the name of its flag", Fine).set(&[
        ("S3PROXY_HOST", ""),
        ("S3PROXY_BACKEND", "http://127.0.0.1:9"),
    ]),
    row("the backend by the path of its setting", Fine).set(&[
        ("S3PROXY_HOST", ""),
        ("S3PROXY_BACKEND_HOST", "http://127.0.0.1:9"),
    ]),
    row("the backend by two names and two values", Refused)
        .set(&[("S3PROXY_BACKEND", "http://127.0.0.1:10")]),
    row("the backend as an endpoint", Warned).set(&[
        ("S3PROXY_HOST", ""),
        ("S3PROXY_ENDPOINT", "http://127.0.0.1:9"),
    ]),
    row("the backend as AWS's clients have it", Warned).set(&[
        ("S3PROXY_HOST", ""),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ]),
    row("no backend", Warned).set(&[("S3PROXY_HOST", "")]),
    row("no backend, on purpose", Fine).set(&[("S3PROXY_HOST", "aws")]),
    row("plain HTTP by another name", Warned).set(&[("S3PROXY_NO_TLS", "1")]),
    row("the listening address in one variable", Warned).set(&[("S3PROXY_LISTEN", "0.0.0.0:8080")]),
    row("the credential by short names", Warned).set(&[("S3PROXY_SECRET_KEY", "the-secret")]),
    row("the certificate by other names", Warned).set(&[("S3PROXY_TLS_CERT", "/certs/tls.crt")]),
    row("the log's level by another name", Warned).set(&[("S3PROXY_LEVEL", "debug")]),
    row("the metrics' port by another name", Warned).set(&[("S3PROXY_METRICS_PORT", "9090")]),
    row("the file by another name", Warned).set(&[("S3PROXY_CONFIG_FILE", "/etc/s3proxy.toml")]),
    row("a variable of nobody's", Warned).set(&[("S3PROXY_COLOUR", "red")]),
    row("a backend with a slash at its end", Fine).set(&[("S3PROXY_HOST", "http://127.0.0.1:9/")]),
    row("a backend with a path", Refused).set(&[("S3PROXY_HOST", "http://127.0.0.1:9/bucket")]),
    row("a backend as s3://", Refused).set(&[("S3PROXY_HOST", "s3://bucket")]),
    row("a backend with a port that is none", Refused)
        .set(&[("S3PROXY_HOST", "http://127.0.0.1:99999")]),
    row("a backend with a credential", Refused)
        .set(&[("S3PROXY_HOST", "http://user:the-secret@127.0.0.1:9")]),
    row("a backend with white space", Refused).set(&[("S3PROXY_HOST", "http://127.0.0.1:9 ")]),
    row("a backend in quotes", Refused).set(&[("S3PROXY_HOST", "\"http://127.0.0.1:9\"")]),
    row("a backend as IPv6 without brackets", Refused).set(&[("S3PROXY_HOST", "http://::1:9")]),
    row("a backend that is the proxy", Refused).set(&[("S3PROXY_HOST", "http://127.0.0.1:4433")]),
    row("a backend that is the proxy by name", Refused)
        .set(&[("S3PROXY_HOST", "https://localhost:4433")]),
    row("a backend that is the admin port", Refused).set(&[
        ("S3PROXY_HOST", "http://127.0.0.1:9090"),
        ("S3PROXY_LISTEN_ADMIN", "127.0.0.1:9090"),
    ]),
    row("a region as people write it", Refused).set(&[("S3PROXY_REGION", "EU (Ireland)")]),
    row("a region that AWS does not have", Warned).set(&[
        ("S3PROXY_HOST", "s3.eu-west-1.amazonaws.com"),
        ("S3PROXY_REGION", "mars-1"),
    ]),
    row("a region of another server's", Fine).set(&[("S3PROXY_REGION", "mars-1")]),
    row("a port in words", Refused).set(&[("S3PROXY_LISTEN_PORT", "abc")]),
    row("a port that is none", Refused).set(&[("S3PROXY_LISTEN_PORT", "99999")]),
    row("a port with a colon", Refused).set(&[("S3PROXY_LISTEN_PORT", ":8080")]),
    row("a name to listen on", Refused).set(&[("S3PROXY_IP", "localhost")]),
    row("an admin port without an address", Refused).set(&[("S3PROXY_LISTEN_ADMIN", ":9090")]),
    row("an admin port alone", Refused).set(&[("S3PROXY_LISTEN_ADMIN", "9090")]),
    row("an admin port that is the proxy's", Refused)
        .set(&[("S3PROXY_LISTEN_ADMIN", "0.0.0.0:4433")]),
    row("no credential", Refused).set(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]),
    row("half of AWS's credential", Refused).set(&[("AWS_SECRET_ACCESS_KEY", "")]),
    row("the other half of AWS's credential", Refused).set(&[("AWS_ACCESS_KEY_ID", "")]),
    row("half of the proxy's credential", Refused)
        .set(&[("S3PROXY_BACKEND_ACCESS_KEY_ID", "AKIAEXAMPLE")]),
    row("the other half of the proxy's credential", Refused)
        .set(&[("S3PROXY_BACKEND_SECRET_ACCESS_KEY", "the-secret")]),
    row("a profile that is not there", Refused).set(&[
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_PROFILE", "nope"),
    ]),
    row("a line break after AWS's secret", Refused)
        .set(&[("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-backend\n")]),
    row("a line break after the proxy's secret", Refused).set(&[
        ("S3PROXY_BACKEND_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("S3PROXY_BACKEND_SECRET_ACCESS_KEY", "the-secret\n"),
    ]),
    row("the secret in the place of the id", Refused).set(&[
        ("S3PROXY_BACKEND_ACCESS_KEY_ID", "the-secret/of+the=backend"),
        ("S3PROXY_BACKEND_SECRET_ACCESS_KEY", "AKIAEXAMPLE"),
    ]),
    row("a role that nobody could sign with", Refused).set(&[
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/s3proxy"),
    ]),
    row("no authentication", Warned).set(&[("S3PROXY_CLIENTS_AUTH", "none")]),
    row("authentication of another name", Refused).set(&[("S3PROXY_CLIENTS_AUTH", "basic")]),
    row("a switch that is neither on nor off", Refused).set(&[("S3PROXY_LISTEN_TLS", "maybe")]),
    row("yes for a policy", Fine).set(&[("S3PROXY_POLICY_PLAINTEXT_READS", "no")]),
    row("a time without a unit", Refused).set(&[("S3PROXY_LISTEN_IDLE_TIMEOUT", "75")]),
    row("a size without a unit", Refused).set(&[("S3PROXY_LIMITS_BODY_MEMORY", "48")]),
    row("a size in other units", Refused).set(&[("S3PROXY_LIMITS_BODY_MEMORY", "48MB")]),
    row("an audit log in a folder that is not there", Refused)
        .set(&[("S3PROXY_AUDIT_OUTPUT", "DIR/absent/audit.log")]),
    row("authorities from a file that holds none", Refused)
        .set(&[("S3PROXY_BACKEND_CA_FILE", "DIR/ca.pem")])
        .files(&[("ca.pem", "nothing")]),
];

#[test]
fn environment() {
    insta::assert_snapshot!(answers(ROWS));
}

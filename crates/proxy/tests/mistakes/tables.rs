//! The configuration file.

use crate::runner::Answer::{self, Fine, Refused, Warned};
use crate::runner::{Mistake, answers};

const fn row(
    name: &'static str,
    answer: Answer,
    file: &'static [(&'static str, &'static str)],
) -> Mistake {
    Mistake::new(name, answer)
        .typed(&["--config", "DIR/s3proxy.toml"])
        .files(file)
}

pub(crate) const ROWS: &[Mistake] = &[
    row(
        "an open quote",
        Refused,
        &[("s3proxy.toml", "[keys]\nencrypt_key = \"the-secret\n")],
    ),
    row(
        "an open quote, and the key nowhere else",
        Refused,
        &[("s3proxy.toml", "[keys]\nencrypt_key = \"the-secret\n")],
    )
    .set(&[("S3PROXY_ENCRYPT_KEY", ""), ("S3PROXY_LISTEN_TLS", "")]),
    row(
        "YAML",
        Refused,
        &[("s3proxy.toml", "listen:\n  port: 8080\n")],
    )
    .set(&[("S3PROXY_ENCRYPT_KEY", ""), ("S3PROXY_LISTEN_TLS", "")]),
    row(
        "JSON",
        Refused,
        &[("s3proxy.toml", "{\"listen\": {\"port\": 8080}}")],
    ),
    row("a file that is not there", Refused, &[])
        .set(&[("S3PROXY_ENCRYPT_KEY", ""), ("S3PROXY_LISTEN_TLS", "")]),
    Mistake::new("a folder as the file", Refused).typed(&["--config", "DIR"]),
    row(
        "an unknown field",
        Refused,
        &[("s3proxy.toml", "[listen]\ncolour = \"red\"\n")],
    ),
    row(
        "a typo in a field",
        Refused,
        &[("s3proxy.toml", "[listen]\nidle_timout = \"75s\"\n")],
    ),
    row(
        "a field in the wrong table",
        Refused,
        &[("s3proxy.toml", "[listen]\nregion = \"eu-west-1\"\n")],
    ),
    row(
        "an unknown table",
        Refused,
        &[("s3proxy.toml", "[server]\nport = 8080\n")],
    ),
    row(
        "a typo in a table",
        Refused,
        &[("s3proxy.toml", "[polices]\nbind = \"key\"\n")],
    ),
    row(
        "a field without a table",
        Refused,
        &[("s3proxy.toml", "port = 8080\n")],
    ),
    row(
        "a field twice",
        Refused,
        &[("s3proxy.toml", "[listen]\nport = 1\nport = 2\n")],
    ),
    row(
        "names of the environment",
        Refused,
        &[("s3proxy.toml", "S3PROXY_LISTEN_PORT = 8080\n")],
    ),
    row(
        "a port as text with words",
        Refused,
        &[("s3proxy.toml", "[listen]\nport = \"http\"\n")],
    ),
    row(
        "a list where one is due",
        Refused,
        &[("s3proxy.toml", "[policy]\nlisting = [\"exact\"]\n")],
    ),
    row(
        "a time without its unit",
        Refused,
        &[("s3proxy.toml", "[listen]\nidle_timeout = 75\n")],
    ),
    row(
        "a boolean for a choice of yes and no",
        Fine,
        &[("s3proxy.toml", "[policy]\nplaintext_reads = false\n")],
    ),
    row(
        "a single table for the clients",
        Refused,
        &[(
            "s3proxy.toml",
            "[clients.known]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\"\n",
        )],
    ),
    row(
        "a client without a secret",
        Refused,
        &[("s3proxy.toml", "[[clients.known]]\naccess_key_id = \"A\"\n")],
    ),
    row(
        "two clients with one access key",
        Refused,
        &[(
            "s3proxy.toml",
            "[[clients.known]]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\"\n[[clients.known]]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\"\n",
        )],
    ),
    row(
        "a client's secret with a line break",
        Refused,
        &[(
            "s3proxy.toml",
            "[[clients.known]]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\\n\"\n",
        )],
    ),
    row(
        "an operation that no grant has",
        Refused,
        &[(
            "s3proxy.toml",
            "[[clients.known]]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\"\n[[clients.known.grants]]\noperations = [\"GetObject\"]\n",
        )],
    ),
    row(
        "a grant of nothing",
        Refused,
        &[(
            "s3proxy.toml",
            "[[clients.known]]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\"\n[[clients.known.grants]]\nbuckets = []\n",
        )],
    ),
    row(
        "clients and no authentication",
        Refused,
        &[(
            "s3proxy.toml",
            "[clients]\nauth = \"none\"\n[[clients.known]]\naccess_key_id = \"A\"\nsecret_access_key = \"hidden\"\n",
        )],
    ),
    row(
        "a rule with an unknown key",
        Refused,
        &[(
            "s3proxy.toml",
            "[[rules]]\nbuckets = [\"a\"]\nkey = \"nolabel\"\n",
        )],
    ),
    row(
        "an active key that is not there",
        Refused,
        &[(
            "s3proxy.toml",
            "[keys]\nactive = \"vault:transit/s3proxy\"\n",
        )],
    ),
    row(
        "a key without a label",
        Refused,
        &[(
            "s3proxy.toml",
            "[[keys.local]]\nkey = \"hidden passphrase\"\n",
        )],
    ),
    row(
        "a labelled key that is a passphrase",
        Warned,
        &[(
            "s3proxy.toml",
            "[[keys.local]]\nlabel = \"a\"\nkey = \"hidden passphrase\"\n",
        )],
    ),
    row(
        "a labelled key in quotes",
        Refused,
        &[(
            "s3proxy.toml",
            "[[keys.local]]\nlabel = \"a\"\nkey = '\"hidden passphrase\"'\n",
        )],
    ),
    row(
        "an older key in quotes, as it was",
        Fine,
        &[(
            "s3proxy.toml",
            "[keys]\ndecrypt_keys = ['\"hidden passphrase\"']\n",
        )],
    ),
    row(
        "the key twice, itself and as a file",
        Refused,
        &[
            (
                "s3proxy.toml",
                "[keys]\nencrypt_key = \"hidden passphrase\"\nencrypt_key_file = \"DIR/key\"\n",
            ),
            ("key", "hidden passphrase"),
        ],
    ),
    row(
        "what is stored and never served",
        Warned,
        &[(
            "s3proxy.toml",
            "[policy]\nplaintext_reads = \"deny\"\n[[rules]]\nencryption = \"off\"\n",
        )],
    ),
    row(
        "multipart uploads in the clear",
        Warned,
        &[(
            "s3proxy.toml",
            "[policy]\nmultipart = \"forward-plaintext\"\n",
        )],
    ),
    row(
        "the all-zero key",
        Warned,
        &[("s3proxy.toml", "[keys]\ndecryption_fallback = \"allow\"\n")],
    ),
    row(
        "a Vault key without a token",
        Refused,
        &[(
            "s3proxy.toml",
            "[[keys.vault]]\naddress = \"https://vault:8200\"\nkey = \"s3proxy\"\n",
        )],
    ),
    row(
        "a PKCS#11 module that is not there",
        Refused,
        &[(
            "s3proxy.toml",
            "[keys]\nactive = \"encrypt_key\"\n[[keys.pkcs11]]\nmodule = \"/usr/lib/absent.so\"\ntoken = \"t\"\nkey = \"k\"\npin = \"hidden\"\n",
        )],
    ),
];

#[test]
fn tables() {
    insta::assert_snapshot!(answers(ROWS));
}

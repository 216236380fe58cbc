//! Two tenants with a key each, and a backend that serves the objects of one to the other.
//!
//! Alice may use `tenant-a`, whose objects are sealed with the key `a`; Bob may use `tenant-b`,
//! with the key `b`; Carol uses `shared`, for which there is no rule. The backend sends Bob and
//! Carol the objects that it stores for Alice, under the same object key.

mod formats;
mod keys;
mod reads;
mod stolen;
mod uploads;
mod writing;

use std::fmt::Write;

use http::Method;
use s3proxy_envelope::kek::Kek;

use crate::harness::{ClientRequest, Credential, Proxy, ProxyBuilder};

const KEY: &str = "payroll.csv";
const BINDINGS: [&str; 2] = ["key", "bucket-and-key"];

/// The keys `a` and `b`: the values in settings and the names in envelopes.
struct Keys {
    a: (String, String),
    b: (String, String),
}

impl Keys {
    fn generate() -> Self {
        let key = || {
            let kek = Kek::generate();
            (kek.to_configured().to_string(), kek.local_name())
        };
        Self { a: key(), b: key() }
    }

    fn settings(&self) -> String {
        let mut settings = String::new();
        for (label, (key, _)) in [("a", &self.a), ("b", &self.b)] {
            write!(
                settings,
                "[[keys.local]]\nlabel = \"{label}\"\nkey = \"{key}\"\n"
            )
            .unwrap();
        }
        for (name, bucket) in [
            ("alice", "tenant-a"),
            ("bob", "tenant-b"),
            ("carol", "shared"),
        ] {
            write!(
                settings,
                "[[clients.known]]\nname = \"{name}\"\naccess_key_id = \"{name}\"\n\
                 secret_access_key = \"secret of {name}\"\n\
                 [[clients.known.grants]]\nbuckets = [\"{bucket}\"]\n"
            )
            .unwrap();
        }
        settings
    }
}

/// `tenant-a` and `tenant-b` with a rule each; `more` is added to both.
fn rules(more: &str) -> String {
    ["a", "b"].map(|label| rule(label, more)).concat()
}

fn rule(label: &str, more: &str) -> String {
    format!("[[rules]]\nbuckets = [\"tenant-{label}\"]\nkey = \"{label}\"\n{more}\n")
}

fn client(name: &str) -> Credential {
    Credential::new(name, &format!("secret of {name}"))
}

async fn start(keys: &Keys, rules: &str) -> Proxy {
    start_built(Proxy::builder(), keys, rules).await
}

async fn start_built(builder: ProxyBuilder, keys: &Keys, rules: &str) -> Proxy {
    let proxy = builder.file(&keys.settings()).file(rules).start().await;
    for bucket in ["tenant-a", "tenant-b", "shared"] {
        let create = ClientRequest::new(Method::PUT, format!("/{bucket}"));
        proxy.send_to_store(create).await.expect(200);
    }
    proxy
}

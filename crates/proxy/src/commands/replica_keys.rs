//! Query of running proxies, at their admin listeners, for the keys that requests in flight may
//! still seal under.
//!
//! A name that resolves to several addresses denotes as many proxies, such as a headless service of
//! Kubernetes. A proxy that does not respond counts as one that uses every key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, lookup_host};

use super::report::{counted, shown};
use crate::keys::in_use;

/// Longest response that is read, in bytes.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Time limit for one proxy.
const PATIENCE: Duration = Duration::from_secs(10);

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Queries all replicas. Returns a line for each reason why a key other than the `wanted` ones is
/// in use.
pub(super) async fn ask(replicas: &[String], wanted: &BTreeSet<String>) -> Vec<String> {
    let mut lines = Vec::new();
    for replica in replicas {
        let addresses = match lookup_host(replica.as_str()).await {
            Ok(addresses) => addresses.collect::<BTreeSet<SocketAddr>>(),
            Err(error) => {
                lines.push(unanswered(replica, &error));
                continue;
            }
        };
        for address in addresses {
            let asked = tokio::time::timeout(PATIENCE, keys_of(address)).await;
            match asked.unwrap_or_else(|_| Err("no answer in time".into())) {
                Ok(answer) => lines.extend(reasons(address, &answer, wanted)),
                Err(error) => lines.push(unanswered(&address.to_string(), &*error)),
            }
        }
    }
    lines
}

fn unanswered(replica: &str, error: &dyn std::fmt::Display) -> String {
    format!(
        "The proxy at {} cannot be asked for its keys ({}); give --replica the address of its \
         listen.admin.",
        shown(replica),
        shown(&error.to_string())
    )
}

async fn keys_of(address: SocketAddr) -> Result<Value, Fault> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(in_use::PATH)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answered {}", answer.status()).into());
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect();
        Ok(serde_json::from_slice(&body.await?.to_bytes())?)
    };
    let driving = async {
        match connection.await {
            // A clean end of the connection is no result: the response decides.
            Ok(()) => std::future::pending().await,
            Err(error) => Err(Fault::from(error)),
        }
    };
    tokio::select! {
        // The response wins if the connection ends at the same time.
        biased;
        answered = answering => answered,
        failed = driving => failed,
    }
}

/// Returns the reasons why other keys are in use at this proxy.
fn reasons(address: SocketAddr, answer: &Value, wanted: &BTreeSet<String>) -> Vec<String> {
    let Some(keys) = answer["keys"].as_array() else {
        return vec![unanswered(
            &address.to_string(),
            &"its answer is not a proxy's",
        )];
    };
    let mut lines = Vec::new();
    for entry in keys {
        let (Some(key), Some(requests)) = (entry["key"].as_str(), entry["requests"].as_u64())
        else {
            lines.push(unanswered(
                &address.to_string(),
                &"its answer is not a proxy's",
            ));
            continue;
        };
        if wanted.contains(key) {
            continue;
        }
        // Anything but an explicit `false` counts as sealing: doubts count against the old key.
        lines.push(if entry["seals"].as_bool() == Some(false) {
            format!(
                "The proxy at {address} still has {} in flight that may seal under key {}.",
                counted(requests, "request"),
                shown(key)
            )
        } else {
            format!(
                "The proxy at {address} seals new objects under key {}; load the new configuration \
                 there, or name every bucket whose rule chooses that key.",
                shown(key)
            )
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(answer: &Value) -> Vec<String> {
        let address = "127.0.0.1:9090".parse().unwrap();
        reasons(address, answer, &BTreeSet::from(["new".to_owned()]))
    }

    #[test]
    fn a_proxy_that_uses_the_new_key_alone_gives_no_reason() {
        let new = json!({ "key": "new", "seals": true, "requests": 7 });
        assert_eq!(told(&json!({ "keys": [new] })), [""; 0]);
    }

    #[test]
    fn other_keys_and_other_answers_are_reasons() {
        for (entry, expected) in [
            (
                json!({ "key": "old", "seals": false, "requests": 2 }),
                "2 requests in flight that may seal under key old",
            ),
            (
                json!({ "key": "old", "seals": false, "requests": 0 }),
                "0 requests in flight that may seal under key old",
            ),
            (
                json!({ "key": "old", "seals": true, "requests": 0 }),
                "seals new objects under key old",
            ),
            (
                json!({ "key": "old", "requests": 0 }),
                "seals new objects under key old",
            ),
            (json!({ "seals": false }), "not a proxy's"),
        ] {
            let lines = told(&json!({ "keys": [entry] }));
            assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
        }
        assert!(told(&json!({}))[0].contains("not a proxy's"));
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_a_reason() {
        let lines = ask(&["127.0.0.1:1".to_owned()], &BTreeSet::new()).await;
        assert!(lines[0].contains("cannot be asked"), "{lines:?}");
    }
}

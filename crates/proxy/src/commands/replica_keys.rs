//! Query of running proxies, at their admin listeners, for the keys that requests in flight may
//! still seal under.
//!
//! A name that resolves to several addresses denotes as many proxies, such as a headless service of
//! Kubernetes. A proxy that does not respond counts as one that uses every key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::net::{TcpStream, lookup_host};

use super::http_get::{HttpGetError, get};
use super::report::{counted, shown};
use crate::keys::keys_in_use;

/// Longest response that is read, in bytes.
const RESPONSE_BYTES: usize = 1024 * 1024;

/// Time limit for one proxy.
const TIMEOUT: Duration = Duration::from_secs(10);

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
            let response = tokio::time::timeout(TIMEOUT, keys_of(address)).await;
            let timed_out = |_| Err(format!("timed out after {} s", TIMEOUT.as_secs()).into());
            match response.unwrap_or_else(timed_out) {
                Ok(response) => lines.extend(reasons(address, &response, wanted)),
                Err(error) => lines.push(unanswered(&address.to_string(), &*error)),
            }
        }
    }
    lines
}

fn unanswered(replica: &str, error: &dyn std::fmt::Display) -> String {
    format!(
        "The proxy at {} did not report its keys ({}); give --replica the address of its \
         listen.admin.",
        shown(replica),
        shown(&error.to_string())
    )
}

async fn keys_of(address: SocketAddr) -> Result<Value, HttpGetError> {
    let stream = TcpStream::connect(address).await?;
    match get(stream, address, keys_in_use::PATH, RESPONSE_BYTES).await? {
        (StatusCode::OK, body) => Ok(serde_json::from_slice(&body)?),
        (status, _) => Err(format!("it responded with {status}").into()),
    }
}

/// Returns the reasons why other keys are in use at this proxy.
fn reasons(address: SocketAddr, response: &Value, wanted: &BTreeSet<String>) -> Vec<String> {
    let Some(keys) = response["keys"].as_array() else {
        return vec![unanswered(
            &address.to_string(),
            &"the response is not from s3proxy",
        )];
    };
    let mut lines = Vec::new();
    for entry in keys {
        let (Some(key), Some(requests)) = (entry["key"].as_str(), entry["requests"].as_u64())
        else {
            lines.push(unanswered(
                &address.to_string(),
                &"the response is not from s3proxy",
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

    fn lines(response: &Value) -> Vec<String> {
        let address = "127.0.0.1:9090".parse().unwrap();
        reasons(address, response, &BTreeSet::from(["new".to_owned()]))
    }

    #[test]
    fn a_proxy_that_uses_the_new_key_alone_gives_no_reason() {
        let new = json!({ "key": "new", "seals": true, "requests": 7 });
        assert_eq!(lines(&json!({ "keys": [new] })), [""; 0]);
    }

    #[test]
    fn other_keys_and_malformed_responses_are_reasons() {
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
            (json!({ "seals": false }), "not from s3proxy"),
        ] {
            let lines = lines(&json!({ "keys": [entry] }));
            assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
        }
        assert!(lines(&json!({}))[0].contains("not from s3proxy"));
    }

    #[tokio::test]
    async fn an_unreachable_proxy_is_a_reason() {
        let lines = ask(&["127.0.0.1:1".to_owned()], &BTreeSet::new()).await;
        assert!(lines[0].contains("did not report its keys"), "{lines:?}");
    }
}

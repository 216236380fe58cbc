//! A server with the API of Vault's Transit engine and selectable faults.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The server's reaction to requests that use the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// No response.
    Silent,
    /// 503, like a sealed server.
    Failing,
    /// 429, like a server with a quota.
    Throttling,
    /// Refuses to decrypt, as if another server had encrypted the ciphertext.
    Foreign,
    /// Ignores associated data, like Vault before 1.13.
    Older,
    /// 403, as for an expired token.
    Refusing,
}

/// Requests that used the key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VaultCalls {
    pub(crate) encrypt: usize,
    pub(crate) decrypt: usize,
}

/// A running server; it stops when dropped.
pub(crate) struct VaultServer {
    address: SocketAddr,
    shared: Arc<Mutex<(Mood, VaultCalls)>>,
    task: JoinHandle<()>,
}

impl VaultServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new((Mood::Well, VaultCalls::default())));
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Aborting the task drops the set, which aborts all connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(Arc::clone(&serving), stream));
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.shared.lock().unwrap().0 = mood;
    }

    pub(crate) fn calls(&self) -> VaultCalls {
        self.shared.lock().unwrap().1
    }
}

impl Drop for VaultServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(shared: Arc<Mutex<(Mood, VaultCalls)>>, mut stream: TcpStream) {
    let mut unread = Vec::new();
    while let Some((path, body)) = read_request(&mut stream, &mut unread).await {
        let answer = {
            let (mood, calls) = &mut *shared.lock().unwrap();
            answer(*mood, calls, &path, &body)
        };
        let Some((status, document)) = answer else {
            std::future::pending().await
        };
        let length = document.len();
        let answer = format!(
            "HTTP/1.1 {} Some\r\ncontent-length: {length}\r\n\r\n{document}",
            status.as_u16()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(
    mood: Mood,
    calls: &mut VaultCalls,
    path: &str,
    body: &serde_json::Value,
) -> Option<(StatusCode, String)> {
    // The "ciphertext" is the plaintext followed by the associated data: no test needs secrecy
    // here.
    let associated = match mood {
        Mood::Older => "",
        _ => body["associated_data"].as_str().unwrap_or_default(),
    };
    let errors = |text: &str| format!(r#"{{"errors":["{text}"]}}"#);
    let document = match path.split('/').nth(3) {
        Some("encrypt") => {
            calls.encrypt += 1;
            let text = joined(body["plaintext"].as_str().unwrap(), associated);
            format!(r#"{{"data":{{"ciphertext":"vault:v1:{text}"}}}}"#)
        }
        Some("decrypt") => {
            calls.decrypt += 1;
            let text = body["ciphertext"].as_str().unwrap();
            let text = text.strip_prefix("vault:v1:").unwrap();
            match parted(text, associated) {
                Some(text) => format!(r#"{{"data":{{"plaintext":"{text}"}}}}"#),
                None => return Some((StatusCode::BAD_REQUEST, errors(FOREIGN))),
            }
        }
        _ if path.ends_with("lookup-self") => r#"{"data":{"ttl":0}}"#.to_owned(),
        _ => "{}".to_owned(),
    };
    let uses_key = document.contains("v1:") || document.contains("plaintext");
    match mood {
        Mood::Silent => None,
        _ if !uses_key => Some((StatusCode::OK, document)),
        Mood::Well | Mood::Older => Some((StatusCode::OK, document)),
        Mood::Failing => Some((StatusCode::SERVICE_UNAVAILABLE, errors("Vault is sealed"))),
        Mood::Throttling => Some((
            StatusCode::TOO_MANY_REQUESTS,
            errors("request path rate limit quota exceeded"),
        )),
        Mood::Foreign => Some((StatusCode::BAD_REQUEST, errors(FOREIGN))),
        Mood::Refusing => Some((StatusCode::FORBIDDEN, errors("permission denied"))),
    }
}

const FOREIGN: &str = "cipher: message authentication failed";

const KEK_BYTES: usize = 32;

fn joined(plaintext: &str, associated: &str) -> String {
    let mut bytes = STANDARD.decode(plaintext).unwrap();
    bytes.extend(STANDARD.decode(associated).unwrap());
    STANDARD.encode(bytes)
}

/// The plaintext, if `associated` is the data with which it was encrypted.
fn parted(ciphertext: &str, associated: &str) -> Option<String> {
    let bytes = STANDARD.decode(ciphertext).unwrap();
    let (plaintext, with) = bytes.split_at(KEK_BYTES);
    (with == STANDARD.decode(associated).unwrap()).then(|| STANDARD.encode(plaintext))
}

async fn read_request(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
) -> Option<(String, serde_json::Value)> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, unread).await?;
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1)?.to_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    while unread.len() < length {
        read_more(stream, unread).await?;
    }
    let body: Vec<u8> = unread.drain(..length).collect();
    Some((path, serde_json::from_slice(&body).unwrap_or_default()))
}

async fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(unread).await {
        Ok(count) if count > 0 => Some(()),
        _ => None,
    }
}

//! Heads of requests: too large ones, and odd ones that HTTP allows.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ClientRequest, PATIENCE, Proxy, raw_exchange};
use crate::memory_store::{Faults, MemoryStore};

async fn proxy_with(settings: &str) -> (Proxy, std::sync::Arc<MemoryStore>) {
    let proxy = Proxy::builder().file(settings).start().await;
    let store = MemoryStore::new(Faults::default());
    store.behind(&proxy);
    (proxy, store)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_cannot_be_read_get_s3s_document() {
    let (proxy, _store) = proxy_with("[listen]\nmax_header_bytes = \"128 KiB\"").await;
    let long = "x".repeat(200_000);
    let long_target = "y".repeat(70_000);
    let many = "x-y: z\r\n".repeat(700);
    for (head, status, code) in [
        ("NOT HTTP\r\n\r\n".to_owned(), "400", "BadRequest"),
        (
            "GET / HTTP/1.1\r\nno colon\r\n\r\n".into(),
            "400",
            "BadRequest",
        ),
        ("GET /\u{1} HTTP/1.1\r\n\r\n".into(), "400", "BadRequest"),
        (
            format!("GET /{long_target} HTTP/1.1\r\nhost: h\r\n\r\n"),
            "414",
            "RequestHeaderSectionTooLarge",
        ),
        (
            format!("GET / HTTP/1.1\r\nx-long: {long}\r\n\r\n"),
            "431",
            "RequestHeaderSectionTooLarge",
        ),
        (
            format!("GET / HTTP/1.1\r\n{many}\r\n"),
            "431",
            "RequestHeaderSectionTooLarge",
        ),
    ] {
        let answer = text(&raw_exchange(proxy.address(), head.as_bytes()).await);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(body.contains(&format!("<Code>{code}</Code>")), "{answer}");
        let length = format!("content-length: {}\r\n", body.len());
        assert!(head.contains(&length), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_that_cannot_be_read_gets_its_reason_in_a_header() {
    let (proxy, _store) = proxy_with("").await;
    let long = "x".repeat(17_000);
    let head = format!("HEAD / HTTP/1.1\r\nx-long: {long}\r\n\r\n");
    let answer = text(&raw_exchange(proxy.address(), head.as_bytes()).await);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.contains("x-s3proxy-reason: RequestHeaderSectionTooLarge: "));
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_librarys_own_answers_are_replaced() {
    let (proxy, _store) = proxy_with("").await;
    let content = "HTTP/1.1 431 x\r\ncontent-length: 0\r\n\r\n".repeat(20_000);
    proxy.put("/bucket/key", content.clone()).await;
    let get = ClientRequest::get("/bucket/key").signed(proxy.owner(), &proxy.host());
    let kept_alive = text(&get.to_bytes(&proxy.host())).replace("connection: close", "a: b");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(kept_alive.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(content.as_bytes()) {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer));
        assert!(read.await.unwrap().unwrap() > 0, "{}", text(&answer));
    }
    stream.write_all(b"NOT HTTP\r\n\r\n").await.unwrap();
    let mut refusal = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut refusal));
    read.await.unwrap().unwrap();
    assert!(
        text(&refusal).contains("<Code>BadRequest</Code>"),
        "{}",
        text(&refusal)
    );
}

/// A request that HTTP allows, though few clients send it.
struct Odd {
    what: &'static str,
    /// As it is signed.
    signed: ClientRequest,
    /// The target on the wire, if another.
    target: Option<String>,
    /// A signed header's value on the wire, if another.
    value: Option<(&'static str, &'static [u8])>,
    /// Lines that nobody signed.
    lines: &'static [u8],
    status: u16,
}

fn odd(what: &'static str, signed: ClientRequest) -> Odd {
    Odd {
        what,
        signed,
        target: None,
        value: None,
        lines: b"",
        status: 200,
    }
}

impl Odd {
    fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    fn value(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.value = Some((name, value));
        self
    }

    fn lines(mut self, lines: &'static [u8]) -> Self {
        self.lines = lines;
        self
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn bytes(&self, proxy: &Proxy) -> Vec<u8> {
        let signed = self.signed.clone().signed(proxy.owner(), &proxy.host());
        let target = self.target.as_ref().unwrap_or(&signed.target);
        let mut bytes = format!(
            "{} {target} HTTP/1.1\r\nhost: {}\r\n",
            signed.method,
            proxy.host()
        )
        .into_bytes();
        for (name, value) in &signed.headers {
            let value = match self.value {
                Some((other, value)) if other == name => value,
                _ => value.as_bytes(),
            };
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(self.lines);
        let is_chunked = self.lines.starts_with(b"transfer-encoding");
        let has_body = !signed.body.is_empty() || signed.method == Method::PUT;
        if has_body && !is_chunked {
            bytes.extend(format!("content-length: {}\r\n", signed.body.len()).into_bytes());
        }
        bytes.extend(b"connection: close\r\n\r\n");
        bytes.extend(&signed.body);
        bytes
    }
}

fn get() -> ClientRequest {
    ClientRequest::get("/bucket/key")
}

fn put() -> ClientRequest {
    ClientRequest::put("/bucket/other", "text")
}

fn all_odd(host: &str) -> Vec<Odd> {
    let chunks = "4\r\ntext\r\n0\r\nx-amz-checksum-crc32: O4unxw==\r\n\r\n";
    let chunks = format!(
        "{:x};name=\"a b\";x\r\n{chunks}\r\n0;y\r\n\r\n",
        chunks.len()
    );
    let url = |path: &str| format!("http://{host}{path}");
    vec![
        odd("absolute-form", get()).target(url("/bucket/key")),
        odd("absolute-form with a query", ClientRequest::get("/bucket?prefix=k"))
            .target(url("/bucket?prefix=k")),
        odd("absolute-form in upper case", get())
            .target(format!("HTTP://{}/bucket/key", host.to_uppercase())),
        odd("absolute-form of another host", get())
            .target("http://other.example/bucket/key")
            .status(400),
        odd("absolute-form without a path", ClientRequest::get("/")).target(url("")),
        odd("no query behind a question mark", get()).target("/bucket/key?"),
        odd("encoded unreserved characters", get()).target("/%62ucket/k%65y"),
        odd("encoded in lower case", ClientRequest::put("/bucket/%C3%BC", ""))
            .target("/bucket/%c3%bc"),
        odd("doubled slashes", ClientRequest::put("//bucket//key", "")).status(400),
        odd("doubled slashes in the key", ClientRequest::put("/bucket//key", "")),
        odd("what a forward proxy adds", get()).lines(
            b"via: 1.1 proxy\r\nforwarded: for=192.0.2.1;proto=http\r\nx-forwarded-for: 1.2.3.4\r\n",
        ),
        odd("hop-by-hop headers", get()).lines(
            b"te: trailers\r\nconnection: keep-alive, TE\r\nkeep-alive: timeout=5\r\n\
              proxy-connection: keep-alive\r\n",
        ),
        odd("empty values", get()).lines(b"accept:\r\ncookie: \r\nrange:\r\nif-match:\r\n"),
        odd("bytes outside ASCII", get()).lines(b"user-agent: M\xfcller\r\nreferer: \xff\r\n"),
        odd("an expectation without a body", get()).lines(b"expect: 100-continue\r\n"),
        odd("an expectation", put()).lines(b"expect: 100-continue\r\n"),
        odd("a GET with an empty body", get()).lines(b"content-length: 0\r\n"),
        odd("a HEAD with an empty body", ClientRequest::head("/bucket/key"))
            .lines(b"content-length: 0\r\n"),
        odd("a method in lower case", ClientRequest::new(Method::from_bytes(b"get").unwrap(), "/bucket/key"))
            .status(405),
        odd("a list in two lines", get()).lines(b"accept: a\r\naccept: b\r\n"),
        odd("two ranges", get().header("range", "bytes=0-1").header("range", "bytes=2-3"))
            .status(400),
        odd("metadata in two lines", put().header("x-amz-meta-a", "b").header("x-amz-meta-a", "c")),
        odd("a tab, signed as a blank", put().header("x-amz-meta-a", "b c"))
            .value("x-amz-meta-a", b"b\tc"),
        odd("a tab, signed as it is", put().header("x-amz-meta-a", "b\tc")),
        odd("a tab in Content-Type", put().header("content-type", "text/plain; charset=utf-8"))
            .value("content-type", b"text/plain;\tcharset=utf-8"),
        odd("Unicode's white space as a blank", put().header("x-amz-meta-a", "b c"))
            .value("x-amz-meta-a", "b\u{3000}\u{a0}c\u{85}".as_bytes()),
        odd("Unicode's white space as it is", put().header("x-amz-meta-a", "b\u{a0}c")),
        odd("Latin-1, signed as UTF-8", put().header("x-amz-meta-a", "\u{fc}"))
            .value("x-amz-meta-a", b"\xfc"),
        odd(
            "chunks with extensions",
            ClientRequest::put("/bucket/other", chunks)
                .header("content-encoding", "aws-chunked")
                .header("x-amz-decoded-content-length", "4")
                .header("x-amz-trailer", "x-amz-checksum-crc32")
                .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        )
        .lines(b"transfer-encoding: chunked\r\n"),
        odd("every resource", ClientRequest::new(Method::OPTIONS, "/")).target("*").status(400),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_that_http_allows_are_served() {
    let (proxy, _store) = proxy_with("").await;
    proxy.put("/bucket/key", "text").await;
    let mut wrong = Vec::new();
    for odd in all_odd(&proxy.host()) {
        let bytes = odd.bytes(&proxy);
        let answer = text(&raw_exchange(proxy.address(), &bytes).await);
        let answer = answer.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if status != odd.status.to_string() {
            wrong.push(format!("{}: {}\n{answer}", odd.what, text(&bytes)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_with_white_space_comes_back_as_s3_gives_it() {
    let (proxy, store) = proxy_with("").await;
    for (sent, stored) in [
        (&["b", "c"][..], "b,c"),
        (&["a  b"], "a  b"),
        (&["a\tb"], "a b"),
        (&["a\u{3000}b"], "=?UTF-8?B?YeOAgGI=?="),
        (&["日本"], "日本"),
        (&[""], ""),
    ] {
        let mut put = put();
        for value in sent {
            put = put.header("x-amz-meta-a", *value);
        }
        proxy.send(put).await.expect(200);
        let held = store.header("bucket", "other", "x-amz-meta-a");
        assert_eq!(held.as_deref(), Some(stored), "{sent:?}");
        let answer = proxy.send(ClientRequest::head("/bucket/other")).await;
        let value = answer.expect(200).headers["x-amz-meta-a"].clone();
        assert_eq!(value.as_bytes(), stored.as_bytes());
    }
}

//! Mistakes that show when the program starts to listen, or when clients connect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use crate::runner::Answer::{Fine, Refused};
use crate::runner::{KEY, folder_of, judge, program, told};

/// How long a line of the log may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The tests of this module.
pub(crate) const ROWS: usize = 7;

fn serve(folder: &Path, arguments: &[&str]) -> Command {
    let mut serve = program(folder);
    serve
        .args(["serve", "--backend", "http://127.0.0.1:9"])
        .args(arguments)
        .env("S3PROXY_ENCRYPT_KEY", KEY)
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-backend");
    serve
}

/// A serving proxy, with its log as JSON.
struct Serving {
    child: Child,
    log: Log,
    port: u16,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .args(["--ip", "127.0.0.1", "--port", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the program's output, or when the test is over.
            let read = stderr.lines().map_while(Result::ok);
            read.map(|line| lines.send(line))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        let mut log = Log {
            seen: Vec::new(),
            coming: log,
        };
        let line = log.line_with("\"serving\"");
        let address = line.split("\"address\":\"").nth(1).unwrap();
        let address = address.split('"').next().unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, log, port }
    }

    fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // A reset ends a response just as a close does.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log of a program: what is checked at start may be told of before or after it serves.
struct Log {
    seen: Vec<String>,
    coming: Receiver<String>,
}

impl Log {
    /// A line with this text; one that does not come fails the test.
    fn line_with(&mut self, text: &str) -> String {
        let mut seen = self.seen.iter();
        if let Some(line) = seen.find(|line| line.contains(text)) {
            return line.clone();
        }
        while let Ok(line) = self.coming.recv_timeout(PATIENCE) {
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("the log has no line with {text}: {:?}", self.seen);
    }
}

#[test]
fn a_port_in_use_is_told_with_the_flags_that_change_it() {
    let folder = folder_of(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = serve(
        folder.path(),
        &["--no-tls", "--ip", "127.0.0.1", "--port", &port],
    );
    let output = { output }.output().unwrap();
    let told = told(&output, folder.path());
    judge("a port in use", Refused, &output, &told);
    assert!(
        told.contains("choose another address with --ip and --port"),
        "{told}"
    );
}

#[test]
fn an_address_of_another_machine_is_told_with_the_flags_that_change_it() {
    let folder = folder_of(&[]);
    let output = serve(
        folder.path(),
        &["--no-tls", "--ip", "192.0.2.1", "--port", "0"],
    )
    .output()
    .unwrap();
    let told = told(&output, folder.path());
    judge("another machine's address", Refused, &output, &told);
    assert!(told.contains("cannot listen on 192.0.2.1"), "{told}");
}

#[test]
fn an_unreachable_backend_is_told_at_start() {
    let folder = folder_of(&[]);
    let mut serving = Serving::start(serve(folder.path(), &["--no-tls"]));
    let line = serving.log.line_with("the backend cannot be reached");
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
    assert!(line.contains("127.0.0.1:9"), "{line}");
}

/// A backend that refuses every signature.
fn refusing_backend() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client may open a connection and not use it.
            std::thread::spawn(|| refuse(stream));
        }
    });
    format!("http://{address}")
}

fn refuse(mut stream: TcpStream) {
    let mut head = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while head.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let document = "<Error><Code>InvalidAccessKeyId</Code><Message>m</Message></Error>";
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{document}",
        document.len()
    );
    // The client may have closed the connection.
    let _ = stream.write_all(answer.as_bytes());
}

#[test]
fn a_credential_that_the_backend_refuses_is_an_error_at_start() {
    let folder = folder_of(&[]);
    let mut command = program(folder.path());
    command
        .args(["serve", "--no-tls", "--backend", &refusing_backend()])
        .env("S3PROXY_ENCRYPT_KEY", KEY)
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-backend");
    let mut serving = Serving::start(command);
    let line = serving
        .log
        .line_with("the backend refuses the proxy's credential");
    assert!(line.contains("\"level\":\"ERROR\""), "{line}");
    for part in [
        "InvalidAccessKeyId",
        "backend.access_key_id",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let answer =
        serving.ask(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[test]
fn check_config_asks_the_backend_only_where_that_is_asked_for() {
    let folder = folder_of(&[]);
    let backend = refusing_backend();
    let check = |more: &[&str]| {
        let output = program(folder.path())
            .args(["check-config", "--no-tls", "--backend", &backend])
            .args(more)
            .env("S3PROXY_ENCRYPT_KEY", KEY)
            .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-backend")
            .output()
            .unwrap();
        let told = told(&output, folder.path());
        (output, told)
    };
    let (output, told) = check(&[]);
    judge("check-config", Fine, &output, &told);
    let (output, told) = check(&["--online"]);
    judge("check-config --online", Refused, &output, &told);
    assert!(
        told.contains("refuses the proxy's credential (InvalidAccessKeyId)"),
        "{told}"
    );
}

#[test]
fn plain_http_on_the_port_of_https_is_told_to_the_client_and_in_the_log() {
    let folder = folder_of(&[]);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    std::fs::write(folder.path().join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
    let certificates = folder.path().to_str().unwrap().to_owned();
    let mut serving = Serving::start(serve(folder.path(), &["--cert", &certificates]));
    let answer = serving.ask(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("<Message>This port requires HTTPS; use https://"),
        "{answer}"
    );
    let head = serving.ask(b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(
        head.ends_with("\r\n\r\n") && head.contains("x-s3proxy-reason: "),
        "{head}"
    );
    let upload = [
        b"PUT /a/b HTTP/1.1\r\ncontent-length: 30000\r\n\r\n".as_slice(),
        &vec![7; 30_000],
    ];
    let answer = serving.ask(&upload.concat());
    assert!(answer.contains("This port requires HTTPS"), "{answer}");
    let line = serving.log.line_with("a client sent plain HTTP");
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
}

#[test]
fn https_on_the_port_of_plain_http_is_told_in_the_log() {
    let folder = folder_of(&[]);
    let mut serving = Serving::start(serve(folder.path(), &["--no-tls"]));
    // The beginning of a TLS ClientHello.
    serving.ask(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    let line = serving.log.line_with("a client sent HTTPS");
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
}

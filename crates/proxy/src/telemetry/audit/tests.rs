use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Fake disk that is full until the test empties it.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Default)]
struct DiskState {
    full: bool,
    refused: u32,
    content: Vec<u8>,
}

impl Disk {
    fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// Waits until a write was tried although the disk is full.
    async fn is_tried(&self) {
        while self.0.lock().unwrap().refused == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn lines(&self) -> Vec<Value> {
        parsed(&self.0.lock().unwrap().content)
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        if state.full {
            state.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Partial writes, as on real disks.
        let some = bytes.len().min(100);
        state.content.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parsed(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn settings(output: AuditOutput, on_failure: AuditFailure) -> resolved::Audit {
    resolved::Audit {
        output,
        object_keys: AuditObjectKeys::Plain,
        on_failure,
    }
}

fn log_to(disk: &Disk, on_failure: AuditFailure, slots: usize) -> AuditLog {
    let output = LineOutput::Test(Box::new(disk.clone()));
    AuditLog::over(output, &settings(AuditOutput::Stdout, on_failure), slots).unwrap()
}

fn log_file(path: &Path) -> AuditLog {
    let output = AuditOutput::File(path.to_owned());
    AuditLog::start(&settings(output, AuditFailure::Refuse), 1).unwrap()
}

fn facts<'a>() -> RequestFacts<'a> {
    RequestFacts {
        request_id: "0123456789ABCDEF",
        trace_id: None,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        client: Some("backup"),
        operation: Some("GetObject"),
        bucket: Some("b"),
        object_key: Some("folder/k"),
        status: 200,
        outcome: "complete",
        failure: None,
        duration: Duration::from_millis(7),
        received: 0,
        sent: 5,
        backend_request_id: Some("BACKEND"),
    }
}

async fn trail(log: &AuditLog) -> AuditTrail {
    let trail = AuditTrail::default();
    trail.begin(log.reserve().await.unwrap().expect("there is room"));
    trail
}

/// Returns the lines of one request, without the time.
async fn lines_of(
    keys: AuditObjectKeys,
    facts: RequestFacts<'_>,
    notes: impl AsyncFnOnce(&AuditTrail),
) -> Vec<Value> {
    let disk = Disk::default();
    let settings = resolved::Audit {
        object_keys: keys,
        ..settings(AuditOutput::Stdout, AuditFailure::Refuse)
    };
    let log = AuditLog::over(LineOutput::Test(Box::new(disk.clone())), &settings, 10).unwrap();
    let mut trail = trail(&log).await;
    notes(&trail).await;
    trail.finish(&facts);
    log.finish().await;
    let mut lines = disk.lines();
    for line in &mut lines {
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        let time = time.as_str().unwrap();
        assert_eq!(
            (time.len(), &time[19..20], &time[23..]),
            (24, ".", "Z"),
            "{time}"
        );
    }
    lines
}

#[tokio::test]
async fn a_request_is_one_line_with_the_notes_of_all_its_steps() {
    let lines = lines_of(AuditObjectKeys::Plain, facts(), async |trail| {
        trail.claims("AKID");
        trail.verified("AKID");
        trail.signed_with_version_2();
        trail.admit();
        trail.returns_version("v2");
        trail.copies("from", "its/key", Some("v1"));
        trail.reads(|| StoredForm::sealed("local:one"));
        trail.writes(|| StoredForm::sealed("vault:transit/two"));
    })
    .await;
    assert_eq!(
        lines,
        [json!({
            "schema": "s3proxy.audit/1",
            "event": "request",
            "request_id": "0123456789ABCDEF",
            "remote_address": "127.0.0.1",
            "client": "backup",
            "access_key_id": "AKID",
            "signature_version": 2,
            "operation": "GetObject",
            "bucket": "b",
            "object_key": "folder/k",
            "version_id": "v2",
            "source": {"bucket": "from", "object_key": "its/key", "version_id": "v1"},
            "allowed": true,
            "status": 200,
            "outcome": "complete",
            "duration_ms": 7,
            "bytes_in": 0,
            "bytes_out": 5,
            "read": {"format": "v1", "key": "local:one"},
            "written": {"format": "v1", "key": "vault:transit/two"},
            "backend_request_id": "BACKEND",
        })]
    );
}

#[tokio::test]
async fn the_claimed_key_of_a_refused_request_is_bounded_and_kept_apart() {
    // Longer than a reason may be.
    let failure = "x".repeat(600);
    let refused = RequestFacts {
        client: None,
        status: 403,
        failure: Some(&failure),
        ..facts()
    };
    let lines = lines_of(AuditObjectKeys::Plain, refused, async |trail| {
        trail.claims(&"é\n\u{9b}".repeat(100));
        trail.error_code("InvalidAccessKeyId");
    })
    .await;
    let line = &lines[0];
    assert_eq!(line["allowed"], false);
    assert_eq!(line["error_code"], "InvalidAccessKeyId");
    assert_eq!(line["reason"].as_str().unwrap().len(), 512);
    let claimed = line["claimed_access_key_id"].as_str().unwrap();
    assert!(claimed.starts_with("é\n\u{9b}é") && claimed.len() <= 128);
    assert_eq!(line.get("access_key_id"), None);
}

#[tokio::test]
async fn a_client_can_neither_break_a_line_nor_control_a_terminal() {
    let nasty = RequestFacts {
        object_key: Some("a\nb\u{7f}c\u{9b}d\u{1b}[2J"),
        ..facts()
    };
    let disk = Disk::default();
    let log = log_to(&disk, AuditFailure::Refuse, 1);
    let mut trail = trail(&log).await;
    trail.finish(&nasty);
    log.finish().await;
    assert_eq!(disk.lines()[0]["object_key"], nasty.object_key.unwrap());
    let state = disk.0.lock().unwrap();
    let text = std::str::from_utf8(&state.content).unwrap();
    assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
}

#[tokio::test]
async fn a_request_denied_after_admission_is_not_allowed() {
    let lines = lines_of(AuditObjectKeys::Plain, facts(), async |trail| {
        trail.admit();
        trail.deny();
    })
    .await;
    assert_eq!(lines[0]["allowed"], false);
}

fn object(key: &str, version: Option<&str>, allowed: bool) -> ObjectLine {
    ObjectLine {
        object_key: key.to_owned(),
        version_id: version.map(str::to_owned),
        allowed,
        error_code: (!allowed).then(|| "AccessDenied".to_owned()),
    }
}

#[tokio::test]
async fn every_text_from_outside_is_bounded_in_every_kind_of_line() {
    let long = "é\u{202e}".repeat(500_000);
    let facts = RequestFacts {
        object_key: Some(&long),
        failure: Some(&long),
        backend_request_id: Some(&long),
        status: 403,
        ..facts()
    };
    let lines = lines_of(AuditObjectKeys::Plain, facts, async |trail| {
        trail.claims(&long);
        trail.requests_version(&long);
        trail.copies("from", &long, Some(&long));
        trail.error_code(&long);
        let batch = || {
            vec![
                object(&long, Some(&long), true),
                object("k", Some(&long), true),
            ]
        };
        trail.begin_batch(batch).await.unwrap();
        let error = ("k".to_owned(), Some(long.clone()), long.clone());
        trail.batch_errors(|| vec![error]);
    })
    .await;
    assert_eq!(lines.len(), 3);
    for line in &lines {
        // JSON escapes take at most six bytes per character.
        let bytes = line.to_string().len();
        assert!(bytes < 16 * 1024, "{bytes} bytes");
    }
    assert!(lines[2]["error_code"].as_str().unwrap().len() <= 128);
}

#[tokio::test]
async fn each_object_of_a_batch_has_a_line_with_its_own_error() {
    let lines = lines_of(AuditObjectKeys::Plain, facts(), async |trail| {
        trail.admit();
        let batch = || {
            vec![
                object("gone", None, true),
                object("locked", Some("v"), true),
                object("foreign", None, false),
            ]
        };
        trail.begin_batch(batch).await.unwrap();
        let version = Some("v".to_owned());
        trail.batch_errors(|| vec![("locked".to_owned(), version, "AccessDenied".to_owned())]);
    })
    .await;
    assert_eq!(lines[0]["objects"], 3);
    let told = |line: &Value| {
        assert_eq!(
            (&line["event"], &line["client"]),
            (&json!("object"), &json!("backup"))
        );
        (
            line["object_key"].as_str().unwrap().to_owned(),
            line["allowed"].as_bool().unwrap(),
            line["error_code"].as_str().map(str::to_owned),
        )
    };
    let denied = Some("AccessDenied".to_owned());
    assert_eq!(
        lines[1..].iter().map(told).collect::<Vec<_>>(),
        [
            ("gone".to_owned(), true, None),
            ("locked".to_owned(), true, denied.clone()),
            ("foreign".to_owned(), false, denied),
        ]
    );
}

#[tokio::test]
async fn objects_are_not_named_if_the_settings_say_so() {
    let lines = lines_of(AuditObjectKeys::Off, facts(), async |trail| {
        trail.copies("from", "its/key", None);
        let batch = || vec![object("folder/k", None, true)];
        trail.begin_batch(batch).await.unwrap();
    })
    .await;
    assert_eq!((lines.len(), &lines[0]["objects"]), (1, &json!(1)));
    let text = lines[0].to_string();
    assert!(
        !text.contains("folder/k") && !text.contains("its/key"),
        "{text}"
    );
    assert_eq!(lines[0]["source"], json!({"bucket": "from"}));
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_while_a_full_log_cannot_be_written_and_lines_are_kept() {
    let disk = Disk::default();
    disk.set_full(true);
    let log = log_to(&disk, AuditFailure::Refuse, 2);
    for _ in 0..2 {
        trail(&log).await.finish(&facts());
    }
    disk.is_tried().await;
    // Time is paused, so the wait for a slot is over at once.
    assert!(log.reserve().await.is_err());
    disk.set_full(false);
    // The writer sleeps in its own thread, in real time.
    tokio::time::resume();
    while log.reserve().await.is_err() {
        tokio::task::yield_now().await;
    }
    log.finish().await;
    assert_eq!(disk.lines().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_are_served_without_a_line_if_lines_may_be_dropped() {
    let disk = Disk::default();
    disk.set_full(true);
    let log = log_to(&disk, AuditFailure::Drop, 1);
    trail(&log).await.finish(&facts());
    disk.is_tried().await;
    assert!(matches!(log.reserve().await, Ok(None)));
    disk.set_full(false);
    tokio::time::resume();
    while !matches!(log.reserve().await, Ok(Some(_))) {
        tokio::task::yield_now().await;
    }
    assert_eq!(disk.lines().len(), 1);
}

#[tokio::test]
async fn a_file_is_appended_to_and_private() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("audit.log");
    for _ in 0..2 {
        let log = log_file(&path);
        trail(&log).await.finish(&facts());
        log.finish().await;
    }
    assert_eq!(parsed(&fs::read(&path).unwrap()).len(), 2);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_followed_by_another() {
    let folder = TempDir::new().unwrap();
    let (path, moved) = (
        folder.path().join("audit.log"),
        folder.path().join("audit.log.1"),
    );
    let log = log_file(&path);
    trail(&log).await.finish(&facts());
    log.finish().await;
    fs::rename(&path, &moved).unwrap();
    // As log rotation does: the file is renamed, then a signal is sent.
    log.reopen();
    trail(&log).await.finish(&facts());
    log.finish().await;
    assert_eq!(parsed(&fs::read(&path).unwrap()).len(), 1);
    assert_eq!(parsed(&fs::read(&moved).unwrap()).len(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_named_with_its_setting() {
    let path = Path::new("/proc/no/such/audit.log");
    let output = AuditOutput::File(path.to_owned());
    let error = AuditLog::start(&settings(output, AuditFailure::Drop), 1).err();
    let text = error.unwrap().to_string();
    assert!(
        text.starts_with("audit.output: /proc/no/such/audit.log"),
        "{text}"
    );
}

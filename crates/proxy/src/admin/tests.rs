//! The admin listener's responses, and the bounds on its connections.

use http_body_util::BodyExt;

use super::*;

struct Draining;

impl ProbeSource for Draining {
    fn liveness(&self) -> (StatusCode, String) {
        (StatusCode::OK, "ok\n".to_owned())
    }

    async fn readiness(&self) -> (StatusCode, String) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
    }

    fn keys(&self) -> String {
        "{\"keys\":[]}".to_owned()
    }
}

async fn asked(method: &str, path: &str) -> (u16, http::HeaderMap, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let exporter = Exporter::install().unwrap();
    let response = answer(&request, &exporter, &Draining).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn metrics_come_as_text_for_prometheus() {
    let (status, headers, body) = asked("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert_eq!(headers[header::CONTENT_TYPE], METRICS);
    assert!(body.contains("s3proxy_build_info{"), "{body}");
    assert!(body.contains("process_resident_memory_bytes "), "{body}");
}

#[tokio::test]
async fn a_drain_takes_the_replica_out_and_leaves_it_alive() {
    assert_eq!(asked("GET", "/healthz").await.0, 200);
    let (status, _, body) = asked("GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "draining\n"));
}

#[tokio::test]
async fn a_process_that_says_it_is_broken_fails_its_liveness_probe() {
    struct Broken;
    impl ProbeSource for Broken {
        fn liveness(&self) -> (StatusCode, String) {
            (StatusCode::SERVICE_UNAVAILABLE, "broken\n".to_owned())
        }

        async fn readiness(&self) -> (StatusCode, String) {
            (StatusCode::OK, "ready\n".to_owned())
        }

        fn keys(&self) -> String {
            String::new()
        }
    }
    let request = Request::builder().uri("/healthz").body(()).unwrap();
    let exporter = Exporter::install().unwrap();
    let response = answer(&request, &exporter, &Broken).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_keys_in_use_come_as_json() {
    let (status, headers, body) = asked("GET", "/keys").await;
    assert_eq!((status, body.as_str()), (200, "{\"keys\":[]}"));
    assert_eq!(headers[header::CONTENT_TYPE], JSON);
}

#[tokio::test]
async fn everything_else_is_told_what_there_is() {
    for path in ["/", "/metrics/", "/bucket/key", "//metrics"] {
        let (status, _, body) = asked("GET", path).await;
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("/metrics"));
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, headers, _) = asked(method, "/metrics").await;
        assert_eq!(status, 405, "{method}");
        assert_eq!(headers[header::ALLOW], "GET, HEAD");
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_from_an_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = Exporter::install().unwrap();
    let admin = Admin::serve(listener, exporter, Arc::new(Draining)).unwrap();
    let mut silent = Vec::new();
    for _ in 0..=CONNECTIONS {
        silent.push(TcpStream::connect(admin.address()).await.unwrap());
    }
    for path in ["/healthz", "/metrics"] {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let exchange = async {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(FIRST_BYTE / 2, exchange).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let mut oldest = silent.remove(0);
    assert_eq!(oldest.read(&mut [0]).await.unwrap(), 0, "it gave way");
}

#[tokio::test]
async fn a_flood_from_one_network_takes_no_place_from_another() {
    let waiting = |address: &str| AdminConnection {
        network: address.parse().unwrap(),
        task: tokio::spawn(std::future::pending::<()>()).abort_handle(),
        answering: Arc::default(),
    };
    let mut held = AdminConnections::default();
    held.0.push_back(waiting("192.0.2.1"));
    for _ in 0..10 * CONNECTIONS {
        held.make_room();
        held.0.push_back(waiting("198.51.100.1"));
    }
    assert_eq!(held.0.len(), CONNECTIONS);
    let probe = &held.0[0];
    assert_eq!(probe.network.to_string(), "192.0.2.1");
    tokio::task::yield_now().await;
    assert!(!probe.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_a_few_seconds_for_its_first_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (silent, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let exporter = Exporter::install().unwrap();
    let started = tokio::time::Instant::now();
    let (stream, _) = accepted.unwrap();
    connection(stream, exporter, Arc::new(Draining), Arc::default()).await;
    assert!(started.elapsed() <= 2 * FIRST_BYTE);
    drop(silent);
}

#[tokio::test]
async fn it_listens_as_long_as_it_is_kept() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = Exporter::install().unwrap();
    let admin = Admin::serve(listener, exporter, Arc::new(Draining)).unwrap();
    let address = admin.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
    // The listener ends with its owner, though not at once.
    drop(admin);
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
    assert!(gone.is_ok(), "the socket is closed with it");
}

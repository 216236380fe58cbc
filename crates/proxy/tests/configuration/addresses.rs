//! The addresses on which the program listens, as settings give them.

use super::*;

#[test]
fn the_admin_listener_has_a_port_of_its_own() {
    for (ip, admin, valid) in [
        ("0.0.0.0", "0.0.0.0:9090", true),
        ("127.0.0.1", "127.0.0.2:4433", true),
        ("127.0.0.1", "127.0.0.1:4433", false),
        ("0.0.0.0", "127.0.0.1:4433", false),
        ("127.0.0.1", "[::]:4433", false),
        ("127.0.0.1", "9090", false),
        ("127.0.0.1", "localhost:9090", false),
    ] {
        let environment = [KEY, PLAIN_HTTP, ("S3PROXY_LISTEN_ADMIN", admin)];
        let loaded = config::load(sources(&["--ip", ip], &environment));
        match loaded {
            Ok(LoadedConfig { config, .. }) => {
                assert!(valid, "{ip} {admin}");
                assert_eq!(config.listen.admin, Some(admin.parse().unwrap()));
            }
            Err(problems) => {
                assert!(!valid, "{ip} {admin}: {problems}");
                assert!(problems.to_string().contains("listen.admin"), "{problems}");
            }
        }
    }
}

#[test]
fn the_addresses_are_known_whatever_else_is_wrong() {
    let (_folder, broken) = file("[listen\nport = 1");
    let environment = [
        ("S3PROXY_CONFIG", broken.as_str()),
        ("S3PROXY_LISTEN_PORT", "8080"),
        ("S3PROXY_REGION", "no region"),
        ("S3PROXY_LISTEN_ADMIN", "[::1]:9090"),
    ];
    let found = config::addresses(sources(&["--no-tls"], &environment)).unwrap();
    assert_eq!(found.s3, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(found.transport, Transport::Plain);
    assert_eq!(found.admin, Some("[::1]:9090".parse().unwrap()));

    let (_folder, stated) = file("[listen]\nport = 9000\n");
    let found = config::addresses(sources(&["--config", &stated], &[])).unwrap();
    assert_eq!(found.s3, "0.0.0.0:9000".parse().unwrap());
    assert_eq!((found.transport, found.admin), (Transport::Tls, None));

    let wrong = config::addresses(sources(&[], &[("S3PROXY_LISTEN_PORT", "many")]));
    assert!(wrong.unwrap_err().to_string().contains("listen.port"));
}

#[test]
fn a_proxy_is_not_its_own_backend() {
    for (ip, host, valid) in [
        ("0.0.0.0", "http://127.0.0.1:4433", false),
        ("0.0.0.0", "http://0.0.0.0:4433", false),
        ("0.0.0.0", "localhost:4433", false),
        ("127.0.0.1", "http://localhost:4433", false),
        ("::", "http://[::1]:4433", false),
        ("127.0.0.2", "http://127.0.0.1:4433", true),
        ("0.0.0.0", "http://127.0.0.1:8333", true),
        ("0.0.0.0", "http://192.0.2.1:4433", true),
        ("0.0.0.0", "http://seaweedfs:4433", true),
    ] {
        let environment = [KEY, PLAIN_HTTP, ("S3PROXY_HOST", host)];
        match config::load(sources(&["--ip", ip], &environment)) {
            Ok(_) => assert!(valid, "{ip} {host}"),
            Err(problems) => {
                assert!(!valid, "{ip} {host}: {problems}");
                let problems = problems.to_string();
                assert!(problems.contains("would be its own backend"), "{problems}");
            }
        }
    }
}

#[test]
fn the_backend_has_several_names_of_one_meaning() {
    for name in ["S3PROXY_HOST", "S3PROXY_BACKEND", "S3PROXY_BACKEND_HOST"] {
        let loaded = load(&[], &[KEY, PLAIN_HTTP, (name, "s3.example.com")]);
        let Endpoint::Fixed(address) = loaded.config.backend.endpoint else {
            panic!("{name} names it")
        };
        assert_eq!(address.to_string(), "https://s3.example.com");
        assert!(loaded.notices.is_empty());
    }
    let same = ("S3PROXY_BACKEND", HOST.1);
    load(&[], &[KEY, PLAIN_HTTP, HOST, same]);
    let other = ("S3PROXY_BACKEND", "http://minio:9000");
    let problems = refusal(&[], &[KEY, PLAIN_HTTP, HOST, other]).to_string();
    assert!(
        problems.contains("S3PROXY_HOST is another name"),
        "{problems}"
    );
}

//! Where the program listens: the addresses as settings give them.

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
        let environment = [KEY, PLAIN_HTTP, ("S3PROXY_ADMIN", admin)];
        let loaded = config::load(sources(&["--ip", ip], &environment));
        match loaded {
            Ok(Loaded { config, .. }) => {
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
        ("S3PROXY_PORT", "8080"),
        ("S3PROXY_REGION", "no region"),
        ("S3PROXY_ADMIN", "[::1]:9090"),
    ];
    let found = config::addresses(sources(&["--no-tls"], &environment)).unwrap();
    assert_eq!(found.s3, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(found.transport, Transport::Plain);
    assert_eq!(found.admin, Some("[::1]:9090".parse().unwrap()));

    let (_folder, stated) = file("[listen]\nport = 9000\n");
    let found = config::addresses(sources(&["--config", &stated], &[])).unwrap();
    assert_eq!(found.s3, "0.0.0.0:9000".parse().unwrap());
    assert_eq!((found.transport, found.admin), (Transport::Tls, None));

    let wrong = config::addresses(sources(&[], &[("S3PROXY_PORT", "many")]));
    assert!(wrong.unwrap_err().to_string().contains("listen.port"));
}

//! Meaning of arguments, and arguments that are refused.

use super::*;

fn command(arguments: &[&str]) -> Result<Command, clap::Error> {
    let program = std::iter::once("s3proxy");
    try_parse(program.chain(arguments.iter().copied()).map(OsString::from))
}

#[test]
fn the_description_is_consistent() {
    description().debug_assert();
}

#[test]
fn without_a_command_the_program_serves() {
    assert!(matches!(command(&[]), Ok(Command::Serve(_))));
    let as_the_older_proxies = ["--no-tls", "--level=-4", "--ip", "::", "--allow-multipart"];
    assert!(matches!(
        command(&as_the_older_proxies),
        Ok(Command::Serve(_))
    ));
    assert!(matches!(
        command(&["serve", "--no-tls=false"]),
        Ok(Command::Serve(_))
    ));
}

#[test]
fn each_command_is_found() {
    assert!(matches!(command(&["keygen"]), Ok(Command::Keygen)));
    let health = command(&["health", "--ready", "--no-tls"]);
    assert!(matches!(health, Ok(Command::Health(health)) if health.ready));
    let check = command(&["check-config", "--config", "x.toml"]);
    assert!(matches!(check, Ok(Command::CheckConfig(_))));
}

#[cfg(feature = "dev")]
#[test]
fn dev_takes_a_folder_and_settings() {
    let Ok(Command::Dev(dev)) = command(&["dev", "objects", "--port", "9000"]) else {
        panic!("dev is due");
    };
    assert_eq!(dev.directory, Some(PathBuf::from("objects")));
}

#[test]
fn a_sweep_spares_a_day_unless_another_age_is_asked_for() {
    let Ok(Command::Sweep(sweep)) = command(&["sweep"]) else {
        panic!("a sweep is due");
    };
    assert_eq!(sweep.older_than, Duration::from_hours(24));
    assert!(sweep.buckets.is_empty() && !sweep.dry_run);
    let arguments = [
        "sweep",
        "--bucket",
        "a",
        "--bucket",
        "b",
        "--older-than",
        "0s",
    ];
    let Ok(Command::Sweep(sweep)) = command(&arguments) else {
        panic!("a sweep is due");
    };
    assert_eq!(sweep.buckets, ["a", "b"]);
    assert_eq!(sweep.older_than, Duration::ZERO);
    // Without a unit, with an unknown one, negative, empty, and longer than any time may be.
    for wrong in ["1", "1y", "-1s", "", "8d"] {
        assert!(
            command(&["sweep", "--older-than", wrong]).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn flags_without_effect_are_refused_with_the_reason() {
    let refused: &[(&[&str], &str, &str)] = &[
        (
            &["verify", "photos", "--port", "1"],
            "--port",
            "serves no clients",
        ),
        (
            &["rewrap", "photos", "--no-tls=false"],
            "--no-tls",
            "serves no clients",
        ),
        (
            &["inspect", "photos", "--allow-multipart"],
            "--allow-multipart",
            "takes no uploads",
        ),
        (
            &["decrypt", "photos", "--in-place", "--auth=none"],
            "--auth",
            "serves no clients",
        ),
        (
            &["migrate", "photos", "--set", "listen.port=1"],
            "--set listen.port",
            "serves no clients",
        ),
        (&["sweep", "--kms", "k:1"], "--kms", "needs no key"),
        (
            &["sweep", "--admin", "127.0.0.1:1"],
            "--admin",
            "serves no clients",
        ),
        (
            &["recover", "--backend", "http://b"],
            "--backend",
            "uses no network",
        ),
        #[cfg(feature = "dev")]
        (
            &["dev", "--backend", "http://b"],
            "--backend",
            "in its own folder",
        ),
        #[cfg(feature = "dev")]
        (&["dev", "--kms", "k:1"], "--kms", "in its own folder"),
    ];
    for (arguments, flag, reason) in refused {
        let Err(error) = command(arguments) else {
            panic!("{arguments:?} is not refused");
        };
        let text = error.to_string();
        assert!(text.contains(&format!("{flag} has no effect")), "{text}");
        assert!(text.contains(reason), "{text}");
        assert_eq!(error.exit_code(), 2, "{text}");
    }
}

#[test]
fn health_takes_every_flag_of_serve() {
    let flags = [
        "--no-tls",
        "--backend=http://b",
        "--kms=k:1",
        "--allow-multipart",
    ];
    let arguments: Vec<&str> = ["health"].into_iter().chain(flags).collect();
    assert!(matches!(command(&arguments), Ok(Command::Health(_))));
}

#[test]
fn mistyped_flags_still_get_a_suggestion() {
    let Err(error) = command(&["verify", "photos", "--head"]) else {
        panic!("--head is not refused");
    };
    assert!(error.to_string().contains("'--heads'"), "{error}");
}

#[test]
fn unknown_flags_and_words_are_refused() {
    assert!(command(&["--encrypt-key", "x"]).is_err());
    assert!(command(&["rewrap"]).is_err());
    assert!(command(&["keygen", "--no-tls"]).is_err());
    assert!(command(&["--no-tls=maybe"]).is_err());
}

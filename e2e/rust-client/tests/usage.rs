//! The command line as the suite uses it. The suite itself tests the command with servers.

use std::process::Command;

#[test]
fn without_a_known_command_it_says_which_there_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_s3proxy-e2e-client"))
        .args(["rename", "bucket"])
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("S3_ENDPOINT", "http://127.0.0.1:1")
        .env("S3_STYLE", "path")
        .output()
        .expect("the command starts");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("usage: s3proxy-e2e-client COMMAND"), "{told}");
    assert_eq!(output.stdout, b"");
}

//! Responses of key services: only values of the expected form are accepted, their texts are
//! truncated and put on one line, and no response panics a task.

#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing;
use s3proxy_fuzz::choices::Choices;

fn judge_text(text: &str) {
    assert!(text.chars().count() < 1000, "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn vault(status: StatusCode, body: &[u8]) {
    match fuzzing::vault_encrypted(status, body) {
        Ok(ciphertext) => {
            assert!(status.is_success());
            assert!(ciphertext.starts_with(b"vault:v") && ciphertext.len() <= 1024);
            assert!(ciphertext.is_ascii());
        }
        Err(text) => judge_text(&text),
    }
    match fuzzing::vault_decrypted(status, body) {
        Ok(length) => assert!(status.is_success() && length == 32),
        Err(text) => judge_text(&text),
    }
    match fuzzing::vault_login(status, body) {
        Ok(_) => assert!(status.is_success()),
        Err(text) => judge_text(&text),
    }
}

fn constellation(message: &[u8]) {
    if let Some(length) = fuzzing::constellation_key(message) {
        assert!(length <= message.len());
    }
    if fuzzing::constellation_asks(message) {
        assert_eq!(message.len(), 47);
        assert!(message.starts_with(b"s3proxy-kek/v1/"));
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let status = choices.pick(&[200_u16, 204, 400, 403, 404, 405, 412, 429, 500, 503]);
    let status = StatusCode::from_u16(status).expect("a status");
    match choices.byte() % 4 {
        0 => constellation(choices.rest()),
        1 => {
            let code = choices.text();
            judge_text(fuzzing::kms_advice(&code, status.as_u16()));
        }
        _ => vault(status, choices.rest()),
    }
});

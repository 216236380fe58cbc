use super::super::http::HttpResponse;
use super::*;

const OWN: &[u8] = b"vault:v12:c29tZXRoaW5n";

#[test]
fn only_texts_of_transits_form_are_passed_on() {
    assert_eq!(CiphertextKind::classify(OWN), CiphertextKind::Symmetric);
    let refused: [&[u8]; 11] = [
        b"",
        b"vault:",
        b"vault:v1:",
        // Versions are decimal numbers from 1, without leading zeros and of 32 bits.
        b"vault:v0:c29tZXRoaW5n",
        b"vault:v01:c29tZXRoaW5n",
        b"vault:v+1:c29tZXRoaW5n",
        b"vault:v4294967296:c29tZXRoaW5n",
        // Incomplete Base64, and characters that would end the JSON string.
        b"vault:v1:c29tZXRoaW5",
        b"vault:v1:c29t\",\"x\":\"",
        b" vault:v1:c29tZXRoaW5n",
        b"vault:v1:c29tZXRoaW5n\n",
    ];
    for text in refused {
        assert_eq!(
            CiphertextKind::classify(text),
            CiphertextKind::Foreign,
            "{}",
            text.escape_ascii()
        );
    }
}

#[test]
fn what_only_an_rsa_key_makes_is_told_by_its_length() {
    let sealed = |length| {
        let text = STANDARD.encode(vec![7; length]);
        CiphertextKind::classify(format!("vault:v1:{text}").as_bytes())
    };
    // AES-GCM and XChaCha20-Poly1305 add 28 and 40 bytes to a KEK; RSA with 2048 bits makes 256.
    for (length, form) in [
        (60, CiphertextKind::Symmetric),
        (72, CiphertextKind::Symmetric),
        (255, CiphertextKind::Symmetric),
        (256, CiphertextKind::Asymmetric),
        (512, CiphertextKind::Asymmetric),
        (759, CiphertextKind::Asymmetric),
        // Longer than an envelope may carry.
        (762, CiphertextKind::Foreign),
    ] {
        assert_eq!(sealed(length), form, "{length}");
    }
}

#[test]
fn requests_have_the_documented_bodies() {
    assert_eq!(
        *json_of_text("plaintext", b"a2V5", AssociatedData::Off),
        *br#"{"plaintext":"a2V5"}"#
    );
    let decrypt = json_of_text("ciphertext", OWN, AssociatedData::On);
    // The associated data is `s3proxy/v1/kek`, in Base64.
    let expected =
        br#"{"ciphertext":"vault:v12:c29tZXRoaW5n","associated_data":"czNwcm94eS92MS9rZWs="}"#;
    assert_eq!(*decrypt, *expected);
}

#[test]
fn mounts_and_keys_become_one_path_or_are_refused() {
    let path = |mount: &str, key: &str| server::path(&[mount, "encrypt", key], "mount or key");
    assert_eq!(
        path("teams/one/transit", "key.1").unwrap(),
        "/v1/teams/one/transit/encrypt/key.1"
    );
    for (mount, key) in [
        ("", "key"),
        ("transit", ""),
        ("/transit", "key"),
        ("transit", "../decrypt/other"),
        ("transit", "key?x=1"),
        ("transit", "a key"),
        ("transit", "key%2f"),
    ] {
        assert!(path(mount, key).is_err(), "{mount} {key}");
    }
}

fn judged(operation: VaultOperation, status: u16, error: &str) -> ServiceError {
    let response = HttpResponse {
        status: StatusCode::from_u16(status).unwrap(),
        body: Zeroizing::new(
            serde_json::json!({ "errors": [error] })
                .to_string()
                .into_bytes(),
        ),
    };
    response::check(operation, &response).unwrap_err()
}

#[test]
fn every_refusal_is_whose_fault_it_is() {
    use VaultOperation::{Decrypt, Encrypt, Login, Token};
    let kinds = [
        (Decrypt, 400, "encryption key not found", "key"),
        (
            Decrypt,
            400,
            "ciphertext or signature version is disallowed by policy (too old)",
            "key",
        ),
        (
            Decrypt,
            400,
            "message decryption not supported for key type ed25519",
            "key",
        ),
        (
            Decrypt,
            404,
            "no handler for route \"transit/decrypt/x\".",
            "key",
        ),
        (
            Decrypt,
            405,
            "1 error occurred:\n\t* unsupported operation\n\n",
            "key",
        ),
        (Decrypt, 400, "invalid ciphertext: no prefix", "ciphertext"),
        (
            Decrypt,
            400,
            "invalid ciphertext: version is too new",
            "ciphertext",
        ),
        (
            Decrypt,
            400,
            "cipher: message authentication failed",
            "ciphertext",
        ),
        (
            Decrypt,
            500,
            "cipher: message authentication failed",
            "ciphertext",
        ),
        (Decrypt, 400, "invalid ciphertext length", "ciphertext"),
        (Decrypt, 400, "refusing to use soft-deleted key", "key"),
        // Unknown words blame the ciphertext when it is opened, and the key when it is made.
        (Decrypt, 400, "words of another version", "ciphertext"),
        (Encrypt, 400, "encryption key not found", "key"),
        (Encrypt, 400, "words of another version", "key"),
        (Encrypt, 403, "permission denied", "refused"),
        (Decrypt, 403, "permission denied", "refused"),
        (Login, 400, "invalid role or secret ID", "refused"),
        (Login, 403, "permission denied", "refused"),
        (Token, 400, "lease is not renewable", "refused"),
        (Token, 500, "past the max TTL, cannot renew", "refused"),
        (Token, 500, "internal error", "unavailable"),
        (Login, 503, "Vault is sealed", "unavailable"),
        (
            Encrypt,
            429,
            "request path rate limit quota exceeded",
            "throttled",
        ),
        (Decrypt, 500, "internal error", "unavailable"),
        (Encrypt, 503, "Vault is sealed", "unavailable"),
    ];
    for (operation, status, error, expected) in kinds {
        let found = match judged(operation, status, error) {
            ServiceError::Unavailable(_) => "unavailable",
            ServiceError::Throttled(_) => "throttled",
            ServiceError::Refused(_) => "refused",
            ServiceError::Key(_) => "key",
            ServiceError::Ciphertext(_) => "ciphertext",
        };
        assert_eq!(found, expected, "{operation:?} {status} {error}");
    }
}

#[test]
fn what_the_service_says_is_told_in_one_short_line() {
    let error = judged(
        VaultOperation::Encrypt,
        403,
        "1 error occurred:\n\t* permission\u{1b} denied\n\n",
    );
    let text = error.to_string();
    assert!(
        text.contains("status 403, 1 error occurred: * permission denied;"),
        "{text}"
    );
    let long = judged(VaultOperation::Encrypt, 500, &"x".repeat(5000)).to_string();
    assert!(long.len() < 500, "{}", long.len());
}

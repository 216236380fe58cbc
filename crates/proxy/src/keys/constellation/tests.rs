//! Tests of the client without a service: ids, messages, and errors.

use prost::Message as _;

use super::*;

fn at(address: &str) -> Constellation {
    let config = ConstellationKey {
        address: address.parse().unwrap(),
        authorities: Authorities::System,
    };
    Constellation::connect(&config, Duration::from_millis(500)).unwrap()
}

#[test]
fn only_what_this_program_made_passes_as_an_id() {
    let id = new_id();
    assert_eq!(id_of(id.as_bytes()), Some(id.as_str()));
    assert_ne!(id, new_id());
    let digits = "0123456789abcdef0123456789abcdef";
    assert!(id_of(format!("s3proxy-kek/v1/{digits}").as_bytes()).is_some());
    for other in [
        String::new(),
        "s3proxy-kek".to_owned(),
        "s3proxy-kek/v1/".to_owned(),
        "some-disk".to_owned(),
        format!("s3proxy-kek/v1/{}", digits.to_uppercase()),
        format!("s3proxy-kek/v1/{digits}0"),
        format!("s3proxy-kek/v1/{}", &digits[1..]),
        format!("s3proxy-kek/v1/{}/", &digits[1..]),
        format!("s3proxy-kek/v2/{digits}"),
        format!(" s3proxy-kek/v1/{digits}"),
    ] {
        assert_eq!(id_of(other.as_bytes()), None, "{other:?}");
    }
    assert_eq!(id_of(&[0xff; 47]), None);
}

#[test]
fn the_request_is_encoded_as_published() {
    let request = GetDataKeyRequest {
        data_key_id: "id".to_owned(),
        length: 32,
    };
    // Field numbers and types as in Constellation's protocol definition.
    assert_eq!(request.encode_to_vec(), b"\x0a\x02id\x10\x20");
    let response = GetDataKeyResponse::decode(&b"\x0a\x03key"[..]).unwrap();
    assert_eq!(response.data_key, b"key");
}

#[test]
fn the_answer_does_not_show_its_key() {
    let response = GetDataKeyResponse {
        data_key: b"key".to_vec(),
    };
    assert_eq!(format!("{response:?}"), "GetDataKeyResponse { .. }");
}

#[tokio::test]
async fn an_id_of_another_form_is_refused_without_asking() {
    // Nothing listens at this address: a request would fail as `Unavailable`.
    let service = at("http://127.0.0.1:1");
    let error = service.open(b"s3proxy-kek").await.err().unwrap();
    assert!(matches!(error, ServiceError::Ciphertext(_)), "{error}");
}

#[tokio::test]
async fn a_service_that_is_down_is_no_error_at_start_and_unavailable_later() {
    let service = at("http://127.0.0.1:1");
    for error in [
        service.create().await.err(),
        service.check().await.err(),
        service.legacy_kek().await.err(),
    ] {
        let error = error.unwrap();
        assert!(matches!(error, ServiceError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_service_that_says_nothing_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = at(&format!("http://{}", listener.local_addr().unwrap()));
    let error = service.create().await.err().unwrap();
    assert!(matches!(error, ServiceError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn an_unreadable_file_of_authorities_is_an_error_at_start() {
    let config = ConstellationKey {
        address: "https://127.0.0.1:1".parse().unwrap(),
        authorities: Authorities::File("/nonexistent/ca.pem".into()),
    };
    let error = Constellation::connect(&config, Duration::from_secs(1));
    assert!(error.err().unwrap().to_string().contains("ca.pem"));
}

#[tokio::test]
async fn each_status_has_its_fault() {
    let service = at("http://127.0.0.1:1");
    let error_of = |code| service.status_error(GET_DATA_KEY, &Status::new(code, "why"));
    assert!(matches!(
        error_of(Code::Internal),
        ServiceError::Unavailable(_)
    ));
    assert!(matches!(
        error_of(Code::PermissionDenied),
        ServiceError::Refused(_)
    ));
    let error = error_of(Code::Unimplemented);
    assert_eq!(
        error.to_string(),
        "the key at the service cannot be used: http://127.0.0.1:1/kms.API/GetDataKey: \
         Unimplemented: why; is this Constellation's key service?"
    );
}

//! Requests that AWS's own signer signed, or a signer of Version 2: the gate knows the client, in the
//! header and in the query; and what is changed behind the client's back is refused, or means what it
//! meant.

#![no_main]

use std::sync::LazyLock;

use aws_sigv4::http_request::{SignableBody, SignatureLocation};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing::{Admitted, AdmittedRequest, Gate};
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::head;
use s3proxy_fuzz::signing::{self, ACCESS_KEY_ID, NOW, SECRET};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::operation::{self, Operation};
use s3proxy_protocol::percent;
use time::Duration;

const TOKEN: &str = "a token/with+signs==";

static PLAIN: LazyLock<Gate> =
    LazyLock::new(|| Gate::with_client(ACCESS_KEY_ID, SECRET, None, "public"));
static WITH_TOKEN: LazyLock<Gate> =
    LazyLock::new(|| Gate::with_client(ACCESS_KEY_ID, SECRET, Some(TOKEN), "public"));

const METHODS: [Method; 5] = [
    Method::GET,
    Method::PUT,
    Method::HEAD,
    Method::DELETE,
    Method::POST,
];

const PARAMETERS: [&str; 10] = [
    "versionId",
    "uploadId",
    "partNumber",
    "prefix",
    "list-type",
    "acl",
    "tagging",
    "delete",
    "response-content-type",
    "x-id",
];

/// An unsigned head with any text as key, parameters and metadata.
fn unsigned(choices: &mut Choices<'_>) -> Option<Parts> {
    let method = METHODS[usize::from(choices.byte()) % METHODS.len()].clone();
    let key = choices.text();
    let mut target = format!("/bucket/{}", percent::encode_path(&key));
    for index in 0..choices.byte() % 4 {
        let name = percent::encode_component(choices.pick(&PARAMETERS));
        let value = percent::encode_component(&choices.text());
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(&format!("{name}={value}"));
    }
    let mut parts = head::parse(b"GET /\nhost:localhost")?;
    parts.method = method;
    parts.uri = Uri::try_from(target).ok()?;
    if choices.flag() {
        // On the wire, white space around a value is not part of it.
        let value = HeaderValue::try_from(choices.text().trim_ascii()).ok()?;
        parts.headers.insert("x-amz-meta-text", value);
    }
    Some(parts)
}

/// Whether an error means that the signature was refused.
fn is_about_the_signature(error: &S3Error) -> bool {
    matches!(
        error.code,
        ErrorCode::SignatureDoesNotMatch
            | ErrorCode::InvalidAccessKeyId
            | ErrorCode::InvalidToken
            | ErrorCode::RequestTimeTooSkewed
            | ErrorCode::AccessDenied
            | ErrorCode::AuthorizationHeaderMalformed
            | ErrorCode::AuthorizationQueryParametersError
    )
}

/// Changes something, anywhere. `None` if the result is not a valid head.
fn change(parts: &mut Parts, choices: &mut Choices<'_>) -> Option<()> {
    match choices.byte() % 4 {
        0 => {
            let mut target = parts.uri.to_string().into_bytes();
            choices.mutate(&mut target);
            parts.uri = Uri::try_from(&target[..]).ok()?;
        }
        1 => {
            let names: Vec<HeaderName> = parts.headers.keys().cloned().collect();
            let name = &names[choices.position(names.len())];
            let mut value = parts.headers.get(name)?.as_bytes().to_vec();
            choices.mutate(&mut value);
            parts
                .headers
                .insert(name, HeaderValue::from_bytes(&value).ok()?);
        }
        2 => {
            let names: Vec<HeaderName> = parts.headers.keys().cloned().collect();
            parts.headers.remove(&names[choices.position(names.len())]);
        }
        _ => parts.method = METHODS[usize::from(choices.byte()) % METHODS.len()].clone(),
    }
    Some(())
}

/// How a request is signed.
#[derive(Clone, Copy)]
enum Version {
    Two,
    Four(SignatureLocation),
}

impl Version {
    /// Parameters that page or narrow a listing are outside of a signature of Version 2, and so are
    /// those that no operation has: the program ignores them.
    fn covers(self, parameter: &str) -> bool {
        match self {
            Self::Two => {
                let outside = ["prefix", "list-type", "x-id"];
                operation::has_parameter(parameter)
                    && !outside
                        .iter()
                        .any(|name| name.eq_ignore_ascii_case(parameter))
            }
            Self::Four(_) => true,
        }
    }
}

/// What a request means, as far as its signature covers it.
fn meaning(request: &AdmittedRequest, version: Version) -> impl PartialEq + std::fmt::Debug {
    let own = |name: &str| name.to_ascii_lowercase().starts_with("x-amz-");
    let mut parameters: Vec<(String, String)> = request
        .query
        .pairs()
        .filter(|(name, _)| !own(name) && version.covers(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    parameters.sort();
    let text = request.headers.get("x-amz-meta-text").map(|value| {
        // The signature covers the words of a value, but not the white space around and between
        // them.
        let words = value
            .as_bytes()
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        words.map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    let address = &request.address;
    // With or without `list-type`, a listing shows the same objects.
    let operation = match request.operation {
        Operation::ListObjectsV2 => Operation::ListObjects,
        operation => operation,
    };
    (
        operation,
        address.bucket.clone(),
        address.key.clone(),
        parameters,
        text,
        request.payload.clone(),
    )
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let version = choices.pick(&[
        Version::Four(SignatureLocation::Headers),
        Version::Four(SignatureLocation::QueryParams),
        Version::Two,
    ]);
    let token = choices.flag().then_some(TOKEN);
    // The other gate differs only in the session token, and must refuse the request.
    let (gate, other) = if token.is_some() {
        (&*WITH_TOKEN, &*PLAIN)
    } else {
        (&*PLAIN, &*WITH_TOKEN)
    };
    let Some(parts) = unsigned(&mut choices) else {
        return;
    };
    let signed = match version {
        Version::Four(location) => {
            signing::sign_head(parts, location, token, SignableBody::UnsignedPayload)
        }
        // Values are signed decoded, so that one with an ampersand stands for two parameters.
        Version::Two if parts.uri.to_string().contains("%26") => None,
        Version::Two => signing::sign_head_with_version_2(parts, token),
    };
    let Some(signed) = signed else {
        return;
    };
    let original = match gate.admit(signed.clone(), NOW) {
        Ok(Admitted::Request(request)) => {
            assert!(request.is_signed);
            request
        }
        Ok(Admitted::Form) => return,
        Err(error) => {
            assert!(!is_about_the_signature(&error), "{error:?} {signed:?}");
            return;
        }
    };
    assert!(
        other.admit(signed.clone(), NOW).is_err(),
        "a token has to be the client's"
    );
    assert!(
        gate.admit(signed.clone(), NOW - Duration::minutes(16))
            .is_err(),
        "too early"
    );
    assert!(
        gate.admit(signed.clone(), NOW + Duration::minutes(61))
            .is_err(),
        "too late"
    );
    let mut changed = signed;
    if change(&mut changed, &mut choices).is_none() {
        return;
    }
    if let Ok(Admitted::Request(request)) = gate.admit(changed.clone(), NOW)
        && request.is_signed
    {
        assert_eq!(
            meaning(&request, version),
            meaning(&original, version),
            "{changed:?}"
        );
    }
});

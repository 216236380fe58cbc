//! AWS's own signer, used as in a client's SDK.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::hmac;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::{SigningParams, calculate_signature, generate_signing_key};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri};
use s3proxy_protocol::percent;
use s3proxy_protocol::query::Query;
use time::OffsetDateTime;
use time::macros::datetime;

/// The client's access key.
pub const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
/// The client's secret key, from AWS's examples.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// The signing time of all requests.
pub const NOW: OffsetDateTime = datetime!(2013-05-24 00:00:00 UTC);
/// [`NOW`] and the scope, in the form used in chunk signatures.
const SCOPE: &str = "20130524T000000Z\n20130524/us-east-1/s3/aws4_request";
const REGION: &str = "us-east-1";

/// Signs the head. `None` if the signer refuses the request.
#[must_use]
pub fn sign_head(
    mut parts: Parts,
    location: SignatureLocation,
    token: Option<&str>,
    body: SignableBody<'static>,
) -> Option<Parts> {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET, token.map(str::to_owned), None, "");
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.signature_location = location;
    settings.expires_in = Some(Duration::from_secs(3600));
    let params = SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::from(NOW))
        .settings(settings)
        .build()
        .ok()?;
    let headers: Option<Vec<(&str, &str)>> = parts
        .headers
        .iter()
        .map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?)))
        .collect();
    let host = parts.headers.get("host")?.to_str().ok()?;
    let url = format!("http://{host}{}", parts.uri);
    let method = parts.method.as_str();
    let signable = SignableRequest::new(method, url, headers?.into_iter(), body).ok()?;
    let (instructions, _) = sign(signable, &params.into()).ok()?.into_parts();
    let (headers, parameters) = instructions.into_parts();
    for header in headers {
        let name = HeaderName::from_bytes(header.name().as_bytes()).ok()?;
        parts.headers.append(
            name,
            HeaderValue::from_bytes(header.value().as_bytes()).ok()?,
        );
    }
    let mut target = parts.uri.to_string();
    for (name, value) in parameters {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&format!("{name}={}", percent::encode_component(&*value)));
    }
    parts.uri = Uri::try_from(target).ok()?;
    Some(parts)
}

/// Parameters that the signer of Version 2 signs.
const SIGNED_BY_VERSION_2: [&str; 7] = [
    "acl",
    "delete",
    "partNumber",
    "response-content-type",
    "tagging",
    "uploadId",
    "versionId",
];

/// Signs the head in its headers with Version 2. `None` where the head cannot be signed so.
#[must_use]
pub fn sign_head_with_version_2(mut parts: Parts, token: Option<&str>) -> Option<Parts> {
    const DATE: HeaderValue = HeaderValue::from_static("Fri, 24 May 2013 00:00:00 GMT");
    parts.headers.insert("date", DATE);
    if let Some(token) = token {
        let token = HeaderValue::from_str(token).ok()?;
        parts.headers.insert("x-amz-security-token", token);
    }
    let mut text = format!("{}\n\n\n{}\n", parts.method, DATE.to_str().ok()?).into_bytes();
    for name in ["x-amz-meta-text", "x-amz-security-token"] {
        if let Some(value) = parts.headers.get(name) {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
    }
    text.extend_from_slice(parts.uri.path().as_bytes());
    let query = Query::parse(parts.uri.query()).ok()?;
    let mut parameters: Vec<String> = query
        .pairs()
        .filter(|(name, _)| SIGNED_BY_VERSION_2.contains(name))
        .map(|(name, value)| match value {
            "" => name.to_owned(),
            value => format!("{name}={value}"),
        })
        .collect();
    parameters.sort();
    if !parameters.is_empty() {
        text.push(b'?');
        text.extend_from_slice(parameters.join("&").as_bytes());
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let signature = base64(hmac::sign(&key, &text).as_ref());
    let value = HeaderValue::try_from(format!("AWS {ACCESS_KEY_ID}:{signature}")).ok()?;
    parts.headers.insert("authorization", value);
    Some(parts)
}

/// The signatures inside a body, each chained to the one before.
pub struct ChunkSigner {
    previous: String,
}

impl ChunkSigner {
    /// Starts from the signature of the head.
    #[must_use]
    pub fn behind(parts: &Parts) -> Option<Self> {
        let authorization = parts.headers.get("authorization")?.to_str().ok()?;
        let (_, signature) = authorization.rsplit_once("Signature=")?;
        Some(Self {
            previous: signature.to_owned(),
        })
    }

    /// The signature of a chunk, in hexadecimal; `digest` is that of the chunk.
    pub fn chunk(&mut self, digest: &str) -> String {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        self.link("AWS4-HMAC-SHA256-PAYLOAD", &format!("{EMPTY}\n{digest}"))
    }

    /// The signature of the trailers, in hexadecimal; `digest` is that of the trailers.
    pub fn trailer(&mut self, digest: &str) -> String {
        self.link("AWS4-HMAC-SHA256-TRAILER", digest)
    }

    fn link(&mut self, algorithm: &str, digests: &str) -> String {
        let key = generate_signing_key(SECRET, SystemTime::from(NOW), REGION, "s3");
        let text = format!("{algorithm}\n{SCOPE}\n{}\n{digests}", self.previous);
        self.previous = calculate_signature(key, text.as_bytes());
        self.previous.clone()
    }
}

/// The signature of a form's policy; `policy` is the text of its field.
#[must_use]
pub fn sign_policy(policy: &str) -> String {
    let key = generate_signing_key(SECRET, SystemTime::from(NOW), REGION, "s3");
    calculate_signature(key, policy.as_bytes())
}

/// Bytes in Base64.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn hex_sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes everything");
            text
        })
}

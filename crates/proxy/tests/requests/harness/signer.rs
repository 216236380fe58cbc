//! Signature Version 4 of a client, computed by the `aws-sigv4` crate.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

/// Names and values of headers or query parameters.
type Pairs = Vec<(String, String)>;

/// An access key with its secret.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl Credential {
    pub(crate) fn new(access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
        }
    }

    /// The headers of a signed request for `host`, with the payload hash `payload`.
    pub(crate) fn headers(
        &self,
        (method, host, target): (&str, &str, &str),
        headers: &[(String, String)],
        payload: &str,
    ) -> Pairs {
        let mut settings = settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let signed = self.sign((method, host, target), headers, payload, settings);
        let (added, _) = signed;
        added
    }

    /// The target of a presigned request.
    pub(crate) fn presigned(
        &self,
        (method, host, target): (&str, &str, &str),
        lifetime: Duration,
    ) -> String {
        let mut settings = settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(lifetime);
        let (_, parameters) = self.sign((method, host, target), &[], "UNSIGNED-PAYLOAD", settings);
        let separator = if target.contains('?') { '&' } else { '?' };
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        format!("{target}{separator}{}", query.join("&"))
    }

    fn sign(
        &self,
        (method, host, target): (&str, &str, &str),
        headers: &[(String, String)],
        payload: &str,
        settings: SigningSettings,
    ) -> (Pairs, Pairs) {
        let identity = Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            None,
            None,
            "test",
        )
        .into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let host_header = ("host", host);
        let all = std::iter::once(host_header).chain(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let body = match payload {
            "UNSIGNED-PAYLOAD" => SignableBody::UnsignedPayload,
            hash => SignableBody::Precomputed(hash.to_owned()),
        };
        let request =
            SignableRequest::new(method, format!("http://{host}{target}"), all, body).unwrap();
        let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
        let (headers, parameters) = instructions.into_parts();
        let headers = headers
            .iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()));
        let parameters = parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into_owned()));
        (headers.collect(), parameters.collect())
    }
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

/// A query value in S3's encoding: all characters but the unreserved ones are escaped.
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    encoded
}

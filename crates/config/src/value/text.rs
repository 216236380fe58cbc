//! Names, addresses and secrets.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use s3proxy_protocol::operation::Operation;
use zeroize::Zeroizing;

use super::{Reason, Scalar, scalar_from_str};
use crate::declare::Sensitivity;
use crate::dek_tag::MetadataName;
use crate::endpoint::{self, ServerAddress};
use crate::pattern::Pattern;
use crate::secret::SecretText;

scalar_from_str! {
    ServerAddress: "host, host:port, http://host[:port] or https://host[:port]; IPv6 in brackets",
    Pattern: "text in which * stands for any text",
    MetadataName: "a metadata name without x-amz-meta-, such as isec",
}

impl Scalar for IpAddr {
    fn expects() -> String {
        "an IP address, such as 127.0.0.1 or ::".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        text.parse().map_err(|_| String::new())
    }
}

impl Scalar for SocketAddr {
    fn expects() -> String {
        "an IP address and a port, such as 127.0.0.1:9090 or [::]:9090".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        text.parse().map_err(|_| String::new())
    }
}

impl Scalar for PathBuf {
    fn expects() -> String {
        "a path".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        if text.is_empty() {
            Err("it is empty".to_owned())
        } else {
            Ok(Self::from(text))
        }
    }
}

/// A free text of one line, for names.
impl Scalar for String {
    fn expects() -> String {
        "text without control characters".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(String::new());
        }
        Ok(text.to_owned())
    }
}

/// Declares a newtype over text that satisfies a condition.
macro_rules! checked_text {
    ($($(#[$attribute:meta])* $name:ident($inner:ty): $expects:literal, $parse:expr;)+) => {$(
        $(#[$attribute])*
        pub(crate) struct $name(pub $inner);

        impl Scalar for $name {
            fn expects() -> String {
                $expects.to_owned()
            }

            fn parse(text: &str) -> Result<Self, Reason> {
                let parse: fn(&str) -> Option<$inner> = $parse;
                parse(text).map(Self).ok_or_else(String::new)
            }
        }
    )+};
}

fn only(text: &str, valid: fn(u8) -> bool) -> Option<String> {
    (!text.is_empty() && text.bytes().all(valid)).then(|| text.to_owned())
}

/// An access key id. AWS's own are letters and digits; other servers accept more. A refused one is
/// not shown, since it may be the secret that belongs to it.
pub(crate) struct AccessKeyId(pub String);

impl Scalar for AccessKeyId {
    const SENSITIVITY: Sensitivity = Sensitivity::Masked;

    fn expects() -> String {
        "an access key ID: up to 128 letters, digits and any of . _ - + = @".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        only(text, |b| {
            b.is_ascii_alphanumeric() || b"._-+=@".contains(&b)
        })
        .filter(|id| id.len() <= 128)
        .map(Self)
        .ok_or_else(String::new)
    }
}

checked_text! {
    /// An operation that a backend may not know, and mistake for another.
    SubResourceChange(Operation): "the name of an operation that changes a sub-resource, such as PutBucketWebsite",
        |text| Operation::ALL.iter().copied().find(|operation| operation.as_str() == text).filter(|operation| operation.changes_sub_resource());
    /// The region of a credential scope.
    RegionName(String): "a region, such as eu-west-1",
        |text| only(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    /// A bucket name, validated as leniently as by the S3 servers that allow older names.
    BucketName(String): "a bucket name: 3 to 255 letters, digits, dots, hyphens and underscores",
        |text| only(text, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)).filter(|name| (3..=255).contains(&name.len()));
    Domain(String): "a domain, such as s3.example.com", endpoint::dns_name;
    /// Prefix of the state's keys, short enough to leave room for the rest of the key.
    StatePrefix(String): "a key prefix of at most 128 characters that ends with / and does not begin with it",
        |text| only(text, |b| b.is_ascii_graphic())
            .filter(|prefix| prefix.len() <= 128 && !prefix.contains('\\'))
            .filter(|prefix| prefix.strip_suffix('/').is_some_and(|path| path.split('/').all(|name| !matches!(name, "" | "." | ".."))));
    /// A path inside a key service: a mount, a namespace, a key's name.
    ServicePath(String): "names of letters, digits, dots, hyphens and underscores, separated by slashes",
        |text| only(text, |b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
            .filter(|path| path.split('/').all(|name| !matches!(name, "" | "." | "..")));
    /// A network, or a single address.
    Cidr(IpNet): "a network or an address, such as 10.0.0.0/8, fd00::/8 or 10.1.2.3",
        |text| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
}

/// Destination of requests.
pub(crate) enum BackendAddress {
    Server(ServerAddress),
    /// The AWS endpoint that the client named.
    Aws,
}

impl Scalar for BackendAddress {
    fn expects() -> String {
        format!(
            "{}; or aws for the AWS endpoint that each client names",
            ServerAddress::expects()
        )
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        if text == "aws" {
            return Ok(Self::Aws);
        }
        ServerAddress::parse(text).map(Self::Server)
    }
}

/// Address of Constellation's key service, plain HTTP unless it says `https`.
pub(crate) struct KmsAddress(pub ServerAddress);

/// Port of that service in a cluster.
const KMS_PORT: u16 = 9000;

impl Scalar for KmsAddress {
    fn expects() -> String {
        "host:port, http://host:port or https://host:port; IPv6 in brackets".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        ServerAddress::of_service(text, |_| KMS_PORT)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl Scalar for SecretText {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "non-empty text".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        Self::new(Zeroizing::new(text.to_owned())).map_err(|empty| empty.to_string())
    }
}

/// A secret that another party issued, without white space at its ends: a line break there would be
/// left over from a file or a variable.
pub(crate) struct IssuedSecret(pub SecretText);

impl Scalar for IssuedSecret {
    const SENSITIVITY: Sensitivity = Sensitivity::Secret;

    fn expects() -> String {
        "text without leading or trailing white space".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        if text.trim() != text {
            return Err("it has leading or trailing white space; remove it".to_owned());
        }
        if text.starts_with('\u{feff}') {
            return Err("it begins with a byte order mark; save the file without one".to_owned());
        }
        SecretText::parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(RegionName::parse("eu-west-1").is_ok());
        assert!(RegionName::parse("EU West").is_err());
        assert!(BucketName::parse("ab").is_err());
        assert!(BucketName::parse("a_B.c-1").is_ok());
        assert!(AccessKeyId::parse("AKIA/1").is_err());
        assert!(Domain::parse("s3.example.com").is_ok());
        assert!(Domain::parse("s3..example.com").is_err());
        assert!(String::parse("two\nlines").is_err());
    }

    #[test]
    fn the_key_service_of_constellation_is_plain_unless_it_says_otherwise() {
        let parse = |text| KmsAddress::parse(text).map(|address| address.0.to_string());
        let usual = parse("key-service.kube-system:9000");
        assert_eq!(usual.as_deref(), Ok("http://key-service.kube-system:9000"));
        assert_eq!(parse("https://kms").as_deref(), Ok("https://kms:9000"));
        assert_eq!(parse("kms:80").as_deref(), Ok("http://kms"));
        assert!(parse("grpc://kms:9000").is_err());
    }

    #[test]
    fn paths_at_a_service_cannot_climb() {
        assert!(ServicePath::parse("team/transit").is_ok());
        for path in ["", "/transit", "transit/", "a//b", "../sys", "a?b", "a%2fb"] {
            assert!(ServicePath::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn only_changes_of_sub_resources_are_listed() {
        assert!(SubResourceChange::parse("PutBucketWebsite").is_ok());
        assert!(SubResourceChange::parse("RestoreObject").is_ok());
        for name in [
            // No change of a sub-resource, a deletion, or an operation that is not supported.
            "PutObject",
            "CreateBucket",
            "DeleteBucketWebsite",
            "UpdateObjectEncryption",
            "putbucketwebsite",
            "*",
        ] {
            assert!(SubResourceChange::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_state_prefix_is_a_folder_of_its_own() {
        assert!(StatePrefix::parse(".s3proxy/").is_ok());
        for prefix in [
            "",
            "/",
            "s3proxy",
            "/s3proxy/",
            "a//b/",
            "a b/",
            "./",
            "../",
            "a/../",
            "a/./b/",
            "a\\b/",
        ] {
            assert!(StatePrefix::parse(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(
            Cidr::parse("10.0.0.0/8").ok().unwrap().0.to_string(),
            "10.0.0.0/8"
        );
        assert_eq!(
            Cidr::parse("10.1.2.3").ok().unwrap().0.to_string(),
            "10.1.2.3/32"
        );
        assert_eq!(Cidr::parse("::1").ok().unwrap().0.to_string(), "::1/128");
        assert!(Cidr::parse("10.0.0.0/33").is_err());
    }
}

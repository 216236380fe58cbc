//! Settings with a closed set of values, each with its word.
//!
//! A choice between yes and no also accepts the usual words for it: users of the older proxies have
//! written `true` and `1`.

use super::{OtlpProtocol, Reason, Scalar};
use crate::resolved::{
    Access, Addressing, AnnounceEncryption, AssociatedData, AuditFailure, AuditObjectKeys,
    Encryption, Feature, Integrity, KeyBinding, Listing, LogFormat, Metadata, Multipart, PartSizes,
    Permission,
};

const YES: &[&str] = &["true", "1", "yes", "on"];
const NO: &[&str] = &["false", "0", "no", "off"];

/// Whether something is switched on, before it gets the setting's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
}

/// Mode of authentication, before the clients are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthenticationMode {
    SigV4,
    None,
}

/// Login method for Vault, before its other settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginMethod {
    Token,
    AppRole,
    Kubernetes,
}

macro_rules! choice {
    ($($type:ty { $($word:literal $(+ $synonyms:ident)? => $variant:ident),+ $(,)? })+) => {$(
        impl Scalar for $type {
            fn expects() -> String {
                [$($word),+].join(" | ")
            }

            fn parse(text: &str) -> Result<Self, Reason> {
                $(
                    if text.eq_ignore_ascii_case($word)
                        $(|| $synonyms.iter().any(|word| text.eq_ignore_ascii_case(word)))?
                    {
                        return Ok(Self::$variant);
                    }
                )+
                Err(String::new())
            }
        }
    )+};
}

choice! {
    Switch { "on" + YES => On, "off" + NO => Off }
    AnnounceEncryption { "on" + YES => On, "off" + NO => Off }
    AssociatedData { "on" + YES => On, "off" + NO => Off }
    Permission { "allow" + YES => Allow, "deny" + NO => Deny }
    AuthenticationMode { "sigv4" => SigV4, "none" => None }
    Addressing { "path" => Path, "virtual-host" => VirtualHost }
    Feature {
        "tagging" => Tagging, "acl" => Acl, "object-lock" => ObjectLock,
        "server-side-encryption" => ServerSideEncryption, "bucket-owner" => BucketOwner,
        "request-payer" => RequestPayer, "website" => Website,
        "trailing-checksums" => TrailingChecksums
    }
    Integrity { "auto" => Auto, "trailer" => Trailer, "unsigned" => Unsigned }
    Access { "read" => Read, "write" => Write, "delete" => Delete, "list" => List, "admin" => Admin }
    LoginMethod { "token" => Token, "approle" => AppRole, "kubernetes" => Kubernetes }
    Encryption { "on" + YES => On, "required" => Required, "off" + NO => Off }
    KeyBinding { "key" => Key, "bucket-and-key" => BucketAndKey }
    Listing { "exact" => Exact, "computed" => Computed }
    Multipart { "encrypt" => Encrypt, "block" => Block, "forward-plaintext" => ForwardPlaintext }
    PartSizes { "any" => Any, "equal" => Equal }
    Metadata { "plain" => Plain, "sealed" => Sealed }
    LogFormat { "auto" => Auto, "text" => Text, "json" => Json }
    AuditObjectKeys { "plain" => Plain, "off" + NO => Off }
    OtlpProtocol { "http/protobuf" => HttpProtobuf, "grpc" => Grpc }
    AuditFailure { "refuse" => Refuse, "drop" => Drop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_in_any_case() {
        assert_eq!(Listing::parse("Exact"), Ok(Listing::Exact));
        assert_eq!(
            KeyBinding::parse("bucket-and-key"),
            Ok(KeyBinding::BucketAndKey)
        );
        assert_eq!(Listing::parse("exactly"), Err(String::new()));
    }

    #[test]
    fn yes_and_no_have_their_usual_words() {
        for word in ["allow", "true", "1", "TRUE"] {
            assert_eq!(Permission::parse(word), Ok(Permission::Allow), "{word}");
        }
        for word in ["deny", "false", "0"] {
            assert_eq!(Permission::parse(word), Ok(Permission::Deny), "{word}");
        }
        assert!(Multipart::parse("true").is_err());
    }
}

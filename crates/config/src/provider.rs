//! Providers that are known by their host names, and their deviations from S3 by their public
//! documentation.
//!
//! A provider that is not listed is not known to lack anything. docs/backends.md
//! says the same to users, with dates; settings overrule it.

use super::resolved::{Endpoint, Feature, Host, PartSizes};

/// Ways in which a provider is not like S3.
pub(super) struct Provider {
    /// The end of its host names.
    suffix: &'static str,
    pub(super) lacks: &'static [Feature],
    pub(super) part_sizes: PartSizes,
}

const PROVIDERS: &[Provider] = &[
    Provider {
        suffix: "r2.cloudflarestorage.com",
        lacks: &[
            Feature::Tagging,
            Feature::Acl,
            Feature::ObjectLock,
            Feature::ServerSideEncryption,
            Feature::BucketOwner,
            Feature::RequestPayer,
            Feature::Website,
        ],
        part_sizes: PartSizes::Equal,
    },
    Provider {
        suffix: "backblazeb2.com",
        lacks: &[Feature::Tagging, Feature::TrailingChecksums],
        part_sizes: PartSizes::Any,
    },
    Provider {
        suffix: "your-objectstorage.com",
        lacks: &[
            Feature::ServerSideEncryption,
            Feature::RequestPayer,
            Feature::Website,
            Feature::TrailingChecksums,
        ],
        part_sizes: PartSizes::Any,
    },
];

/// The provider of a backend, if it deviates from S3.
pub(super) fn of(endpoint: &Endpoint) -> Option<&'static Provider> {
    let Endpoint::Fixed(address) = endpoint else {
        return None;
    };
    let Host::Name(name) = &address.host else {
        return None;
    };
    PROVIDERS.iter().find(|provider| {
        let before = name.strip_suffix(provider.suffix);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_known_by_the_end_of_its_host_names() {
        let found = |host: &str| of(&Endpoint::Fixed(host.parse().expect("an address")));
        let lacks = |host: &str| found(host).map(|provider| provider.lacks.len());
        for host in [
            "0123.r2.cloudflarestorage.com",
            "https://0123.eu.r2.cloudflarestorage.com:443",
        ] {
            assert_eq!(lacks(host), Some(7), "{host}");
        }
        assert_eq!(lacks("s3.eu-central-003.backblazeb2.com"), Some(2));
        for host in [
            "s3.eu-west-1.amazonaws.com",
            "notbackblazeb2.com",
            "backblazeb2.com.example.org",
            "127.0.0.1:9000",
        ] {
            assert_eq!(lacks(host), None, "{host}");
        }
        assert!(of(&Endpoint::ByHostName).is_none());
    }
}

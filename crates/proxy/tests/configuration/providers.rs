//! Defaults of providers that are known by their host names, and settings that overrule them.

use s3proxy::config::resolved::{Feature, Integrity, PartSizes};

use super::*;

/// Features that are lacking, sizes of parts, and the integrity of streams.
fn known(environment: &[(&str, &str)]) -> (Vec<Feature>, PartSizes, Integrity) {
    let environment = [&[KEY, PLAIN_HTTP, HOST], environment].concat();
    let config = load(&[], &environment).config;
    (
        config.backend.lacks,
        config.policy.part_sizes,
        config.backend.integrity,
    )
}

const R2: (&str, &str) = ("S3PROXY_HOST", "https://0123.r2.cloudflarestorage.com");
const B2: (&str, &str) = ("S3PROXY_HOST", "s3.us-west-004.backblazeb2.com");

#[test]
fn a_known_provider_sets_defaults() {
    assert_eq!(known(&[]), (vec![], PartSizes::Any, Integrity::Auto));
    let (lacks, part_sizes, integrity) = known(&[R2]);
    assert!(lacks.contains(&Feature::Tagging) && lacks.contains(&Feature::Acl));
    assert_eq!((part_sizes, integrity), (PartSizes::Equal, Integrity::Auto));
    let (lacks, part_sizes, integrity) = known(&[B2]);
    assert_eq!(lacks, [Feature::Tagging, Feature::TrailingChecksums]);
    assert_eq!(
        (part_sizes, integrity),
        (PartSizes::Any, Integrity::Unsigned)
    );
}

#[test]
fn settings_overrule_what_is_known_of_a_provider() {
    let (_folder, path) = file("[backend]\nlacks = []\n");
    let nothing = load(&["--config", &path], &[KEY, PLAIN_HTTP, B2]).config;
    assert_eq!(nothing.backend.lacks, []);
    assert_eq!(nothing.backend.integrity, Integrity::Auto);
    let any = ("S3PROXY_POLICY_PART_SIZES", "any");
    assert_eq!(known(&[R2, any]).1, PartSizes::Any);
    let trailer = ("S3PROXY_BACKEND_INTEGRITY", "trailer");
    assert_eq!(known(&[B2, trailer]).2, Integrity::Trailer);
    let acl = ("S3PROXY_BACKEND_LACKS", "acl, website");
    assert_eq!(known(&[acl]).0, [Feature::Acl, Feature::Website]);
}

#[test]
fn trailers_cannot_be_asked_of_a_backend_that_lacks_them() {
    let refused = refusal(
        &[],
        &[
            KEY,
            PLAIN_HTTP,
            HOST,
            ("S3PROXY_BACKEND_LACKS", "trailing-checksums"),
            ("S3PROXY_BACKEND_INTEGRITY", "trailer"),
        ],
    );
    let told = refused.to_string();
    assert!(
        told.contains("backend.lacks lists trailing-checksums"),
        "{told}"
    );
    let unknown = refusal(
        &[],
        &[KEY, PLAIN_HTTP, HOST, ("S3PROXY_BACKEND_LACKS", "tags")],
    );
    assert!(unknown.to_string().contains("tagging"), "{unknown}");
}

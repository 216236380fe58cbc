use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);

fn read(json: &str) -> Result<Policy, PostError> {
    Policy::from_base64(&STANDARD.encode(json))
}

fn policy(conditions: &str) -> Policy {
    read(&format!(
        "{{\"expiration\": \"2026-01-01T00:00:01.000Z\", \"conditions\": [{conditions}]}}"
    ))
    .unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> FormFields {
    let mut fields = FormFields::default();
    for (name, value) in pairs {
        fields.add(name, (*value).to_owned()).unwrap();
    }
    fields
}

fn judge(conditions: &str, pairs: &[(&str, &str)]) -> Result<LengthRange, PostError> {
    let conditions = format!("{{\"bucket\": \"b\"}}{conditions}");
    policy(&conditions).judge("b", &fields(pairs), NOW)
}

#[test]
fn conditions_are_matched() {
    for (conditions, pairs, holds) in [
        (r#", {"key": "k"}"#, &[("key", "k")][..], true),
        // Values are compared with case, names of fields without.
        (r#", {"key": "k"}"#, &[("key", "K")], false),
        (r#", {"key": "k"}"#, &[], false),
        (r#", ["eq", "$Key", "k"]"#, &[("key", "k")], true),
        (r#", ["eq", "$key", "k"]"#, &[("key", "kk")], false),
        (
            r#", ["starts-with", "$key", "u/"]"#,
            &[("key", "u/a")],
            true,
        ),
        (
            r#", ["starts-with", "$key", "u/"]"#,
            &[("key", "v/a")],
            false,
        ),
        // An empty prefix allows any value, but the field must be present.
        (r#", ["starts-with", "$key", ""]"#, &[("key", "")], true),
        (r#", ["starts-with", "$key", ""]"#, &[], false),
        (
            r#", ["starts-with", "$key", "u/"], ["eq", "$key", "u/a"]"#,
            &[("key", "u/b")],
            false,
        ),
        (
            r#", ["starts-with", "$Content-Type", "image/"]"#,
            &[("content-type", "image/png, image/gif")],
            true,
        ),
        (
            r#", ["starts-with", "$Content-Type", "image/"]"#,
            &[("content-type", "image/png,text/html")],
            false,
        ),
        // Only Content-Type is a list; in other fields a comma is part of the value.
        (
            r#", ["starts-with", "$x-amz-meta-a", "1"]"#,
            &[("x-amz-meta-a", "1,2")],
            true,
        ),
    ] {
        let judged = judge(conditions, pairs);
        assert_eq!(judged.is_ok(), holds, "{conditions} {pairs:?}");
        if let Err(error) = judged {
            assert!(matches!(error, PostError::ConditionFailed(..)), "{error}");
        }
    }
}

#[test]
fn every_field_must_be_covered() {
    let exempt = [
        ("policy", "p"),
        ("x-amz-signature", "s"),
        ("x-ignore-me", "i"),
    ];
    assert_eq!(judge("", &exempt), Ok(LengthRange::ANY));
    for name in [
        "key",
        "acl",
        // These fields of the signature need a condition too.
        "x-amz-credential",
        "x-amz-security-token",
        "utf8",
    ] {
        let expected = Err(PostError::ExtraField(name.to_owned()));
        assert_eq!(judge("", &[(name, "v")]), expected);
    }
    let bucketless = policy("").judge("b", &fields(&[]), NOW);
    assert_eq!(bucketless, Err(PostError::ExtraField("bucket".to_owned())));
}

#[test]
fn the_bucket_is_the_one_that_was_asked_for() {
    let policy = policy(r#"{"bucket": "b"}"#);
    for bucket in ["c", "B"] {
        let judged = policy.judge(bucket, &fields(&[]), NOW);
        assert!(matches!(judged, Err(PostError::ConditionFailed("eq", _))));
    }
}

#[test]
fn a_policy_ends_with_its_expiration() {
    let policy = policy(r#"{"bucket": "b"}"#);
    let at = |time| policy.judge("b", &fields(&[]), time).is_ok();
    assert!(at(datetime!(2026-01-01 00:00:00.999 UTC)));
    assert!(!at(datetime!(2026-01-01 00:00:01 UTC)));
}

#[test]
fn length_ranges_are_numbers_or_digits_and_all_hold() {
    let judged = judge(
        r#", ["content-length-range", 1, 10], ["content-length-range", "2", "20"]"#,
        &[],
    );
    let range = judged.unwrap();
    assert_eq!(range, LengthRange::new(2, 10));
    assert_eq!(range.check(1), Err(PostError::TooSmall(2)));
    assert_eq!(range.check(2), Ok(()));
    assert_eq!(range.check(10), Ok(()));
    assert_eq!(range.check(11), Err(PostError::TooLarge(10)));
}

#[test]
fn policies_with_anything_unknown_are_refused() {
    const TIME: &str = "\"expiration\": \"2026-01-01T00:00:00Z\"";
    let with = |condition: &str| format!("{{{TIME}, \"conditions\": [{condition}]}}");
    for json in [
        String::new(),
        "[]".to_owned(),
        format!("{{{TIME}}}"),
        "{\"conditions\": []}".to_owned(),
        format!("{{{TIME}, \"conditions\": [], \"more\": 1}}"),
        // A repeated element could be read in two ways.
        format!("{{{TIME}, {TIME}, \"conditions\": []}}"),
        "{\"expiration\": \"2026-01-01T00:00:00+02:00\", \"conditions\": []}".to_owned(),
        "{\"expiration\": \"tomorrow\", \"conditions\": []}".to_owned(),
        "{\"expiration\": 1767225600, \"conditions\": []}".to_owned(),
        with("{}"),
        with("\"key\""),
        with(r#"{"key": "a", "acl": "b"}"#),
        with(r#"{"key": 1}"#),
        with("[]"),
        with(r#"["eq", "$key"]"#),
        with(r#"["eq", "key", "a"]"#),
        with(r#"["eq", "$key", "a", "b"]"#),
        with(r#"["matches", "$key", "a"]"#),
        with(r#"["content-length-range", 1]"#),
        with(r#"["content-length-range", -1, 1]"#),
        with(r#"["content-length-range", "a", 1]"#),
        with(r#"["content-length-range", 1.5, 2]"#),
        with("[],"),
    ] {
        let refused = read(&json);
        assert!(
            matches!(refused, Err(PostError::PolicyDocument(_))),
            "{json}"
        );
    }
    // Not Base64, without padding, and with a line break after it.
    for text in ["%", "e30", "e30=\n"] {
        assert!(Policy::from_base64(text).is_err(), "{text:?}");
    }
}

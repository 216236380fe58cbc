//! XML documents of backends: a rewritten page has the right entries and no others; documents for
//! clients are well-formed; and nothing that is left out shows in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3proxy_protocol::xml::complete::CompleteResult;
use s3proxy_protocol::xml::copy::CopyResult;
use s3proxy_protocol::xml::delete::{self, DeleteError, DeleteResult};
use s3proxy_protocol::xml::error_document::{self, ErrorDocument};
use s3proxy_protocol::xml::listing::{EntryEdit, EntryKind, ListPage, PageEdit, PrefixEdit};
use s3proxy_protocol::xml::parts::{PartsAnswer, PartsPage, ShownPart};
use s3proxy_protocol::xml::uploads::{UploadEdit, UploadsPage};
use s3proxy_protocol::xml::{buckets, initiate};

fn listing(bytes: &[u8]) {
    let Ok(page) = ListPage::parse(bytes) else {
        return;
    };
    let kept = page.render_with(|_| EntryEdit::Keep, |_| PrefixEdit::Keep, |_| false, &[]);
    let again = ListPage::parse(kept.as_bytes()).expect("a page that is kept is read");
    assert_eq!(again.entries(), page.entries());
    assert_eq!(again.common_prefixes(), page.common_prefixes());
    assert_eq!(again.is_truncated(), page.is_truncated());

    let hidden = page.render_with(|_| EntryEdit::Hide, |_| PrefixEdit::Hide, |_| true, &[]);
    let again = ListPage::parse(hidden.as_bytes()).expect("a page without entries is read");
    assert!(again.entries().is_empty() && again.common_prefixes().is_empty());

    let etag = "\"0123-0\"".to_owned();
    let replace = |_: &_| EntryEdit::Replace {
        etag: etag.clone(),
        size: 7,
    };
    let edits = [
        ("NextMarker", PageEdit::Remove),
        ("Prefix", PageEdit::Key("a&<b%2F")),
    ];
    let replaced = page.render_with(replace, |_| PrefixEdit::Keep, |_| true, &edits);
    let again = ListPage::parse(replaced.as_bytes()).expect("a page that was changed is read");
    assert_eq!(again.entries().len(), page.entries().len());
    for (one, other) in again.entries().iter().zip(page.entries()) {
        assert_eq!((one.kind, &one.key), (other.kind, &other.key));
        if other.kind != EntryKind::DeleteMarker {
            assert!(other.size.is_none() || one.size == Some(7));
            assert!(other.etag.is_none() || one.etag.as_deref() == Some(&etag));
        }
    }
}

fn uploads(bytes: &[u8]) {
    let Ok(page) = UploadsPage::parse(bytes) else {
        return;
    };
    let kept = page.render_with(|_| UploadEdit::Keep, |_| PrefixEdit::Keep, &[]);
    let again = UploadsPage::parse(kept.as_bytes()).expect("a page that is kept is read");
    assert_eq!(again.uploads(), page.uploads());
    assert_eq!(again.common_prefixes(), page.common_prefixes());
    let hidden = page.render_with(|_| UploadEdit::Hide, |_| PrefixEdit::Hide, &[]);
    let again = UploadsPage::parse(hidden.as_bytes()).expect("a page without entries is read");
    assert!(again.uploads().is_empty() && again.common_prefixes().is_empty());
}

fn parts(bytes: &[u8]) {
    let Ok(page) = PartsPage::parse(bytes) else {
        return;
    };
    assert!(
        page.next_marker()
            .is_none_or(|marker| (1..=10_000).contains(&marker))
    );
    let shown = page.parts().iter().map(|part| ShownPart {
        number: part.number,
        etag: part.etag.as_str(),
        size: part.size,
        last_modified: &part.last_modified,
        checksum: None,
    });
    let written = page.render(&PartsAnswer {
        bucket: "bucket",
        // A key that needs escaping, with a character that XML cannot contain.
        object_key: "a<b>&\u{1}",
        upload_id: "id",
        part_number_marker: 0,
        max_parts: 1000,
        next_part_number_marker: page.next_marker(),
        is_truncated: page.is_truncated(),
        checksum_algorithm: Some("CRC32"),
        checksum_type: None,
        parts: shown.collect(),
    });
    let again = PartsPage::parse(written.as_bytes()).expect("what was written is read");
    assert_eq!(again.parts(), page.parts());
    // A storage class with elements inside has no text in the response.
    if let Some(class) = again.storage_class() {
        assert_eq!(Some(class), page.storage_class());
    }
    assert_eq!(again.is_truncated(), page.is_truncated());
}

fn bucket_list(bytes: &[u8]) {
    let Ok(all) = buckets::bucket_names(bytes) else {
        return;
    };
    let shown = |name: &str| name.len() % 2 == 0;
    let some = buckets::filter_buckets(bytes, shown).expect("it was read before");
    let some = buckets::bucket_names(some.as_bytes()).expect("what was filtered is read");
    let expected: Vec<_> = all.names.into_iter().filter(|name| shown(name)).collect();
    assert_eq!(some.names, expected);
    assert_eq!(some.continuation_token, all.continuation_token);
}

fn errors(bytes: &[u8]) {
    let is_error = error_document::is_error(bytes);
    let Ok(error) = ErrorDocument::parse(bytes) else {
        return;
    };
    assert_eq!(is_error, Ok(true));
    let written = error_document::error_document(&error);
    for secret in [
        "StringToSign",
        "CanonicalRequest",
        "AWSAccessKeyId",
        "HostId",
    ] {
        assert!(!written.contains(&format!("<{secret}>")), "{written}");
    }
    let again = ErrorDocument::parse(written.as_bytes()).expect("what was written is read");
    assert_eq!(again.details.len(), error.details.len());
    // The first pass replaces the characters that strict readers refuse, so a second pass replaces
    // none.
    let twice = error_document::error_document(&again);
    assert_eq!(ErrorDocument::parse(twice.as_bytes()), Ok(again));
}

fn results(bytes: &[u8]) {
    if let Ok(copy) = CopyResult::parse(bytes) {
        assert!(!copy.etag.as_str().is_empty());
    }
    if let Ok(id) = initiate::upload_id(bytes) {
        let answer = initiate::initiate_answer("bucket", "key", &id);
        assert_eq!(initiate::upload_id(answer.as_bytes()), Ok(id));
    }
    if let Ok(complete) = CompleteResult::parse(bytes) {
        assert!(complete.etag.is_none_or(|etag| !etag.as_str().is_empty()));
    }
    let Ok(result) = DeleteResult::parse(bytes) else {
        return;
    };
    let more = DeleteError {
        key: "a<b>&\u{1}".to_owned(),
        version_id: None,
        code: "AccessDenied".to_owned(),
        message: "]]>".to_owned(),
    };
    let merged = delete::merge_delete_result(bytes, &[] as &[&[u8]], std::slice::from_ref(&more));
    let merged = merged.expect("it was read before");
    let mut expected = result;
    expected.errors.push(more);
    assert_eq!(DeleteResult::parse(merged.as_bytes()), Ok(expected));
}

fuzz_target!(|input: &[u8]| {
    listing(input);
    uploads(input);
    parts(input);
    bucket_list(input);
    errors(input);
    results(input);
});

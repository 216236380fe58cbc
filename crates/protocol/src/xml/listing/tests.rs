use proptest::prelude::*;

use super::*;

const V2: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix><KeyCount>4</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;</NextContinuationToken>
<Contents><Key>a&amp;b</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA1</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>97</Size><New>x</New></Contents>
<Contents><Key>.s3proxy/uploads/x/state</Key><ETag>"e"</ETag><Size>1</Size></Contents>
<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>
<CommonPrefixes><Prefix>.s3proxy/</Prefix></CommonPrefixes>
</ListBucketResult>"#;

fn keep_entries(_: &ListEntry) -> EntryEdit {
    EntryEdit::Keep
}

fn keep_prefixes(_: &str) -> PrefixEdit {
    PrefixEdit::Keep
}

#[test]
fn reads_entries_and_prefixes() {
    let page = ListPage::parse(V2.as_bytes()).unwrap();
    assert!(page.is_truncated());
    assert_eq!(page.common_prefixes(), ["c/", ".s3proxy/"]);
    let entry = &page.entries()[0];
    assert_eq!(entry.kind, EntryKind::Object);
    assert_eq!(entry.key, "a&b");
    assert_eq!(entry.size, Some(97));
    assert_eq!(
        entry.etag.as_deref(),
        Some("\"d41d8cd98f00b204e9800998ecf8427e\"")
    );
    assert_eq!(entry.version_id, None);
}

#[test]
fn writes_plaintext_terms_and_leaves_every_other_byte() {
    let page = ListPage::parse(V2.as_bytes()).unwrap();
    let rendered = page.render(
        |entry| match entry.key.as_str() {
            "a&b" => EntryEdit::Replace {
                etag: "\"new\"".into(),
                size: 9,
            },
            _ => EntryEdit::Hide,
        },
        |prefix| match prefix {
            "c/" => PrefixEdit::Keep,
            _ => PrefixEdit::Hide,
        },
    );
    let expected = V2
        .replace("<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA1</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>", "")
        .replace("&quot;d41d8cd98f00b204e9800998ecf8427e&quot;", "&quot;new&quot;")
        .replace("<Size>97</Size>", "<Size>9</Size>")
        .replace("<Contents><Key>.s3proxy/uploads/x/state</Key><ETag>\"e\"</ETag><Size>1</Size></Contents>", "")
        .replace("<CommonPrefixes><Prefix>.s3proxy/</Prefix></CommonPrefixes>", "")
        .replace("<KeyCount>4</KeyCount>", "<KeyCount>2</KeyCount>");
    assert_eq!(rendered, expected);
}

#[test]
fn decodes_keys_that_the_page_says_are_encoded() {
    let page = ListPage::parse(
        b"<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2Bb+c%25</Key></Contents>\
          <CommonPrefixes><Prefix>d+/%01</Prefix></CommonPrefixes></ListBucketResult>",
    )
    .unwrap();
    assert_eq!(page.entries()[0].key, "a+b c%");
    assert_eq!(page.common_prefixes(), ["d /\u{1}"]);
    let plain = ListPage::parse(
        b"<ListBucketResult><Contents><Key>a%2Bb+c</Key></Contents></ListBucketResult>",
    )
    .unwrap();
    assert_eq!(plain.entries()[0].key, "a%2Bb+c");
    assert!(!plain.is_truncated());
}

#[test]
fn reads_versions_and_delete_markers() {
    let markup = "<ListVersionsResult xmlns='u'><Version><Key>k</Key><VersionId>v1</VersionId><ETag>\"e\"</ETag><Size>5</Size></Version>\
        <DeleteMarker><Key>k</Key><VersionId>v2</VersionId></DeleteMarker></ListVersionsResult>";
    let page = ListPage::parse(markup.as_bytes()).unwrap();
    let kinds: Vec<_> = page
        .entries()
        .iter()
        .map(|entry| (entry.kind, entry.version_id.as_deref(), entry.size))
        .collect();
    assert_eq!(
        kinds,
        [
            (EntryKind::Version, Some("v1"), Some(5)),
            (EntryKind::DeleteMarker, Some("v2"), None)
        ]
    );
    // A delete marker has no ETag or size to replace, and a page without KeyCount does not get one.
    let replace = |_: &ListEntry| EntryEdit::Replace {
        etag: "\"n\"".into(),
        size: 1,
    };
    let rendered = page.render(replace, keep_prefixes);
    let expected = markup
        .replace("\"e\"", "&quot;n&quot;")
        .replace("<Size>5</Size>", "<Size>1</Size>");
    assert_eq!(rendered, expected);
}

#[test]
fn hides_everything_of_a_page_that_has_nothing_to_show() {
    let page = ListPage::parse(V2.as_bytes()).unwrap();
    let rendered = page.render(|_| EntryEdit::Hide, |_| PrefixEdit::Hide);
    let again = ListPage::parse(rendered.as_bytes()).unwrap();
    assert!(again.entries().is_empty() && again.common_prefixes().is_empty());
    assert!(rendered.contains("<KeyCount>0</KeyCount>") && again.is_truncated());
}

#[test]
fn a_key_that_cannot_have_been_encoded_is_taken_as_it_is() {
    let markup = "<ListVersionsResult><EncodingType>url</EncodingType><NextKeyMarker>50%</NextKeyMarker>\
        <Version><Key>%zz</Key></Version><Version><Key>a%20b</Key></Version>\
        <DeleteMarker><Key>%ff</Key></DeleteMarker><CommonPrefixes><Prefix>foo%</Prefix></CommonPrefixes></ListVersionsResult>";
    let page = ListPage::parse(markup.as_bytes()).unwrap();
    let keys: Vec<_> = page.entries().iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, ["%zz", "a b", "%ff"]);
    assert_eq!(page.common_prefixes(), ["foo%"]);
    let marker = page.key_of_page("NextKeyMarker");
    assert_eq!(marker, Ok(Some("50%".to_owned())));
    assert_eq!(page.render(keep_entries, keep_prefixes), markup);
}

#[test]
fn metadata_in_a_page_loses_the_names_that_are_hidden_and_the_layout_on_disks() {
    let entry = |metadata| {
        format!(
            "<ListBucketResult><Contents><Key>k</Key><UserMetadata>{metadata}<content-type>t</content-type>\
             <X-Amz-Meta-A>1</X-Amz-Meta-A></UserMetadata><UserTags>a=b</UserTags></Contents></ListBucketResult>"
        )
    };
    let markup = entry("<X-Amz-Meta-Isec>s3p1.x</X-Amz-Meta-Isec>")
        .replace("</Contents>", "<Internal><K>2</K></Internal></Contents>");
    let page = ListPage::parse(markup.as_bytes()).unwrap();
    let hides = |name: &str| name == "X-Amz-Meta-Isec";
    let rendered = page.render_with(keep_entries, keep_prefixes, hides, &[]);
    assert_eq!(rendered, entry(""));
}

#[test]
fn markers_of_a_page_are_read_and_written_as_the_page_writes_keys() {
    let markup = "<ListBucketResult><EncodingType>url</EncodingType><StartAfter>a%2B</StartAfter><NextMarker/>\
        <NextContinuationToken>t+1</NextContinuationToken></ListBucketResult>";
    let page = ListPage::parse(markup.as_bytes()).unwrap();
    assert_eq!(page.key_of_page("StartAfter"), Ok(Some("a+".to_owned())));
    assert_eq!(page.key_of_page("NextMarker"), Ok(None));
    let token = page.text_of_page("NextContinuationToken");
    assert_eq!(token, Ok(Some("t+1".to_owned())));
    let rendered = page.render_with(
        keep_entries,
        keep_prefixes,
        |_| false,
        &[
            ("StartAfter", PageEdit::Remove),
            ("NextMarker", PageEdit::Key("b c/é")),
            ("ContinuationToken", PageEdit::Text("<t>")),
            // There is no such element: nothing to remove.
            ("Delimiter", PageEdit::Remove),
        ],
    );
    assert_eq!(
        rendered,
        "<ListBucketResult><EncodingType>url</EncodingType><NextMarker>b%20c/%C3%A9</NextMarker>\
        <NextContinuationToken>t+1</NextContinuationToken><ContinuationToken>&lt;t&gt;</ContinuationToken></ListBucketResult>"
    );
}

#[test]
fn refuses_pages_that_cannot_be_judged() {
    for markup in [
        "<Error/>",
        "<ListBucketResult><Contents/></ListBucketResult>",
        "<ListBucketResult><Contents><Key>k</Key><Size>x</Size></Contents></ListBucketResult>",
        "<ListBucketResult><CommonPrefixes/></ListBucketResult>",
        "<ListBucketResult><EncodingType>rot13</EncodingType></ListBucketResult>",
        "<!DOCTYPE x><ListBucketResult/>",
        "<ListBucketResult>",
    ] {
        assert!(ListPage::parse(markup.as_bytes()).is_err(), "{markup}");
    }
}

proptest! {
    #[test]
    fn a_page_that_nothing_changes_in_is_written_as_it_came(keys in prop::collection::vec("[ -~é]{1,20}", 0..6), unknown in "[a-zA-Z]{1,9}") {
        prop_assume!(!unknown.starts_with("Checksum"));
        let entry = |key: &String| {
            let key = super::super::escape::escape(key);
            format!("<Contents>\n<Key>{key}</Key><Size>1</Size><{unknown}  a='b'>z</{unknown}><!-- c --></Contents>")
        };
        let entries = keys.iter().map(entry).collect::<Vec<_>>().concat();
        let markup = format!("<ListBucketResult><KeyCount>{}</KeyCount> {entries}</ListBucketResult>", keys.len());
        let page = ListPage::parse(markup.as_bytes()).unwrap();
        let found: Vec<_> = page.entries().iter().map(|entry| entry.key.clone()).collect();
        prop_assert_eq!(found, keys);
        prop_assert_eq!(page.render(keep_entries, keep_prefixes), markup);
    }
}

#[test]
fn a_tag_that_would_mean_something_else_when_written_again_is_refused() {
    for attributes in ["a/", "a=\"x\" http:/", "a", "a='<'", "a='1' a='2'", "/"] {
        for end in ["/>", "></ListBucketResult>"] {
            let text = format!("<ListBucketResult {attributes}{end}");
            // The page may be refused. If it is accepted, it must stay the same page when extended.
            let Ok(page) = ListPage::parse(text.as_bytes()) else {
                continue;
            };
            let edits = [("Prefix", PageEdit::Key("a"))];
            let written = page.render_with(keep_entries, keep_prefixes, |_| false, &edits);
            let again = ListPage::parse(written.as_bytes());
            let again = again.unwrap_or_else(|error| panic!("{text} became {written}: {error}"));
            assert_eq!(
                again.key_of_page("Prefix").unwrap().as_deref(),
                Some("a"),
                "{text}"
            );
        }
    }
    let malformed = b"<ListBucketResult http:/ />";
    assert!(matches!(
        ListPage::parse(malformed),
        Err(XmlError::Syntax(_))
    ));
}

use proptest::prelude::*;

use super::*;

const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><KeyMarker/><NextKeyMarker>n&amp;</NextKeyMarker><NextUploadIdMarker>m</NextUploadIdMarker><MaxUploads>3</MaxUploads><IsTruncated>true</IsTruncated>
<Upload><Key>a&amp;b</Key><UploadId>u1</UploadId><Owner><ID>o</ID></Owner><Initiated> t </Initiated><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType></Upload>
<Upload><Key>.s3proxy/x</Key><UploadId>u2</UploadId><New>x</New></Upload>
<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>
<CommonPrefixes><Prefix>.s3proxy/</Prefix></CommonPrefixes>
</ListMultipartUploadsResult>"#;

fn keep_uploads(_: &ListedUpload) -> UploadEdit {
    UploadEdit::Keep
}

fn keep_prefixes(_: &str) -> PrefixEdit {
    PrefixEdit::Keep
}

#[test]
fn reads_uploads_prefixes_and_markers() {
    let page = UploadsPage::parse(PAGE.as_bytes()).unwrap();
    let uploads: Vec<_> = page
        .uploads()
        .iter()
        .map(|upload| {
            (
                upload.object_key.as_str(),
                upload.upload_id.as_str(),
                upload.initiated.as_str(),
            )
        })
        .collect();
    assert_eq!(uploads, [("a&b", "u1", "t"), (".s3proxy/x", "u2", "")]);
    assert_eq!(page.common_prefixes(), ["c/", ".s3proxy/"]);
    assert!(page.is_truncated());
    assert_eq!(page.next_key_marker(), Some("n&"));
    assert_eq!(page.next_upload_id_marker(), Some("m"));
}

#[test]
fn a_key_that_cannot_have_been_encoded_is_taken_as_it_is() {
    let markup = "<ListMultipartUploadsResult><EncodingType>url</EncodingType><NextKeyMarker>%z</NextKeyMarker>\
        <Upload><Key>50%</Key><UploadId>u</UploadId></Upload><CommonPrefixes><Prefix>foo%</Prefix></CommonPrefixes></ListMultipartUploadsResult>";
    let page = UploadsPage::parse(markup.as_bytes()).unwrap();
    assert_eq!(page.uploads()[0].object_key, "50%");
    assert_eq!(page.common_prefixes(), ["foo%"]);
    assert_eq!(page.next_key_marker(), Some("%z"));
}

#[test]
fn leaves_out_what_is_hidden_and_what_is_said_of_checksums() {
    let page = UploadsPage::parse(PAGE.as_bytes()).unwrap();
    let rendered = page.render(
        |upload| match upload.upload_id.as_str() {
            "u1" => UploadEdit::Keep,
            _ => UploadEdit::Hide,
        },
        |prefix| match prefix {
            "c/" => PrefixEdit::Keep,
            _ => PrefixEdit::Hide,
        },
    );
    let expected = PAGE
        .replace(
            "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>",
            "",
        )
        .replace(
            "<Upload><Key>.s3proxy/x</Key><UploadId>u2</UploadId><New>x</New></Upload>",
            "",
        )
        .replace(
            "<CommonPrefixes><Prefix>.s3proxy/</Prefix></CommonPrefixes>",
            "",
        );
    assert_eq!(rendered, expected);
}

#[test]
fn decodes_names_that_the_page_says_are_encoded() {
    let markup = "<ListMultipartUploadsResult><EncodingType>url</EncodingType><NextKeyMarker>a%2Bb+c</NextKeyMarker><NextUploadIdMarker>a%2B+</NextUploadIdMarker>\
        <Upload><Key>a%2Bb+c%25</Key><UploadId>u%2B+</UploadId></Upload><CommonPrefixes><Prefix>d+/%01</Prefix></CommonPrefixes></ListMultipartUploadsResult>";
    let page = UploadsPage::parse(markup.as_bytes()).unwrap();
    assert_eq!(page.uploads()[0].object_key, "a+b c%");
    assert_eq!(page.common_prefixes(), ["d /\u{1}"]);
    assert_eq!(page.next_key_marker(), Some("a+b c"));
    // Upload IDs are never URL-encoded.
    assert_eq!(page.uploads()[0].upload_id, "u%2B+");
    assert_eq!(page.next_upload_id_marker(), Some("a%2B+"));
    assert_eq!(page.render(keep_uploads, keep_prefixes), markup);
}

#[test]
fn the_last_page_has_no_markers() {
    for markup in [
        "<ListMultipartUploadsResult/>",
        "<ListMultipartUploadsResult><NextKeyMarker/><NextUploadIdMarker></NextUploadIdMarker><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
    ] {
        let page = UploadsPage::parse(markup.as_bytes()).unwrap();
        assert!(!page.is_truncated(), "{markup}");
        assert_eq!(
            (page.next_key_marker(), page.next_upload_id_marker()),
            (None, None)
        );
    }
}

#[test]
fn refuses_pages_that_cannot_be_judged() {
    for markup in [
        "<Error/>",
        "<ListMultipartUploadsResult><Upload><Key>k</Key></Upload></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><Upload><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><CommonPrefixes/></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult><EncodingType>rot13</EncodingType></ListMultipartUploadsResult>",
        "<ListMultipartUploadsResult>",
    ] {
        assert!(UploadsPage::parse(markup.as_bytes()).is_err(), "{markup}");
    }
}

proptest! {
    #[test]
    fn a_page_that_nothing_changes_in_is_written_as_it_came(keys in prop::collection::vec("[ -~é\u{1}]{1,20}", 0..6)) {
        let upload = |key: &String| {
            let key = super::super::escape::escape(key);
            format!("<Upload>\n<Key>{key}</Key><UploadId>u</UploadId><New  a='b'>z</New><!-- c --></Upload>")
        };
        let uploads = keys.iter().map(upload).collect::<Vec<_>>().concat();
        let markup = format!("<ListMultipartUploadsResult> {uploads}</ListMultipartUploadsResult>");
        let page = UploadsPage::parse(markup.as_bytes()).unwrap();
        let found: Vec<_> = page.uploads().iter().map(|upload| upload.object_key.clone()).collect();
        prop_assert_eq!(found, keys);
        prop_assert_eq!(page.render(keep_uploads, keep_prefixes), markup);
    }
}

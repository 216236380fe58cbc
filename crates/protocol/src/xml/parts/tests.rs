use super::*;

/// Quirks of several servers in one page: a replaced part listed twice, and three spellings of
/// quotes.
const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<s:ListPartsResult xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/"><s:Bucket>stored</s:Bucket><s:Key>stored</s:Key><s:UploadId>u</s:UploadId>
<s:Initiator a="b"><s:ID>i&amp;</s:ID><s:DisplayName>n</s:DisplayName></s:Initiator><s:Owner><s:ID>o</s:ID></s:Owner><s:StorageClass> STANDARD_IA </s:StorageClass>
<s:PartNumberMarker>0</s:PartNumberMarker><s:NextPartNumberMarker> 7 </s:NextPartNumberMarker><s:MaxParts>2</s:MaxParts><s:IsTruncated>true</s:IsTruncated>
<s:Part><s:PartNumber>1</s:PartNumber><s:LastModified>t1</s:LastModified><s:ETag>&quot;a&quot;</s:ETag><s:Size>97</s:Size><s:ChecksumCRC32>AAAAAA==</s:ChecksumCRC32></s:Part>
<s:Part><s:PartNumber>1</s:PartNumber><s:LastModified>t2</s:LastModified><s:ETag>"b"</s:ETag><s:Size>98</s:Size></s:Part>
<s:Part><s:PartNumber>7</s:PartNumber><s:ETag>c</s:ETag><s:Size>0</s:Size></s:Part></s:ListPartsResult>"#;

#[test]
fn every_entry_of_a_page_is_read() {
    let page = PartsPage::parse(PAGE.as_bytes()).unwrap();
    let parts: Vec<_> = page
        .parts()
        .iter()
        .map(|part| {
            (
                part.number,
                part.etag.as_str(),
                part.size,
                part.last_modified.as_str(),
            )
        })
        .collect();
    assert_eq!(
        parts,
        [(1, "a", 97, "t1"), (1, "b", 98, "t2"), (7, "c", 0, "")]
    );
    assert!(page.is_truncated());
    assert_eq!(page.next_marker(), Some(7));
    assert_eq!(page.storage_class().as_deref(), Some("STANDARD_IA"));
}

#[test]
fn the_last_page_has_no_next_marker() {
    for marker in [
        "",
        "<NextPartNumberMarker/>",
        "<NextPartNumberMarker>0</NextPartNumberMarker>",
    ] {
        let markup =
            format!("<ListPartsResult>{marker}<IsTruncated>false</IsTruncated></ListPartsResult>");
        let page = PartsPage::parse(markup.as_bytes()).unwrap();
        assert_eq!(page.next_marker(), None, "{marker}");
        assert!(!page.is_truncated() && page.parts().is_empty());
        assert_eq!(page.storage_class(), None);
    }
}

#[test]
fn refuses_pages_that_cannot_be_judged() {
    for markup in [
        "<Error/>",
        "<ListPartsResult><Part/></ListPartsResult>",
        "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></ListPartsResult>",
        "<ListPartsResult><Part><PartNumber>1</PartNumber><Size>1</Size></Part></ListPartsResult>",
        "<ListPartsResult><Part><Size>1</Size><ETag>e</ETag></Part></ListPartsResult>",
        "<ListPartsResult><Part><PartNumber>0</PartNumber><ETag>e</ETag><Size>1</Size></Part></ListPartsResult>",
        "<ListPartsResult><Part><PartNumber>10001</PartNumber><ETag>e</ETag><Size>1</Size></Part></ListPartsResult>",
        "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>-1</Size></Part></ListPartsResult>",
        "<ListPartsResult><NextPartNumberMarker>x</NextPartNumberMarker></ListPartsResult>",
        "<ListPartsResult>",
    ] {
        assert!(PartsPage::parse(markup.as_bytes()).is_err(), "{markup}");
    }
}

fn answer<'a>(key: &'a str, parts: Vec<ShownPart<'a>>) -> PartsAnswer<'a> {
    PartsAnswer {
        bucket: "b",
        object_key: key,
        upload_id: "u&",
        part_number_marker: 0,
        max_parts: 1000,
        next_part_number_marker: None,
        is_truncated: false,
        checksum_algorithm: None,
        checksum_type: None,
        parts,
    }
}

#[test]
fn the_answer_is_the_callers_with_the_backends_people_and_class() {
    let page = PartsPage::parse(PAGE.as_bytes()).unwrap();
    let value = ChecksumValue::from_base64(ChecksumAlgorithm::Crc32, b"y/Q5Jg==").unwrap();
    let part = ShownPart {
        number: 1,
        etag: "b-0",
        size: 5,
        last_modified: "t2",
        checksum: Some((ChecksumAlgorithm::Crc32, &value)),
    };
    let rendered = page.render(&PartsAnswer {
        next_part_number_marker: Some(1),
        is_truncated: true,
        max_parts: 1,
        checksum_algorithm: Some("CRC32"),
        checksum_type: Some("COMPOSITE"),
        ..answer("k", vec![part])
    });
    assert_eq!(
        rendered,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Bucket>b</Bucket><Key>k</Key><UploadId>u&amp;</UploadId>\
         <Initiator><ID>i&amp;</ID><DisplayName>n</DisplayName></Initiator><Owner><ID>o</ID></Owner>\
         <StorageClass> STANDARD_IA </StorageClass><PartNumberMarker>0</PartNumberMarker>\
         <NextPartNumberMarker>1</NextPartNumberMarker><MaxParts>1</MaxParts>\
         <IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber>\
         <LastModified>t2</LastModified><ETag>&quot;b-0&quot;</ETag><Size>5</Size>\
         <ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>\
         <ChecksumType>COMPOSITE</ChecksumType></ListPartsResult>"
    );
}

#[test]
fn an_answer_is_read_as_it_was_written() {
    let page = PartsPage::parse(b"<ListPartsResult/>").unwrap();
    // Line breaks and control characters have to survive too.
    let key = "a<b>&\"'\r\n\u{1}\u{2028}é";
    let etag = "e<&'>";
    let part = |number| ShownPart {
        number,
        etag,
        size: u64::MAX,
        last_modified: "t",
        checksum: None,
    };
    let rendered = page.render(&answer(key, vec![part(1), part(10_000)]));
    let again = PartsPage::parse(rendered.as_bytes()).unwrap();
    let listed = |number| ListedPart {
        number,
        etag: ETag::parse(etag),
        size: u64::MAX,
        last_modified: "t".to_owned(),
    };
    assert_eq!(again.parts(), [listed(1), listed(10_000)]);
    let document = Document::parse(rendered.as_bytes()).unwrap();
    let read = document.child_text(&document.root, "Key").unwrap();
    assert_eq!(read.as_deref(), Some(key));
    assert!(!rendered.contains("Initiator") && !rendered.contains("Checksum"));
}

#[test]
fn a_page_under_motos_name_is_read_and_one_under_any_other_is_not() {
    let page = |root| format!("<{root}><IsTruncated>false</IsTruncated></{root}>");
    assert!(PartsPage::parse(page("ListPartsResponse").as_bytes()).is_ok());
    assert!(PartsPage::parse(page("ListBucketResult").as_bytes()).is_err());
}

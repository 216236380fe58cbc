use proptest::prelude::*;

use super::*;
use crate::checksum::Checksummer;
use crate::xml::error_document;

fn parse(parts: &str) -> Result<CompleteRequest, S3Error> {
    let document = format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    );
    CompleteRequest::parse(document.as_bytes())
}

fn refusal(parts: &str) -> ErrorCode {
    parse(parts).expect_err(parts).code
}

#[test]
fn parts_are_read_in_their_order_with_checksums() {
    let request = parse(
        "\n <Part><PartNumber> 2 </PartNumber><ETag>&quot;b-0&quot;</ETag></Part>\n\
         <Part><ETag>\"a\"</ETag><ChecksumCRC32/><ChecksumCRC32C>y/Q5Jg==</ChecksumCRC32C><PartNumber>1</PartNumber></Part>\
         <Part><ETag>bare</ETag><PartNumber>10000</PartNumber></Part>",
    )
    .unwrap();
    let checksum =
        ChecksumValue::from_bytes(ChecksumAlgorithm::Crc32c, &[0xcb, 0xf4, 0x39, 0x26]).unwrap();
    let part = |number, etag: &str, checksum| CompletedPart {
        number,
        etag: etag.to_owned(),
        checksum,
    };
    assert_eq!(
        request.parts,
        [
            part(2, "b-0", None),
            part(1, "a", Some((ChecksumAlgorithm::Crc32c, checksum))),
            part(10_000, "bare", None),
        ]
    );
}

#[test]
fn every_checksum_of_s3_has_its_element() {
    for algorithm in ChecksumAlgorithm::ALL {
        let value =
            ChecksumValue::from_bytes(algorithm, &vec![9; algorithm.length()]).expect("a digest");
        let name = format!("Checksum{algorithm}");
        let request = parse(&format!(
            "<Part><PartNumber>1</PartNumber><ETag>e</ETag><{name}>{}</{name}></Part>",
            value.to_base64()
        ));
        let expected = Some((algorithm, value));
        assert_eq!(request.unwrap().parts[0].checksum, expected, "{name}");
    }
}

#[test]
fn order_is_told_and_not_judged() {
    for (numbers, ascending) in [
        (&[1][..], true),
        (&[1, 2, 9], true),
        (&[2, 1], false),
        (&[1, 1], false),
    ] {
        let part = |number| format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>");
        let parts = numbers.iter().map(part).collect::<Vec<_>>().concat();
        assert_eq!(parse(&parts).unwrap().is_ascending(), ascending, "{parts}");
    }
}

#[test]
fn what_is_not_in_the_schema_is_malformed() {
    for parts in [
        "",
        "<Part/>",
        "<Part><PartNumber>1</PartNumber></Part>",
        "<Part><ETag>e</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><ETag/></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>\"\"</ETag></Part>",
        "<Part><PartNumber/><ETag>e</ETag></Part>",
        "<Part><PartNumber>one</PartNumber><ETag>e</ETag></Part>",
        "<Part><PartNumber>1.5</PartNumber><ETag>e</ETag></Part>",
        "<Part><PartNumber>99999999999</PartNumber><ETag>e</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><PartNumber>1</PartNumber><ETag>e</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>e</ETag><ETag>e</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>1</Size></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>e</ETag><Checksum>eA==</Checksum></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>e</ETag><Checksumcrc32>y/Q5Jg==</Checksumcrc32></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>&unknown;</ETag></Part>",
        "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part><Other/>",
    ] {
        assert_eq!(refusal(parts), ErrorCode::MalformedXML, "{parts}");
    }
    for document in [
        "",
        "x",
        "<CompleteMultipartUpload>",
        "<Other><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></Other>",
    ] {
        let refused = CompleteRequest::parse(document.as_bytes()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::MalformedXML, "{document}");
    }
}

#[test]
fn more_parts_than_an_upload_has_are_malformed() {
    let part = "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>";
    assert_eq!(parse(&part.repeat(10_000)).unwrap().parts.len(), 10_000);
    assert_eq!(refusal(&part.repeat(10_001)), ErrorCode::MalformedXML);
}

#[test]
fn an_unknown_element_is_refused_before_anything_behind_it_is_read() {
    let markup = "<a/>".repeat(2 * 1024 * 1024);
    let document = format!("<CompleteMultipartUpload>{markup}</CompleteMultipartUpload>");
    let mut stream = DocumentStream::new(document.as_bytes(), MAXIMUM_ELEMENTS).unwrap();
    let refused = CompleteRequest::read(&mut stream).unwrap_err();
    assert_eq!(refused.code, ErrorCode::MalformedXML);
    // Only the root and the first unknown tag were read.
    assert!(stream.position() < 64, "{} bytes read", stream.position());
}

#[test]
fn elements_without_meaning_are_bounded() {
    // Empty checksum elements have no effect, but they count.
    let empty = "<ChecksumCRC32/>".repeat(200_000);
    let parts = format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{empty}</Part>");
    assert_eq!(refusal(&parts), ErrorCode::MalformedXML);
    let long = "e".repeat(1025);
    let parts = format!("<Part><PartNumber>1</PartNumber><ETag>{long}</ETag></Part>");
    assert_eq!(refusal(&parts), ErrorCode::MalformedXML);
    let between = "<Part><PartNumber>1</PartNumber>text<ETag>e</ETag></Part>";
    assert_eq!(refusal(between), ErrorCode::MalformedXML);
}

#[test]
fn a_refusal_quotes_the_beginning_of_a_name() {
    // Invisible characters grow when they are escaped, and the message must stay short.
    let name = "\u{200b}".repeat(1000);
    let refused = parse(&format!("<{name}/>")).unwrap_err();
    assert!(refused.message.len() < 1024, "{}", refused.message.len());
    assert!(!refused.message.contains('\u{200b}'));
}

#[test]
fn numbers_and_checksums_that_cannot_be_right_are_invalid_arguments() {
    for number in ["0", "-1", "10001", "65537", "2147483647"] {
        let parts = format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>");
        assert_eq!(refusal(&parts), ErrorCode::InvalidArgument, "{number}");
    }
    for checksums in [
        "<ChecksumCRC32>y/Q5Jg</ChecksumCRC32>",
        "<ChecksumCRC32>y/Q5Jg==-1</ChecksumCRC32>",
        "<ChecksumSHA1>y/Q5Jg==</ChecksumSHA1>",
        "<ChecksumCRC32>y/Q5Jg==</ChecksumCRC32><ChecksumCRC32C>y/Q5Jg==</ChecksumCRC32C>",
        "<ChecksumCRC32>y/Q5Jg==</ChecksumCRC32><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32>",
    ] {
        let parts = format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{checksums}</Part>");
        assert_eq!(refusal(&parts), ErrorCode::InvalidArgument, "{checksums}");
    }
}

#[test]
fn every_checksum_of_s3_can_stand_with_a_part() {
    for algorithm in ChecksumAlgorithm::ALL {
        let value = Checksummer::new(algorithm).finish();
        let name = format!("Checksum{algorithm}");
        let parts = format!(
            "<Part><PartNumber>1</PartNumber><ETag>e</ETag><{name}>{}</{name}></Part>",
            value.to_base64()
        );
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let read = CompleteRequest::parse(document.as_bytes()).unwrap();
        assert_eq!(read.parts[0].checksum, Some((algorithm, value)));
    }
}

#[test]
fn the_backend_gets_numbers_and_quoted_etags() {
    assert_eq!(
        complete_request([(1, "a"), (7, "<b>")].into_iter()),
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>\
         <Part><PartNumber>7</PartNumber><ETag>&quot;&lt;b&gt;&quot;</ETag></Part>\
         </CompleteMultipartUpload>"
    );
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(parts in prop::collection::vec((1_u16..=10_000, "[!-~é]{1,40}"), 1..20)) {
        let parts: Vec<_> = parts.into_iter().filter(|(_, etag)| !etag.contains('"')).collect();
        prop_assume!(!parts.is_empty());
        let document = complete_request(parts.iter().map(|(number, etag)| (*number, etag.as_str())));
        let read = CompleteRequest::parse(document.as_bytes()).unwrap();
        let read: Vec<_> = read.parts.into_iter().map(|part| (part.number, part.etag)).collect();
        prop_assert_eq!(read, parts);
    }
}

#[test]
fn results_are_read_behind_white_space_and_with_empty_etags() {
    for (markup, etag, location) in [
        (
            "<?xml version=\"1.0\"?>\n   \n<CompleteMultipartUploadResult xmlns='u'><Location>http://l/</Location><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>",
            Some("e-2"),
            Some("http://l/"),
        ),
        (
            " \n<?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>e</ETag><Location/></CompleteMultipartUploadResult>",
            Some("e"),
            None,
        ),
        (
            "<CompleteMultipartUploadResult><ETag>&#34;&#34;</ETag></CompleteMultipartUploadResult>",
            None,
            None,
        ),
        ("<CompleteMultipartUploadResult/>", None, None),
    ] {
        let read = CompleteResult::parse(markup.as_bytes()).unwrap();
        assert_eq!(
            (
                read.etag.as_ref().map(ETag::as_str),
                read.location.as_deref()
            ),
            (etag, location),
            "{markup}"
        );
    }
    assert!(CompleteResult::parse(b"<Error><Code>InternalError</Code></Error>").is_err());
    assert!(CompleteResult::parse(b"").is_err());
}

const ANSWER: CompleteAnswer<'static> = CompleteAnswer {
    location: "http://h/b/k",
    bucket: "b",
    object_key: "k<&\"'>\u{1}",
    etag: "e-2",
    checksum: Some((ChecksumAlgorithm::Sha256, "AAAA-2")),
    checksum_type: Some("COMPOSITE"),
};

#[test]
fn answers_have_the_elements_of_s3() {
    assert_eq!(
        complete_document(&ANSWER),
        "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Location>http://h/b/k</Location><Bucket>b</Bucket>\
         <Key>k&lt;&amp;&quot;&apos;&gt;&#x1;</Key><ETag>&quot;e-2&quot;</ETag>\
         <ChecksumSHA256>AAAA-2</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>\
         </CompleteMultipartUploadResult>"
    );
    let plain = complete_document(&CompleteAnswer {
        checksum: None,
        checksum_type: None,
        ..ANSWER
    });
    assert!(!plain.contains("Checksum"), "{plain}");
}

#[test]
fn white_space_may_separate_declaration_and_document() {
    let at_once = format!("{XML_DECLARATION}{}", complete_document(&ANSWER));
    let in_time = format!("{XML_DECLARATION}  \n {}", complete_document(&ANSWER));
    for answer in [at_once, in_time] {
        assert!(answer.starts_with("<?xml "));
        let document = Document::parse(answer.as_bytes()).unwrap();
        let text = |name| document.child_text(&document.root, name).unwrap().unwrap();
        assert_eq!(text("Key"), ANSWER.object_key);
        assert_eq!(unquoted(&text("ETag")), ANSWER.etag);
        assert_eq!(error_document::is_error(answer.as_bytes()), Ok(false));
    }
}

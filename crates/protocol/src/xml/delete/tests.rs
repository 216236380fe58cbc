use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;

fn refusal(markup: &str) -> ErrorCode {
    DeleteRequest::parse(markup.as_bytes()).unwrap_err().code
}

#[test]
fn reads_every_field_that_clients_send() {
    let request = DeleteRequest::parse(
        b"<?xml version='1.0'?><Delete xmlns='u'>\n <Quiet>true</Quiet>\
          <Object><Key> a&amp;b </Key><VersionId>v</VersionId><ETag>&quot;e&quot;</ETag><Size>5</Size>\
          <LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime></Object>\
          <Object><Key>c//d</Key><VersionId/></Object></Delete>",
    )
    .unwrap();
    assert_eq!(request.verbosity, Verbosity::Quiet);
    let [first, second] = request.objects.as_slice() else {
        panic!("there are two objects");
    };
    assert_eq!(first.key.as_str(), " a&b ");
    assert_eq!(first.version_id.as_deref(), Some("v"));
    assert_eq!(first.etag.as_deref(), Some("\"e\""));
    assert_eq!(first.size, Some(5));
    assert_eq!(
        first.last_modified_time.as_deref(),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    assert_eq!(second.key.as_str(), "c//d");
    assert_eq!((&second.version_id, &second.etag), (&None, &None));
}

#[test]
fn refuses_what_would_not_reach_the_backend_as_it_was_judged() {
    for markup in [
        "",
        "<Other/>",
        "<Delete/>",
        "<Delete><Object/></Delete>",
        "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        "<Delete><Object><Key>a</Key><Unknown>b</Unknown></Object></Delete>",
        "<Delete><Object><Key>a</Key></Object><Unknown/></Delete>",
        "<Delete><Object><Key>a</Key><Size>many</Size></Object></Delete>",
        "<Delete><Object><Key>a</Key></Object><Quiet>yes</Quiet></Delete>",
        "<!DOCTYPE d><Delete><Object><Key>a</Key></Object></Delete>",
        "<Delete><Object><Key>&e;</Key></Object></Delete>",
    ] {
        assert_eq!(refusal(markup), ErrorCode::MalformedXML, "{markup}");
    }
    // Within the limit for texts, so that the error names the key's length.
    let long = "k".repeat(1025);
    let markup = format!("<Delete><Object><Key>{long}</Key></Object></Delete>");
    assert_eq!(refusal(&markup), ErrorCode::KeyTooLongError);
}

#[test]
fn a_batch_has_at_most_1000_objects() {
    let batch = |count: usize| {
        let objects = "<Object><Key>a</Key></Object>".repeat(count);
        format!("<Delete>{objects}</Delete>")
    };
    assert!(DeleteRequest::parse(batch(1000).as_bytes()).is_ok());
    assert_eq!(refusal(&batch(1001)), ErrorCode::MalformedXML);
}

#[test]
fn an_unknown_element_is_refused_before_anything_behind_it_is_read() {
    let markup = "<a/>".repeat(2 * 1024 * 1024);
    for document in [
        format!("<Delete>{markup}</Delete>"),
        format!("<Delete><Object>{markup}</Object></Delete>"),
    ] {
        let mut stream = DocumentStream::new(document.as_bytes(), MAXIMUM_ELEMENTS).unwrap();
        let refused = DeleteRequest::read(&mut stream).unwrap_err();
        assert_eq!(refused.code, ErrorCode::MalformedXML);
        // Only the tags up to the first unknown one were read.
        assert!(stream.position() < 64, "{} bytes read", stream.position());
    }
}

#[test]
fn versions_and_conditions_are_bounded() {
    let long = "v".repeat(1_900_000);
    for name in ["VersionId", "ETag", "LastModifiedTime"] {
        let markup =
            format!("<Delete><Object><Key>a</Key><{name}>{long}</{name}></Object></Delete>");
        assert_eq!(refusal(&markup), ErrorCode::MalformedXML, "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(keys in prop::collection::vec("[^\0]{1,40}", 1..5), version in "[!-~]{0,9}", size: Option<u64>, quiet: bool) {
        let objects = keys
            .into_iter()
            .map(|key| ObjectIdentifier {
                key: ObjectKey::new(key).unwrap(),
                version_id: Some(version.clone()).filter(|version| !version.is_empty()),
                etag: Some("\"<e>\"".to_owned()),
                size,
                last_modified_time: None,
            })
            .collect();
        let verbosity = if quiet { Verbosity::Quiet } else { Verbosity::Verbose };
        let request = DeleteRequest { objects, verbosity };
        prop_assert_eq!(DeleteRequest::parse(request.render(0, usize::MAX).0.as_bytes()), Ok(request));
    }
}

const NONE: &[&[u8]] = &[];

fn denied(key: &str) -> DeleteError {
    DeleteError {
        key: key.into(),
        version_id: Some("v&".into()),
        code: "AccessDenied".into(),
        message: "No.".into(),
    }
}

#[test]
fn appends_errors_and_leaves_the_backends_result_alone() {
    let backend = "<?xml version=\"1.0\"?>\n<DeleteResult xmlns=\"u\"><Deleted><Key>a</Key><New/></Deleted><Error><Key>b</Key><Code>C</Code></Error>\n</DeleteResult>";
    let merged = merge_delete_result(backend.as_bytes(), NONE, &[denied("<k>")]).unwrap();
    let expected = backend.replace(
        "</DeleteResult>",
        "<Error><Key>&lt;k&gt;</Key><VersionId>v&amp;</VersionId><Code>AccessDenied</Code><Message>No.</Message></Error></DeleteResult>",
    );
    assert_eq!(merged, expected);
    let parsed = DeleteResult::parse(merged.as_bytes()).unwrap();
    assert_eq!(parsed.deleted.len(), 1);
    assert_eq!(parsed.deleted[0].key, "a");
    assert_eq!(parsed.errors.len(), 2);
    assert_eq!(parsed.errors[1], denied("<k>"));
}

#[test]
fn an_empty_result_takes_errors_too() {
    let merged = merge_delete_result(b"<DeleteResult xmlns='u'/>", NONE, &[denied("k")]).unwrap();
    assert_eq!(
        DeleteResult::parse(merged.as_bytes()).unwrap().errors,
        [denied("k")]
    );
    let own = delete_result(&[denied("k")]);
    assert_eq!(
        DeleteResult::parse(own.as_bytes()).unwrap().errors,
        [denied("k")]
    );
    assert!(merge_delete_result(b"<Error/>", NONE, &[]).is_err());
}

#[test]
fn further_results_stand_behind_the_first() {
    let first = "<DeleteResult xmlns=\"u\"><Deleted><Key>a</Key></Deleted></DeleteResult>";
    let second = "<?xml version=\"1.0\"?><DeleteResult><Error><Key>b</Key><Code>C</Code></Error>\
                  </DeleteResult>";
    let merged = merge_delete_result(first.as_bytes(), &[second, "<DeleteResult/>"], &[]).unwrap();
    assert_eq!(
        merged,
        "<DeleteResult xmlns=\"u\"><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>C</Code>\
         </Error></DeleteResult>"
    );
    assert!(merge_delete_result(first.as_bytes(), &["<Error/>"], &[]).is_err());
}

#[test]
fn the_longest_batch_is_read_and_goes_on_in_requests_of_bounded_length() {
    for key in ["&#x0026;".repeat(1024), "&#xE9;".repeat(512)] {
        let object = format!("<Object><Key>{key}</Key></Object>");
        let markup = format!(
            "<Delete>{}<Quiet>TRUE</Quiet></Delete>",
            object.repeat(1000)
        );
        let batch = DeleteRequest::parse(markup.as_bytes()).unwrap();
        let (mut next, mut seen) = (0, Vec::new());
        while next < batch.objects.len() {
            let (markup, end) = batch.render(next, 1_000_000);
            assert!(markup.len() <= 1_000_000, "{} bytes", markup.len());
            let part = DeleteRequest::parse(markup.as_bytes()).unwrap();
            assert_eq!(part.verbosity, Verbosity::Quiet);
            assert_eq!(part.objects.len(), end - next);
            seen.extend(part.objects);
            next = end;
        }
        assert_eq!(seen, batch.objects);
    }
}

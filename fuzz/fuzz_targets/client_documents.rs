//! XML documents of clients: what is read, written for the backend and read again is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3proxy_protocol::xml::complete::{self, CompleteRequest, MAXIMUM_PARTS};
use s3proxy_protocol::xml::delete::{DeleteRequest, MAXIMUM_OBJECTS};
use s3proxy_protocol::xml::{restore, tagging};

fn complete(bytes: &[u8]) {
    let Ok(request) = CompleteRequest::parse(bytes) else {
        return;
    };
    assert!((1..=usize::from(MAXIMUM_PARTS)).contains(&request.parts.len()));
    let parts = request.parts.iter();
    assert!(
        parts
            .clone()
            .all(|part| (1..=MAXIMUM_PARTS).contains(&part.number))
    );
    let written = complete::complete_request(parts.map(|part| (part.number, part.etag.as_str())));
    let again = CompleteRequest::parse(written.as_bytes()).expect("what was written is read");
    assert_eq!(again.parts.len(), request.parts.len());
    assert_eq!(again.is_ascending(), request.is_ascending());
    for (one, other) in again.parts.iter().zip(&request.parts) {
        assert_eq!((one.number, &one.etag), (other.number, &other.etag));
    }
}

fn delete(bytes: &[u8]) {
    let Ok(request) = DeleteRequest::parse(bytes) else {
        return;
    };
    assert!((1..=MAXIMUM_OBJECTS).contains(&request.objects.len()));
    let again = DeleteRequest::parse(request.render().as_bytes());
    assert_eq!(again, Ok(request));
}

fn tags(bytes: &[u8]) {
    let Ok(tags) = tagging::parse(bytes) else {
        return;
    };
    assert_eq!(
        tagging::parse(tagging::document(&tags).as_bytes()),
        Ok(tags.clone())
    );
    let header = tagging::to_header(&tags);
    assert_eq!(
        header.split('&').filter(|tag| !tag.is_empty()).count(),
        tags.len()
    );
    assert!(header.bytes().all(|byte| byte.is_ascii_graphic()));
}

fuzz_target!(|input: &[u8]| {
    complete(input);
    delete(input);
    tags(input);
    let _ = restore::restore_request(input);
});

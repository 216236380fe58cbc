//! Documents of clients: a document that is parsed, written for the backend and parsed again is the
//! same; and a forwarded document has no markup but its known elements.

#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use s3proxy_protocol::operation::{Operation, RequestDocument};
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
    let again = DeleteRequest::parse(request.render(0, usize::MAX).0.as_bytes());
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

/// Checks the elements of a rewritten document, in which every `<` begins a tag.
fn check_tags(document: &str, root: &str, elements: Option<&[&str]>) {
    for tag in document.split('<').skip(1) {
        let end = tag.find('>').expect("every tag ends");
        let name = tag[..end].trim_start_matches('/');
        let (name, attributes) = name.split_once(' ').unwrap_or((name, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(is_name), "{name}");
        let is_known = elements.is_none_or(|elements| elements.contains(&name));
        assert!(is_known || name == root, "{name}");
        let is_namespace = attributes.starts_with("xmlns");
        assert!(attributes.is_empty() || is_namespace, "{attributes}");
    }
}

fn forwarded(bytes: &[u8]) {
    let headers = HeaderMap::new();
    for operation in Operation::ALL.iter().copied() {
        let document = operation.request_document();
        if document == RequestDocument::Nothing {
            continue;
        }
        let Ok(written) = document.written_anew(bytes, &headers) else {
            continue;
        };
        assert!(written.len() <= document.maximum_bytes());
        if written.is_empty() {
            assert!(bytes.is_empty());
            continue;
        }
        if let RequestDocument::Xml(shape, _) = document {
            check_tags(&written, shape.root, shape.elements);
        }
        // A second pass changes nothing: the written form is canonical.
        let again = document.written_anew(written.as_bytes(), &headers);
        assert_eq!(again, Ok(written), "{}", operation.as_str());
    }
}

fuzz_target!(|input: &[u8]| {
    complete(input);
    delete(input);
    tags(input);
    let _ = restore::restore_request(input);
    forwarded(input);
});

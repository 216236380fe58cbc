//! S3 error documents: the proxy's own, and those of a backend for the client.
//!
//! A backend's error keeps its code, message and further elements, except those that describe the
//! proxy's own request: signatures, access key IDs, tokens, hosts. The caller decides which errors
//! must not be passed on at all because they concern the proxy's credential. Resource and request
//! ID are set by the proxy, since the client's request was to the proxy.

use std::fmt::Write;

use super::answer::declared;
use super::document::{Document, XmlError};
use super::escape::escape_for_strict_readers;
use crate::error::S3Error;

/// Content of an error document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDocument {
    /// S3 error code.
    pub code: String,
    /// Error message.
    pub message: String,
    /// Path of the request.
    pub resource: Option<String>,
    /// Request ID.
    pub request_id: Option<String>,
    /// Further elements with their text, such as `ActualObjectSize`.
    pub details: Vec<(String, String)>,
}

/// Elements that describe the proxy's request to the backend.
const REMOVED: &[&str] = &[
    "AWSAccessKeyId",
    "CanonicalRequest",
    "CanonicalRequestBytes",
    "ClientComputedContentSHA256",
    "CredentialScope",
    "Endpoint",
    "HostId",
    "S3ComputedContentSHA256",
    "Server",
    "ServerTime",
    "SignatureProvided",
    "StringToSign",
    "StringToSignBytes",
];

impl ErrorDocument {
    /// Parses a backend's error, without the elements that clients must not see. Fails if it has no
    /// code.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let document = Document::parse(bytes)?;
        if document.root_name() != "Error" {
            return Err(XmlError::schema("the document must be an Error"));
        }
        let mut error = Self {
            code: String::new(),
            message: String::new(),
            resource: None,
            request_id: None,
            details: Vec::new(),
        };
        for element in &document.root.children {
            let text = document.text(element)?.into_owned();
            match document.name(element) {
                "Code" => error.code = text,
                "Message" => error.message = text,
                "Resource" => error.resource = Some(text),
                "RequestId" => error.request_id = Some(text),
                // S3's further elements are flat. Text of nested ones would be incomplete here.
                name if is_removed(name) || !element.children.is_empty() => {}
                name => error.details.push((name.to_owned(), text)),
            }
        }
        if error.code.is_empty() {
            return Err(XmlError::schema("an Error must have a Code"));
        }
        Ok(error)
    }

    /// Text of the further element `name`.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details
            .iter()
            .find(|(present, _)| present == name)
            .map(|(_, text)| text.as_str())
    }

    /// Sets a further element, such as a size in plaintext terms, replacing any others of that
    /// name.
    pub fn set_detail(&mut self, name: &str, text: impl Into<String>) {
        self.details.retain(|(present, _)| present != name);
        self.details.push((name.to_owned(), text.into()));
    }
}

impl From<&S3Error> for ErrorDocument {
    fn from(error: &S3Error) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message.clone().into_owned(),
            resource: None,
            request_id: None,
            details: Vec::new(),
        }
    }
}

/// Whether an element is hidden from clients: those listed, and `Token-0` and so on.
fn is_removed(name: &str) -> bool {
    REMOVED.contains(&name) || name.starts_with("Token")
}

/// Builds an error document. Every XML reader accepts it, for any texts.
#[must_use]
pub fn error_document(error: &ErrorDocument) -> String {
    declared(&error_without_declaration(error))
}

/// Builds an error document for a response that has already started with
/// [`XML_DECLARATION`](super::complete::XML_DECLARATION) and white space.
#[must_use]
pub fn error_without_declaration(error: &ErrorDocument) -> String {
    let mut document = String::from("<Error>");
    let mut push = |name: &str, text: &str| {
        let text = escape_for_strict_readers(text);
        write!(document, "<{name}>{text}</{name}>").expect("a string takes everything");
    };
    push("Code", &error.code);
    push("Message", &error.message);
    for (name, text) in &error.details {
        push(name, text);
    }
    if let Some(resource) = &error.resource {
        push("Resource", resource);
    }
    if let Some(request_id) = &error.request_id {
        push("RequestId", request_id);
    }
    document.push_str("</Error>");
    document
}

/// Whether the root of a document is `<Error>`: CompleteMultipartUpload and copies may respond 200
/// with one. Fails if it cannot be parsed as XML, since it is neither an error nor a result.
pub fn is_error(bytes: &[u8]) -> Result<bool, XmlError> {
    Ok(Document::parse(bytes)?.root_name() == "Error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn a_backends_error_passes_without_what_it_says_about_the_proxys_request() {
        let backend = "<?xml version='1.0'?><Error xmlns='u'><Code>InvalidRange</Code><Message>a &amp; b</Message>\
            <ActualObjectSize>97</ActualObjectSize><Endpoint>internal</Endpoint><HostId>h</HostId>\
            <AWSAccessKeyId>AKIA</AWSAccessKeyId><StringToSign>s</StringToSign><StringToSignBytes>1</StringToSignBytes>\
            <CanonicalRequest>c</CanonicalRequest><SignatureProvided>x</SignatureProvided><Token-0>t</Token-0>\
            <Nested><Endpoint>e</Endpoint></Nested><Resource>/b/k</Resource><RequestId>r</RequestId></Error>";
        let mut error = ErrorDocument::parse(backend.as_bytes()).unwrap();
        assert_eq!(error.code, "InvalidRange");
        assert_eq!(error.message, "a & b");
        assert_eq!(error.detail("ActualObjectSize"), Some("97"));
        error.set_detail("ActualObjectSize", "9");
        error.request_id = Some("mine".into());
        assert_eq!(
            error_document(&error),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidRange</Code><Message>a &amp; b</Message>\
             <ActualObjectSize>9</ActualObjectSize><Resource>/b/k</Resource><RequestId>mine</RequestId></Error>"
        );
    }

    #[test]
    fn whatever_a_client_sent_the_document_reads_back() {
        let mut error = ErrorDocument::from(&S3Error::new(ErrorCode::NoSuchKey, "<&>\"'"));
        error.resource = Some("/b/\u{1}\r\n</Error>".into());
        let parsed = ErrorDocument::parse(error_document(&error).as_bytes()).unwrap();
        assert_eq!(
            (parsed.code.as_str(), parsed.message.as_str()),
            ("NoSuchKey", "<&>\"'")
        );
        assert_eq!(parsed.resource.as_deref(), Some("/b/\u{FFFD}\r\n</Error>"));
    }

    #[test]
    fn refuses_what_is_no_error() {
        for body in [
            "",
            "<html/>",
            "<Error/>",
            "<Error><Message>m</Message></Error>",
            "{}",
        ] {
            assert!(ErrorDocument::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn tells_an_error_from_a_result() {
        assert_eq!(is_error(b"\n <Error><Code>x</Code></Error>"), Ok(true));
        assert_eq!(
            is_error(b"<CopyObjectResult><Error/></CopyObjectResult>"),
            Ok(false)
        );
        // Servers that keep the connection alive with white space send it before or after the
        // declaration.
        let kept_alive = b"  \n<?xml version='1.0'?>\n \n<Error><Code>x</Code></Error>";
        assert_eq!(is_error(kept_alive), Ok(true));
        assert!(is_error(b"   ").is_err());
    }

    #[test]
    fn an_error_may_come_behind_a_declaration_and_white_space() {
        let error = ErrorDocument::from(&S3Error::new(ErrorCode::InvalidPart, "<late>"));
        let late = format!(
            "{}  \n {}",
            crate::xml::complete::XML_DECLARATION,
            error_without_declaration(&error)
        );
        assert_eq!(ErrorDocument::parse(late.as_bytes()), Ok(error.clone()));
        assert_eq!(late.matches("<?xml").count(), 1);
        assert_eq!(error_document(&error).matches("<?xml").count(), 1);
    }
}

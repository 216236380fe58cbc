//! Requests with short responses that matter: one after another on a keep-alive connection, each
//! response read to its end.
//!
//! A response that began as a success may end as an error: S3 sends 200 and white space while a
//! completion or a copy takes long. So the document decides, not only the status.

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::SendRequest;

use crate::content::Segments;
use crate::load::{LoadError, QUOTED, connect};
use crate::xml;

/// Limit for a response body. White space included, the expected ones are far shorter.
const LONGEST: usize = 1 << 20;

pub(crate) struct Caller {
    authority: String,
    sender: Option<SendRequest<Segments>>,
}

pub(crate) struct CallResponse {
    pub(crate) headers: HeaderMap,
    pub(crate) document: String,
}

impl Caller {
    pub(crate) fn new(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            sender: None,
        }
    }

    pub(crate) async fn ask(
        &mut self,
        request: Request<Segments>,
    ) -> Result<CallResponse, LoadError> {
        let subject = format!("{} {}", request.method(), request.uri());
        let broken = |source, subject: &str| LoadError::Http {
            subject: subject.to_owned(),
            source,
        };
        // A response to HEAD has no body that could report a late error.
        let bodiless = request.method() == Method::HEAD;
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => connect(&self.authority).await?,
        };
        // A server may close an idle connection; that is not a failure.
        if sender.ready().await.is_err() {
            sender = connect(&self.authority).await?;
        }
        let answer = sender.send_request(request).await;
        let (head, body) = answer
            .map_err(|source| broken(source, &subject))?
            .into_parts();
        let read = Limited::new(body, LONGEST).collect().await;
        let bytes = read.map_err(|_| LoadError::Answer {
            subject: subject.clone(),
            problem: "broke off, or is longer than such an answer can be",
        })?;
        let document = String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
        if head.status != StatusCode::OK || (!bodiless && document.contains("<Error>")) {
            return Err(LoadError::Status {
                subject,
                status: head.status,
                body: document.chars().take(QUOTED).collect(),
            });
        }
        self.sender = Some(sender);
        let headers = head.headers;
        Ok(CallResponse { headers, document })
    }
}

impl CallResponse {
    /// The content of a required element.
    pub(crate) fn element(&self, name: &'static str) -> Result<&str, LoadError> {
        xml::content(&self.document, name).ok_or(LoadError::Missing { name })
    }

    /// The value of a required header.
    pub(crate) fn header(&self, name: &'static str) -> Result<&str, LoadError> {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or(LoadError::Missing { name })
    }
}

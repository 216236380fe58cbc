//! CORS headers of answers to pages in a browser, whoever makes the answer.
//!
//! The bucket's rules lie at the backend, which adds their headers to its own answers: a request
//! that does for the bucket what the page's request does carries the page's `Origin`
//! ([`crate::backend::PageOrigin`]). Answers that come back without, because the proxy made them or
//! because the backend adds none to answers of that kind, are completed here: the proxy asks by a
//! preflight, as the browser would, and remembers the answer for a few seconds. Where the rules give
//! nothing, and where the backend does not answer, nothing is added.
//!
//! The question is not signed and needs no right at the backend. Requests of unknown senders cause
//! one only within the limits of preflights, since every answer must be cheap until a signature has
//! been verified (ADR 0017).

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderName, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use moka::sync::Cache;
use s3proxy_protocol::address::{self, HostRules};
use s3proxy_protocol::headers;
use s3proxy_protocol::name::BucketName;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::backend::{Backend, Request, ServiceAddress, Signature};
use crate::operations::service_at;

/// How long an answer is remembered, which is how late a change of the rules may show.
const KEPT: Duration = Duration::from_secs(5);

/// How long an answer may wait for a turn to ask, and then for the backend.
const WAIT: Duration = Duration::from_secs(2);

/// Memory for what is remembered, in bytes.
const CACHE_BYTES: u64 = 1024 * 1024;

/// What an entry takes besides its texts.
const ENTRY_BYTES: usize = 400;

/// Longest origin that is asked for, in bytes: a scheme, a host name of DNS and a port fit.
const MAX_ORIGIN_BYTES: usize = 300;

/// Questions at once for requests of known clients.
const QUESTIONS: usize = 64;

/// The same for requests of nobody known, which do not wait.
const QUESTIONS_OF_UNKNOWN: usize = 16;

/// Some key: rules are a bucket's, and SeaweedFS answers preflights of the bucket itself by others.
const SOME_KEY: &str = "x";

/// CORS headers with a meaning in answers other than a preflight's.
const LOOKED_AT: [HeaderName; 4] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    VARY,
];

/// Everything that the headers depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    /// The host that the client named, where that is what selects the backend.
    host: Option<String>,
    bucket: String,
    origin: HeaderValue,
    method: Method,
}

/// The parts of a page's request that CORS rules depend on.
pub(crate) struct PageRequest {
    /// `None` where no bucket's rules apply.
    asked: Option<(Question, Option<ServiceAddress>)>,
}

/// How the rules for a page's request may be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The backend is asked, if need be when others have been: a client is known to have sent the
    /// request.
    Wait,
    /// The backend is asked unless it is being asked too much: anybody may have sent the request.
    Try,
    /// Only what is remembered counts.
    CacheOnly,
}

impl PageRequest {
    /// Reads the head of a request; `None` where no page sent it.
    pub(crate) fn of(hosts: &HostRules, parts: &Parts) -> Option<Self> {
        let origin = parts.headers.get(ORIGIN)?;
        let asked = if origin.len() <= MAX_ORIGIN_BYTES && is_judged(&parts.method) {
            question(hosts, parts, origin)
        } else {
            None
        };
        Some(Self { asked })
    }
}

/// Whether rules are about the method. Preflights are the backend's to answer.
fn is_judged(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
    ]
    .contains(method)
}

fn question(
    hosts: &HostRules,
    parts: &Parts,
    origin: &HeaderValue,
) -> Option<(Question, Option<ServiceAddress>)> {
    let host = headers::text(&parts.headers, HOST)?;
    let address = address::address(hosts, host, parts.uri.path()).ok()?;
    let service = service_at(&address);
    let question = Question {
        host: service
            .as_ref()
            .map(|service| service.endpoint.host.clone()),
        bucket: address.bucket.as_ref().map(BucketName::as_str)?.to_owned(),
        origin: origin.clone(),
        method: parts.method.clone(),
    };
    Some((question, service))
}

/// CORS headers by bucket, origin and method: a cache over preflights to the backend.
pub(crate) struct PageRules {
    answers: Cache<Question, Arc<HeaderMap>>,
    questions: Semaphore,
    questions_of_unknown: Semaphore,
}

impl PageRules {
    pub(crate) fn new() -> Self {
        let answers = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|question: &Question, headers: &Arc<HeaderMap>| weight(question, headers))
            .time_to_live(KEPT);
        Self {
            answers: answers.build(),
            questions: Semaphore::new(QUESTIONS),
            questions_of_unknown: Semaphore::new(QUESTIONS_OF_UNKNOWN),
        }
    }

    /// Whether an answer with these headers can be completed without a question to the backend.
    pub(crate) fn are_known_for(&self, request: &PageRequest, headers: &HeaderMap) -> bool {
        headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
            || request
                .asked
                .as_ref()
                .is_none_or(|(question, _)| self.answers.contains_key(question))
    }

    /// Adds the headers that the rules give, unless the answer has them from the backend.
    pub(crate) async fn complete(
        &self,
        backend: &Backend,
        request: PageRequest,
        lookup: Lookup,
        headers: &mut HeaderMap,
    ) {
        if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
            && let Some((question, service)) = request.asked
        {
            let given = self.look_up(backend, question, service, lookup).await;
            for (name, value) in given.iter() {
                headers.append(name.clone(), value.clone());
            }
        }
        unite_vary(headers);
    }

    async fn look_up(
        &self,
        backend: &Backend,
        question: Question,
        service: Option<ServiceAddress>,
        lookup: Lookup,
    ) -> Arc<HeaderMap> {
        if let Some(known) = self.answers.get(&question) {
            return known;
        }
        let turn = tokio::time::timeout(WAIT, self.turn(lookup)).await;
        let Ok(Some(_turn)) = turn else {
            return Arc::default();
        };
        // Another request may have asked the same meanwhile.
        if let Some(known) = self.answers.get(&question) {
            return known;
        }
        let asking = given(backend, &question, service);
        // That there was no answer is remembered too, so that not every page waits for one. Nothing is
        // where the client leaves before: anybody could make other pages miss their rules.
        let given = tokio::time::timeout(WAIT, asking).await.unwrap_or_default();
        let given = Arc::new(given);
        self.answers.insert(question, Arc::clone(&given));
        given
    }

    async fn turn(&self, lookup: Lookup) -> Option<SemaphorePermit<'_>> {
        match lookup {
            Lookup::Wait => self.questions.acquire().await.ok(),
            Lookup::Try => self.questions_of_unknown.try_acquire().ok(),
            Lookup::CacheOnly => None,
        }
    }
}

fn weight(question: &Question, headers: &HeaderMap) -> u32 {
    let texts = question.bucket.len()
        + question.origin.len()
        + question.host.as_ref().map_or(0, String::len)
        + headers.values().map(HeaderValue::len).sum::<usize>();
    u32::try_from(ENTRY_BYTES + texts).unwrap_or(u32::MAX)
}

/// The backend's answer to a preflight of the request, as far as it is about the request itself.
async fn given(
    backend: &Backend,
    question: &Question,
    service: Option<ServiceAddress>,
) -> HeaderMap {
    let mut request = Request::new(Method::OPTIONS, Some(&question.bucket), Some(SOME_KEY));
    request.service = service;
    request.signature = Signature::None;
    request.response_timeout = Some(WAIT);
    let method = HeaderValue::from_str(question.method.as_str()).expect("a method is a token");
    request.headers.insert(ORIGIN, question.origin.clone());
    request
        .headers
        .insert(ACCESS_CONTROL_REQUEST_METHOD, method);
    let mut given = HeaderMap::new();
    let Ok(answer) = backend.send(request).await else {
        return given;
    };
    if !answer.status().is_success() || !allows(answer.headers(), &question.method) {
        return given;
    }
    for name in LOOKED_AT {
        for value in answer.headers().get_all(&name) {
            given.append(&name, value.clone());
        }
    }
    given
}

/// Some servers tell any page that a rule names of that rule, whatever method it asked for.
fn allows(headers: &HeaderMap, method: &Method) -> bool {
    headers::list_items(headers, ACCESS_CONTROL_ALLOW_METHODS)
        .any(|allowed| [method.as_str(), "*"].contains(&allowed))
}

/// Makes one header of all `Vary`, each name in it once.
fn unite_vary(headers: &mut HeaderMap) {
    if headers.get_all(VARY).iter().nth(1).is_none() {
        return;
    }
    let mut names: Vec<String> = Vec::new();
    for name in headers::list_items(headers, VARY) {
        if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    headers.remove(VARY);
    if let Ok(value) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn vary_is_one_header_with_each_name_once() {
        for (given, expected) in [
            (&["Origin"][..], "Origin"),
            (&["Origin", "Origin"], "Origin"),
            (
                &["Origin, Accept", "origin,Access-Control-Request-Method"],
                "Origin, Accept, Access-Control-Request-Method",
            ),
        ] {
            let mut headers = headers(&VARY, given);
            unite_vary(&mut headers);
            let values: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(values, [expected]);
        }
        let mut none = HeaderMap::new();
        unite_vary(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn a_rule_that_does_not_name_the_method_gives_nothing() {
        let name = ACCESS_CONTROL_ALLOW_METHODS;
        for (methods, expected) in [
            (&["GET, PUT"][..], true),
            (&["GET", "PUT"], true),
            (&["*"], true),
            (&["GET"], false),
            (&["PUTS"], false),
            (&[], false),
        ] {
            let allowed = allows(&headers(&name, methods), &Method::PUT);
            assert_eq!(allowed, expected, "{methods:?}");
        }
    }
}

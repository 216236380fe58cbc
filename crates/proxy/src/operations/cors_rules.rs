//! CORS headers of responses to pages in a browser, both the backend's responses and the proxy's.
//!
//! The backend knows the bucket's rules and adds their headers to its own responses: a backend
//! request that does the same as the page's request carries the page's `Origin`
//! ([`crate::backend::PageOrigin`]). A response without the headers, because the proxy made it or
//! because the backend adds none to such responses, is completed here: the proxy sends a preflight,
//! as the browser would, and caches the result for a few seconds. If the rules give no headers, or
//! the backend does not respond, none are added.
//!
//! The preflight is unsigned and needs no permission at the backend. Requests of unknown senders
//! cause one only within the rate limit of preflights: until a signature has been verified, every
//! response must be cheap (ADR 0017).

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

use crate::backend::{Backend, Request, Service, Signature};
use crate::operations::service_at;

/// How long the result of a preflight is cached: a change of the rules may show this late.
const KEPT: Duration = Duration::from_secs(5);

/// Timeout of the wait for a turn, and then of the preflight itself.
const WAIT: Duration = Duration::from_secs(2);

/// Capacity of the cache in bytes.
const CACHE_BYTES: u64 = 1024 * 1024;

/// Bytes of a cache entry besides its texts.
const ENTRY_BYTES: usize = 400;

/// Longest origin that is looked up, in bytes: a scheme, a host name of DNS and a port fit.
const MAX_ORIGIN_BYTES: usize = 300;

/// Concurrent preflights for requests of known clients.
const QUESTIONS: usize = 64;

/// Concurrent preflights for requests of unknown senders, which do not wait for a turn.
const QUESTIONS_OF_UNKNOWN: usize = 16;

/// Any key: rules belong to the bucket, but SeaweedFS applies others to preflights of the bucket
/// itself.
const SOME_KEY: &str = "x";

/// CORS headers that have a meaning in responses other than a preflight's.
const LOOKED_AT: [HeaderName; 4] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    VARY,
];

/// Everything that the headers depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct CorsQuestion {
    /// The host that the client named, where that is what selects the backend.
    host: Option<String>,
    bucket: String,
    origin: HeaderValue,
    method: Method,
}

/// The parts of a page's request that CORS rules depend on.
pub(crate) struct PageRequest {
    /// `None` if no bucket's rules apply.
    question: Option<(CorsQuestion, Option<Service>)>,
}

/// How the rules for a page's request may be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// A preflight is sent, after waiting for a turn: a known client sent the request.
    Wait,
    /// A preflight is sent if there is a turn at once: anybody may have sent the request.
    Try,
    /// Only the cache is used.
    CacheOnly,
}

impl PageRequest {
    /// Reads the head of a request; `None` if no page sent it.
    pub(crate) fn of(hosts: &HostRules, parts: &Parts) -> Option<Self> {
        let origin = parts.headers.get(ORIGIN)?;
        let question = if origin.len() <= MAX_ORIGIN_BYTES && is_judged(&parts.method) {
            question(hosts, parts, origin)
        } else {
            None
        };
        Some(Self { question })
    }
}

/// Whether rules apply to the method. Preflights themselves are forwarded.
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
) -> Option<(CorsQuestion, Option<Service>)> {
    let host = headers::text(&parts.headers, HOST)?;
    let address = address::address(hosts, host, parts.uri.path()).ok()?;
    let service = service_at(&address);
    let question = CorsQuestion {
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
    answers: Cache<CorsQuestion, Arc<HeaderMap>>,
    questions: Semaphore,
    questions_of_unknown: Semaphore,
}

impl PageRules {
    pub(crate) fn new() -> Self {
        let answers = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|question: &CorsQuestion, headers: &Arc<HeaderMap>| weight(question, headers))
            .time_to_live(KEPT);
        Self {
            answers: answers.build(),
            questions: Semaphore::new(QUESTIONS),
            questions_of_unknown: Semaphore::new(QUESTIONS_OF_UNKNOWN),
        }
    }

    /// Whether a response with these headers can be completed without a preflight.
    pub(crate) fn are_known_for(&self, request: &PageRequest, headers: &HeaderMap) -> bool {
        headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
            || request
                .question
                .as_ref()
                .is_none_or(|(question, _)| self.answers.contains_key(question))
    }

    /// Adds the headers that the rules give, unless the response has them from the backend.
    pub(crate) async fn complete(
        &self,
        backend: &Backend,
        request: PageRequest,
        lookup: Lookup,
        headers: &mut HeaderMap,
    ) {
        if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
            && let Some((question, service)) = request.question
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
        question: CorsQuestion,
        service: Option<Service>,
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
        // A timeout is cached too, so that not every page waits for one. If the client leaves
        // earlier nothing is cached: otherwise anybody could make other pages miss their rules.
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

fn weight(question: &CorsQuestion, headers: &HeaderMap) -> u32 {
    let texts = question.bucket.len()
        + question.origin.len()
        + question.host.as_ref().map_or(0, String::len)
        + headers.values().map(HeaderValue::len).sum::<usize>();
    u32::try_from(ENTRY_BYTES + texts).unwrap_or(u32::MAX)
}

/// Headers of the backend's response to a preflight that apply to the request itself.
async fn given(backend: &Backend, question: &CorsQuestion, service: Option<Service>) -> HeaderMap {
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

/// Whether the response allows the method. Some servers return a rule that names the origin even
/// if it does not name the method.
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

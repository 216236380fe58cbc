//! Long work, whose response begins before it is done, as in S3.
//!
//! Work that ends within a few seconds gets an ordinary response, errors with their own status.
//! Longer work gets a 200 immediately, and white space until the document, which may be an error's:
//! clients expect this of CompleteMultipartUpload and copies. Headers of the result cannot be sent
//! then.
//!
//! Invariants: the work runs to its end even if the client leaves, and the program waits for it
//! ([`LongWork`]) before it ends. The request's record shows the true outcome.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use opentelemetry::trace::FutureExt;
use s3proxy_protocol::xml::complete::XML_DECLARATION;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::body::keep_alive::KeepAliveBody;
use crate::body::outbound::ResponseBody;
use crate::failure::Outcome;
use crate::operations::{Job, OwnedJob};
use crate::record::RequestRecord;
use crate::respond;

/// Time for which the status line is held back.
const STATUS_WAIT: Duration = Duration::from_secs(5);

/// Result of long work.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Headers of the result, sent only if the work was quick.
    pub(crate) headers: HeaderMap,
    /// Result document, without XML declaration.
    pub(crate) document: String,
}

/// Counts work that may outlive its connection, for the drain at the end of the program.
pub(crate) struct LongWork(watch::Sender<usize>);

/// Guard of one piece of work, counted until it is dropped.
struct Running(watch::Sender<usize>);

impl LongWork {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    fn begin(&self) -> Running {
        self.0.send_modify(|running| *running += 1);
        Running(self.0.clone())
    }

    /// Waits until no work is running.
    pub(crate) async fn ended(&self) {
        let mut running = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// Number of pieces of work that are running.
    pub(crate) fn running(&self) -> usize {
        *self.0.borrow()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// Runs `work` to its end, and responds at its end or after [`STATUS_WAIT`].
pub(crate) async fn answer<W, F>(job: &Job<'_>, work: W) -> Outcome<Response<ResponseBody>>
where
    W: FnOnce(OwnedJob) -> F + Send + 'static,
    F: Future<Output = Outcome<Finished>> + Send + 'static,
{
    // GaugeGuard before the task exists, so that a drain cannot miss it.
    let running = job.services.long_work.begin();
    let owned = job.detached();
    let listener = Listener {
        resource: resource(job),
        record: Arc::clone(job.record),
    };
    answer_to(listener, async move {
        let outcome = work(owned).await;
        drop(running);
        outcome
    })
    .await
}

/// `Resource` of an error document, as S3 names it.
fn resource(job: &Job<'_>) -> String {
    let object = job.object();
    format!("/{}/{}", object.bucket, object.key.encode())
}

/// Request that waits for the result.
struct Listener {
    resource: String,
    record: Arc<RequestRecord>,
}

async fn answer_to<F>(listener: Listener, work: F) -> Outcome<Response<ResponseBody>>
where
    F: Future<Output = Outcome<Finished>> + Send + 'static,
{
    let record = Arc::clone(&listener.record);
    let work = async move {
        let outcome = work.await;
        if let Err(failure) = &outcome {
            // Recorded here, since the client may be gone and its response dropped.
            record.failure(failure);
        }
        outcome
    };
    // A spawned task loses the current trace context unless it is attached.
    let mut work = tokio::spawn(work.with_current_context());
    // `&mut`: the timeout drops the borrow, not the task, which continues.
    match tokio::time::timeout(STATUS_WAIT, &mut work).await {
        Ok(Ok(outcome)) => outcome.map(ordinary),
        Ok(Err(error)) => resume_unwind(error.into_panic()),
        Err(_elapsed) => Ok(late(listener, work)),
    }
}

fn ordinary(finished: Finished) -> Response<ResponseBody> {
    let document = [XML_DECLARATION, &finished.document].concat();
    let mut response = Response::new(ResponseBody::held(document));
    *response.headers_mut() = finished.headers;
    set_content_type(&mut response);
    response
}

fn set_content_type(response: &mut Response<ResponseBody>) {
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, xml);
}

fn late(listener: Listener, work: JoinHandle<Outcome<Finished>>) -> Response<ResponseBody> {
    let beginning = Bytes::from_static(XML_DECLARATION.as_bytes());
    let unheard = Unheard(Some(Arc::clone(&listener.record)));
    let body = KeepAliveBody::new(beginning, async move {
        let outcome = match work.await {
            Ok(outcome) => outcome,
            Err(error) => resume_unwind(error.into_panic()),
        };
        unheard.heard();
        match outcome {
            Ok(finished) => Bytes::from(finished.document),
            Err(failure) => respond::late(&failure, &listener.resource, &listener.record),
        }
    });
    let mut response = Response::new(ResponseBody::keep_alive(body));
    set_content_type(&mut response);
    response
}

/// Records on drop that the client left before the result was available.
struct Unheard(Option<Arc<RequestRecord>>);

impl Unheard {
    fn heard(mut self) {
        self.0 = None;
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(record) = &self.0 {
            record.client_left();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::StatusCode;
    use http_body_util::BodyExt;
    use s3proxy_protocol::error::{ErrorCode, S3Error};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::body::keep_alive::SPACE_EVERY;
    use crate::failure::Failure;

    fn listener() -> (Listener, Arc<RequestRecord>) {
        let record = Arc::new(RequestRecord::begin(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let listener = Listener {
            resource: "/b/k".to_owned(),
            record: Arc::clone(&record),
        };
        (listener, record)
    }

    fn finished() -> Finished {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-version-id", HeaderValue::from_static("v"));
        Finished {
            headers,
            document: "<Result/>".to_owned(),
        }
    }

    fn refusal() -> Failure {
        Failure::Refused(S3Error::new(ErrorCode::InvalidPart, "no such part"))
    }

    async fn text(response: Response<ResponseBody>) -> String {
        let collected = response.into_body().collect().await;
        String::from_utf8(collected.expect("a whole body").to_bytes().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn quick_work_is_an_ordinary_answer() {
        let (listener, _) = listener();
        let work = async {
            sleep(STATUS_WAIT / 2).await;
            Ok(finished())
        };
        let response = answer_to(listener, work).await.unwrap();
        assert_eq!(response.headers()["x-amz-version-id"], "v");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/xml");
        assert_eq!(text(response).await, format!("{XML_DECLARATION}<Result/>"));
    }

    #[tokio::test(start_paused = true)]
    async fn quick_failures_keep_their_status() {
        let (listener, _) = listener();
        let outcome = answer_to(listener, async { Err(refusal()) }).await;
        assert!(
            matches!(outcome, Err(Failure::Refused(error)) if error.code == ErrorCode::InvalidPart)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_work_is_200_and_white_space_until_the_document() {
        let (listener, record) = listener();
        let work = async {
            sleep(STATUS_WAIT + SPACE_EVERY * 3 + Duration::from_secs(1)).await;
            Ok(finished())
        };
        let started = Instant::now();
        let response = answer_to(listener, work).await.unwrap();
        assert_eq!(started.elapsed(), STATUS_WAIT);
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("x-amz-version-id"));
        record.answered(response.status(), 0);
        assert_eq!(
            text(response).await,
            format!("{XML_DECLARATION}   <Result/>")
        );
        assert_eq!(record.outcome(), "complete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_failure_is_a_document_behind_200_and_the_record_knows() {
        let (listener, record) = listener();
        let work = async {
            sleep(STATUS_WAIT * 2).await;
            Err(refusal())
        };
        let response = answer_to(listener, work).await.unwrap();
        record.answered(response.status(), 0);
        let text = text(response).await;
        let document = text.strip_prefix(XML_DECLARATION).unwrap().trim_start();
        assert!(
            document.starts_with("<Error><Code>InvalidPart</Code>"),
            "{text}"
        );
        assert!(document.contains("<Resource>/b/k</Resource>"), "{text}");
        assert_eq!((record.status(), record.outcome()), (400, "late_error"));
    }

    #[tokio::test(start_paused = true)]
    async fn work_goes_on_when_the_client_leaves() {
        for leaves_after in [STATUS_WAIT / 2, STATUS_WAIT * 2] {
            let (listener, record) = listener();
            record.answered(StatusCode::OK, 0);
            let (done, ended) = tokio::sync::oneshot::channel();
            let work = async move {
                sleep(STATUS_WAIT * 4).await;
                done.send(()).unwrap();
                Ok(finished())
            };
            let reading = async { text(answer_to(listener, work).await.unwrap()).await };
            assert!(tokio::time::timeout(leaves_after, reading).await.is_err());
            ended.await.expect("the work ends by itself");
            let expected = if leaves_after > STATUS_WAIT {
                "client_left"
            } else {
                "complete"
            };
            assert_eq!(record.outcome(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_program_can_wait_for_all_long_work() {
        let work = LongWork::new();
        work.ended().await;
        let (first, second) = (work.begin(), work.begin());
        drop(first);
        let still = tokio::time::timeout(Duration::from_secs(1), work.ended()).await;
        assert!(still.is_err() && work.running() == 1);
        drop(second);
        work.ended().await;
    }
}

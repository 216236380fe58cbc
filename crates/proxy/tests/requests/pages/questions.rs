//! What the proxy asks the backend about a page, and how often: questions cost work, and anybody may
//! cause them.

use std::time::{Duration, Instant};

use http::Method;

use super::{METHODS, PAGE, Rules, assert_told, assert_told_nothing, of_page, proxy_with, set};
use crate::harness::{ClientRequest, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_no_page_sent_causes_no_question() {
    let (proxy, store) = proxy_with("").await;
    set(&proxy, &store, Rules::allowing(&METHODS));
    let request = ClientRequest::get("/bucket/key?torrent");
    let answer = proxy.send(request).await.expect(501);
    assert_told_nothing("501", &answer);
    assert!(proxy.backend.take_requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_silent_about_preflights_delays_one_answer() {
    let (proxy, _) = proxy_with("").await;
    proxy.backend.script(|_| Reply::Hang(Vec::new()));
    let request = of_page(ClientRequest::get("/bucket/key?torrent"));
    let began = Instant::now();
    for _ in 0..20 {
        let answer = proxy.send(request.clone()).await.expect(501);
        assert_told_nothing("501", &answer);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(proxy.backend.take_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_asked_once_and_remembered_for_a_while() {
    let (proxy, store) = proxy_with("").await;
    set(&proxy, &store, Rules::allowing(&["GET"]));
    let request = of_page(ClientRequest::get("/bucket/key?torrent"));
    for _ in 0..10 {
        assert_told("501", &proxy.send(request.clone()).await.expect(501));
    }
    let sent = proxy.backend.take_requests();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].method, Method::OPTIONS);
    assert_eq!(sent[0].header("authorization"), "", "nobody signs it");
    set(&proxy, &store, Rules::allowing(&[]));
    let until = Instant::now() + Duration::from_secs(20);
    while proxy
        .send(request.clone())
        .await
        .headers
        .contains_key("access-control-allow-origin")
    {
        assert!(Instant::now() < until, "the old rules are still told");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// An attacker without a credential, who names another page each time.
fn from_other_pages(count: usize) -> impl Iterator<Item = ClientRequest> {
    (0..count).map(|number| {
        ClientRequest::get("/bucket/key").header("origin", format!("https://{number}.example"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_nobody_known_cause_no_more_questions_than_preflights_may_be_sent() {
    const PER_SECOND: u64 = 5;
    let settings = format!("[limits]\nanonymous_requests_per_second = {PER_SECOND}");
    let (proxy, store) = proxy_with(&settings).await;
    set(&proxy, &store, Rules::allowing(&METHODS));
    let began = Instant::now();
    for request in from_other_pages(300) {
        proxy.send_unsigned(request).await.expect(403);
    }
    let turns = PER_SECOND * (began.elapsed().as_secs() + 2);
    let questions = proxy.backend.take_requests().len() as u64;
    assert!(questions >= PER_SECOND, "{questions} questions");
    assert!(questions <= turns, "{questions} questions, {turns} turns");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_nobody_known_cause_few_questions_at_once() {
    let (proxy, _) = proxy_with("[limits]\nanonymous_requests_per_second = 0").await;
    proxy.backend.script(|_| Reply::Hang(Vec::new()));
    let began = Instant::now();
    let sent = from_other_pages(200).map(|request| proxy.send_unsigned(request));
    for answer in futures_util::future::join_all(sent).await {
        answer.expect(403);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let rounds = took.as_secs() / 2 + 1;
    let questions = proxy.backend.take_requests().len() as u64;
    assert!(
        questions <= 16 * rounds,
        "{questions} questions in {took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_backend_has_answered_hides_no_rules() {
    let (proxy, _) = proxy_with("").await;
    let rules = Rules::allowing(&METHODS);
    proxy.backend.script(move |request| {
        Reply::After(Duration::from_secs(1), Box::new(rules.preflight(request)))
    });
    let unsigned = of_page(ClientRequest::get("/bucket/key?torrent"));
    let leaving = proxy.send_unsigned(unsigned.clone());
    let left = tokio::time::timeout(Duration::from_millis(300), leaving).await;
    assert!(left.is_err(), "the proxy waits for the backend");
    assert_eq!(proxy.backend.requests().len(), 1, "it had asked");
    // The proxy notices.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = proxy.send(unsigned).await.expect(501);
    assert_told("501", &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_no_browser_sends_is_not_asked_for() {
    let (proxy, store) = proxy_with("").await;
    set(&proxy, &store, Rules::allowing(&METHODS));
    for request in [
        ClientRequest::get("/bucket/key?torrent").header("origin", "x".repeat(301)),
        ClientRequest::get("/?torrent").header("origin", PAGE),
    ] {
        let answer = proxy.send(request).await;
        assert_told_nothing("an own error", &answer);
        assert!(proxy.backend.take_requests().is_empty());
    }
}

use std::collections::BTreeSet;

use super::*;

/// Runs `events` and returns the metrics that they changed, as text.
pub(crate) fn counted(events: impl FnOnce()) -> String {
    let recorder = exporter::recorder().unwrap();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        exporter::describe();
        begin();
        events();
    });
    handle.render()
}

fn everything() {
    request_ended(EndedRequest {
        operation: "GetObject",
        status: status_text(200),
        client: "app",
        took: Duration::from_millis(7),
        received_bytes: 3,
        sent_bytes: 5,
    });
    drop((request_begun(), connection_opened(), body_memory(7)));
    drop(request_under_key("local:0123456789abcdef"));
    active_key("local:0123456789abcdef");
    body_memory_limit(1024);
    seal_failed(SealFailure::Service);
    open_failed(OpenFailure::Tampered);
    plaintext_read();
    legacy_read(LegacyFormat::Intrinsec);
    let took = Duration::from_millis(1);
    key_service_called(ServiceKind::Vault, KeyCall::Open, KeyResult::Ok, took);
    drop(breaker_opened(ServiceKind::Vault));
    key_service_call_withheld(ServiceKind::Vault);
    key_cache_hit();
    key_cache_missed();
    backend_request_ended("GetObject", status_text(200), took);
    backend_retried(RetryReason::Timeout);
    certificate(time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(9));
    config_reloaded(ReloadResult::Failure);
    throttled(Limit::Memory);
    audit_lost(1);
    panicked();
}

#[test]
fn each_metric_has_its_declared_type_help_and_labels() {
    let text = counted(everything);
    for metric in declared::ALL {
        let kind = match metric.kind {
            declared::Kind::Counter => "counter",
            declared::Kind::Gauge => "gauge",
            declared::Kind::Histogram => "histogram",
        };
        let name = metric.name;
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        assert!(
            text.contains(&format!("# HELP {name} {}\n", metric.help)),
            "{name}"
        );
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let suffix = if kind == "histogram" { "_count" } else { "" };
        let mut found = 0;
        for line in series {
            let (series, _) = line.rsplit_once(' ').unwrap_or_default();
            let (of, labels) = series.split_once('{').unwrap_or((series, "}"));
            if of == format!("{name}{suffix}") {
                found += 1;
                let labels = labels.trim_end_matches('}').split("\",");
                let labels: BTreeSet<_> = labels
                    .filter_map(|label| Some(label.split_once('=')?.0))
                    .collect();
                assert_eq!(labels, metric.labels.iter().copied().collect(), "{line}");
            }
        }
        assert!(found > 0, "{name} is recorded");
    }
}

#[test]
fn nothing_is_counted_that_is_not_declared() {
    let text = counted(everything);
    let declared: BTreeSet<_> = declared::ALL.iter().map(|metric| metric.name).collect();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let found: BTreeSet<_> = types.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(found, declared);
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for metric in declared::ALL {
        let name = metric.name;
        assert!(name.starts_with("s3proxy_"), "{name}");
        let total = name.ends_with("_total");
        assert_eq!(total, metric.kind == declared::Kind::Counter, "{name}");
        if metric.kind == declared::Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(
            metric.help.ends_with('.') && !metric.help.contains('\n'),
            "{name}"
        );
    }
}

#[test]
fn failure_counters_exist_at_zero_before_the_first_failure() {
    let text = counted(|| {});
    for line in [
        "s3proxy_open_failures_total{kind=\"tampered\"} 0",
        "s3proxy_seal_failures_total{kind=\"key_service\"} 0",
        "s3proxy_throttled_total{limit=\"client_rate\"} 0",
        "s3proxy_config_reloads_total{result=\"failure\"} 0",
        "s3proxy_plaintext_reads_total 0",
        "s3proxy_config_last_reload_successful 1",
        "s3proxy_requests_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_gauge_is_lowered_when_its_guard_is_dropped() {
    let text = counted(|| {
        let kept = body_memory(100);
        drop(body_memory(23));
        // This guard is never dropped, so its bytes stay counted.
        std::mem::forget(kept);
    });
    assert!(text.contains("\ns3proxy_body_memory_bytes 100\n"), "{text}");
}

#[test]
fn requests_are_counted_in_fixed_buckets() {
    let text = counted(everything);
    for line in [
        // The request took 7 ms.
        "s3proxy_request_seconds_bucket{operation=\"GetObject\",le=\"0.005\"} 0",
        "s3proxy_request_seconds_bucket{operation=\"GetObject\",le=\"0.01\"} 1",
        "s3proxy_request_seconds_bucket{operation=\"GetObject\",le=\"+Inf\"} 1",
        "s3proxy_requests_total{operation=\"GetObject\",status=\"200\",client=\"app\"} 1",
        "s3proxy_sent_bytes_total{operation=\"GetObject\"} 5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn unregistered_status_codes_are_counted_by_class() {
    for (status, text) in [
        (200, "200"),
        (503, "503"),
        (599, "5xx"),
        (299, "2xx"),
        (0, "0xx"),
    ] {
        assert_eq!(status_text(status), text);
    }
}

#[test]
fn the_page_documents_every_metric() {
    let page = reference::markdown();
    for metric in declared::ALL {
        assert!(
            page.contains(&format!("### `{}`\n", metric.name)),
            "{}",
            metric.name
        );
    }
    for metric in process::ALL {
        assert!(
            page.contains(&format!("`{}`", metric.name)),
            "{}",
            metric.name
        );
    }
}

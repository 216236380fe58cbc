//! `traceparent` and `tracestate` (W3C Trace Context, level 1, section 3): parsed strictly, written
//! canonically.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use s3proxy_protocol::headers;

/// Header with the span of the caller.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header with vendors' data about the trace.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length that every implementation must be able to propagate (section 3.3.1.5); a longer value is
/// dropped.
const TRACESTATE_BYTES: usize = 512;

/// Parses the span that a request claims as its parent. `None` if the header is malformed or
/// repeated.
pub(super) fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let text = headers::single_text(headers, &TRACEPARENT).ok()??;
    let (trace_id, span_id, flags) = traceparent(text)?;
    let parent = SpanContext::new(trace_id, span_id, flags, true, tracestate(headers));
    parent.is_valid().then_some(parent)
}

/// Parses `version-traceid-parentid-flags`, all in lower-case hex. Later versions may append
/// fields.
fn traceparent(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    // 55 bytes: the fixed length of version 00. `get` also fails inside a multi-byte character.
    let known = text.get(..55)?;
    let more = &text[55..];
    let mut fields = known.split('-');
    let mut hex = |digits: usize| {
        let field = fields.next()?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (field.len() == digits && field.bytes().all(is_hex)).then_some(field)
    };
    let version = hex(2)?;
    let (trace_id, span_id, flags) = (hex(32)?, hex(16)?, hex(2)?);
    match version {
        "ff" => return None,
        "00" if !more.is_empty() => return None,
        _ if !more.is_empty() && !more.starts_with('-') => return None,
        _ => {}
    }
    // Only the sampled flag is defined; unknown ones are not passed on.
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        flags,
    ))
}

fn tracestate(headers: &HeaderMap) -> TraceState {
    let values: Option<Vec<&str>> = headers
        .get_all(TRACESTATE)
        .iter()
        .map(headers::value_text)
        .collect();
    values
        .map(|values| values.join(","))
        .filter(|text| text.len() <= TRACESTATE_BYTES)
        .and_then(|text| TraceState::from_str(&text).ok())
        .unwrap_or_default()
}

/// Sets the headers that name a span as the parent of a request.
pub(super) fn write(headers: &mut HeaderMap, span: &SpanContext) {
    let (trace_id, span_id) = (span.trace_id(), span.span_id());
    let flags = u8::from(span.is_sampled());
    let parent = format!("00-{trace_id}-{span_id}-{flags:02x}");
    let parent = HeaderValue::try_from(parent).expect("hexadecimal digits are a value");
    headers.insert(TRACEPARENT, parent);
    // Remove first: a forwarded `tracestate` must not survive next to another `traceparent`.
    headers.remove(TRACESTATE);
    let state = span.trace_state().header();
    if let Ok(state) = HeaderValue::try_from(state)
        && !state.is_empty()
    {
        headers.insert(TRACESTATE, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(values: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = values.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::try_from(*value).unwrap()))
            .collect()
    }

    #[test]
    fn a_parent_that_is_read_is_written_unchanged() {
        let state = "vendor=a,other=b";
        let given = headers(&[(TRACEPARENT, GOOD), (TRACESTATE, state)]);
        let mut written = headers(&[(TRACESTATE, "from=elsewhere")]);
        write(&mut written, &read(&given).unwrap());
        assert_eq!(written, given);
    }

    #[test]
    fn a_malformed_header_is_no_parent() {
        for wrong in [
            "",
            "00",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &format!("{GOOD}-00"),
            &GOOD.replace("0af7", "+af7"),
            &GOOD.replacen("00", "ff", 1),
            &format!("{}x", GOOD.replacen("00", "01", 1)),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(read(&headers(&[(TRACEPARENT, wrong)])), None, "{wrong}");
        }
        let twice = {
            let mut twice = headers(&[(TRACEPARENT, GOOD)]);
            twice.append(TRACEPARENT, HeaderValue::from_static(GOOD));
            twice
        };
        assert_eq!(read(&twice), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        let parent = read(&headers(&[(TRACEPARENT, &later)])).unwrap();
        assert!(parent.is_sampled() && parent.is_remote());
    }

    #[test]
    fn a_state_that_cannot_be_carried_is_dropped_and_the_trace_goes_on() {
        let long = format!("vendor={}", "x".repeat(600));
        for state in ["no pair", &long] {
            let given = headers(&[(TRACEPARENT, GOOD), (TRACESTATE, state)]);
            assert_eq!(read(&given).unwrap().trace_state(), &TraceState::default());
        }
    }
}

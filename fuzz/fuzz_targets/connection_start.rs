//! The first bytes of a connection from a load balancer, and the headers in which it names the
//! client and the trace. Once decided, the verdict does not change with more bytes; only a trusted
//! peer can name an address; and only the well-formed parts of a trace are forwarded.

#![no_main]

use std::net::IpAddr;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing::{ConnectionStart, connection_start, forwarded, trace_parent};
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::head;

/// The number of bytes that are examined.
const MOST: usize = 1024;

fn start(bytes: &[u8]) {
    let mut decided = None;
    for end in 0..=bytes.len().min(MOST) {
        let verdict = connection_start(&bytes[..end]);
        match decided {
            None if verdict == ConnectionStart::Incomplete => {}
            None => decided = Some(verdict),
            Some(before) => assert_eq!(verdict, before, "more bytes do not change it"),
        }
        if let ConnectionStart::Header(length, _) = verdict {
            assert!((8..=end).contains(&length), "it is all there");
        }
    }
}

fn trace(headers: &HeaderMap) {
    let Some(written) = trace_parent(headers) else {
        return;
    };
    let given = headers["traceparent"].to_str().expect("it was read");
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    let parent = written["traceparent"].to_str().expect("ASCII");
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    assert!(parent.len() == 55 && parent.starts_with("00-") && parent.bytes().all(is_hex));
    assert_eq!(parent[3..53], given[3..53], "trace and span stay");
    let state = written.get("tracestate").map_or(0, |state| state.len());
    assert!(state <= 512);
    let names = written.keys().map(|name| name.as_str());
    assert!(
        names
            .into_iter()
            .all(|name| ["traceparent", "tracestate"].contains(&name))
    );
    assert_eq!(trace_parent(&written), Some(written));
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    match choices.byte() % 4 {
        0 => {
            let Some(headers) = head::headers(choices.rest()) else {
                return;
            };
            let stranger: IpAddr = [192, 0, 2, 1].into();
            assert_eq!(forwarded(stranger, &headers), (stranger, None));
            let balancer: IpAddr = [10, 0, 0, 1].into();
            let (address, _) = forwarded(balancer, &headers);
            if !headers.contains_key("x-forwarded-for") {
                assert_eq!(address, balancer);
            }
            assert_eq!(address, address.to_canonical());
            trace(&headers);
        }
        // The signature of a PROXY v2 header, which random bytes would hardly ever hit.
        1 => start(&[b"\r\n\r\n\0\r\nQUIT\n", choices.rest()].concat()),
        _ => start(choices.rest()),
    }
});

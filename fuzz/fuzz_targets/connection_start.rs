//! The first bytes of a connection behind a load balancer, and the headers by which one names the
//! client: what has come decides once, and more bytes never change it; nobody who is not trusted
//! names an address.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use s3proxy::fuzzing::{ConnectionStart, connection_start, forwarded};
use s3proxy_fuzz::choices::Choices;
use s3proxy_fuzz::head;

/// As many bytes as are looked at.
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
        }
        1 => start(&[b"\r\n\r\n\0\r\nQUIT\n", choices.rest()].concat()),
        _ => start(choices.rest()),
    }
});

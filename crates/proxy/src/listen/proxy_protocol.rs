//! The PROXY protocol, versions 1 and 2: the client's address from a load balancer that forwards
//! TCP (the protocol's specification, sections 2.1 and 2.2).
//!
//! The header is read from trusted peers only, and there it is optional: the first bytes decide.
//! The address is used in logs and for fairness between networks; no permission depends on it.
//! Absent: TLVs, and UNIX addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const V1_START: &[u8] = b"PROXY ";
const V1_MAX_BYTES: usize = 107;
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;
/// Longest header that is accepted, in bytes: addresses and a few TLVs.
const MAX_BYTES: usize = 1024;

/// Result of parsing the beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// More bytes are needed for a decision.
    Incomplete,
    /// The connection has no header.
    Absent,
    /// A header of this many bytes; the address is missing if the balancer speaks for itself.
    Header(usize, Option<IpAddr>),
    /// The bytes begin like a header, but are malformed.
    Malformed,
}

/// Reads the header, if there is one, and no byte after it. Returns the client's address.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut peeked = [0; MAX_BYTES];
    let mut seen = 0;
    loop {
        let length = stream.peek(&mut peeked).await?;
        match parse(&peeked[..length]) {
            ProxyHeader::Absent => return Ok(None),
            ProxyHeader::Header(bytes, address) => {
                stream.read_exact(&mut peeked[..bytes]).await?;
                return Ok(address);
            }
            ProxyHeader::Incomplete if length > seen && length < MAX_BYTES => seen = length,
            // No new bytes: peeking returns at once while any are there, so wait instead of
            // spinning.
            ProxyHeader::Incomplete if length == seen && length > 0 && length < MAX_BYTES => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            ProxyHeader::Incomplete | ProxyHeader::Malformed => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "malformed PROXY protocol header",
                ));
            }
        }
    }
}

pub(crate) fn parse(bytes: &[u8]) -> ProxyHeader {
    if bytes.starts_with(V1_START) {
        parse_v1(bytes)
    } else if bytes.starts_with(V2_START) {
        parse_v2(bytes)
    } else if V1_START.starts_with(bytes) || V2_START.starts_with(bytes) {
        ProxyHeader::Incomplete
    } else {
        ProxyHeader::Absent
    }
}

/// Parses `PROXY TCP4 source destination port port\r\n`, or `PROXY UNKNOWN …\r\n`.
fn parse_v1(bytes: &[u8]) -> ProxyHeader {
    let window = &bytes[..bytes.len().min(V1_MAX_BYTES)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX_BYTES {
            ProxyHeader::Incomplete
        } else {
            ProxyHeader::Malformed
        };
    };
    let Ok(line) = std::str::from_utf8(&bytes[V1_START.len()..end]) else {
        return ProxyHeader::Malformed;
    };
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let source = words.next().and_then(|text| text.parse::<IpAddr>().ok());
    match (family, source) {
        ("UNKNOWN", _) => ProxyHeader::Header(end + 2, None),
        ("TCP4" | "TCP6", Some(address)) => ProxyHeader::Header(end + 2, Some(address)),
        _ => ProxyHeader::Malformed,
    }
}

/// Parses signature (12), version and command, family, length (2), addresses.
fn parse_v2(bytes: &[u8]) -> ProxyHeader {
    let Some(head) = bytes.get(..V2_HEAD_BYTES) else {
        return ProxyHeader::Incomplete;
    };
    let length = V2_HEAD_BYTES + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MAX_BYTES || head[12] >> 4 != 2 {
        return ProxyHeader::Malformed;
    }
    let Some(addresses) = bytes.get(V2_HEAD_BYTES..length) else {
        return ProxyHeader::Incomplete;
    };
    // Command 0 is LOCAL: the balancer's own health check, without a client's address.
    let source = match (head[12] & 0x0f, head[13] >> 4) {
        (0, _) | (1, 0 | 3) => None,
        (1, 1) => first_chunk(addresses, 12).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
        (1, 2) => first_chunk(addresses, 36).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
        _ => return ProxyHeader::Malformed,
    };
    // The family promises more address bytes than there are.
    if source.is_none() && matches!((head[12] & 0x0f, head[13] >> 4), (1, 1 | 2)) {
        return ProxyHeader::Malformed;
    }
    ProxyHeader::Header(length, source)
}

/// Returns the source address at the start of an address block of at least `block` bytes.
fn first_chunk<const N: usize>(addresses: &[u8], block: usize) -> Option<[u8; N]> {
    addresses.get(..block)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = V2_START.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        header.extend(addresses);
        header
    }

    #[test]
    fn both_versions_give_the_clients_address() {
        let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET /";
        let address = "192.0.2.1".parse().ok();
        assert_eq!(parse(v1), ProxyHeader::Header(45, address));

        // Source, destination, and two ports.
        let mut block = vec![192, 0, 2, 1, 198, 51, 100, 1];
        block.extend([0xdc, 0x04, 0x01, 0xbb]);
        let header = v2(1, 0x11, &block);
        assert_eq!(parse(&header), ProxyHeader::Header(28, address));

        let mut block = vec![0; 36];
        block[15] = 1;
        let header = v2(1, 0x21, &block);
        assert_eq!(parse(&header), ProxyHeader::Header(52, "::1".parse().ok()));
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), ProxyHeader::Header(15, None));
        assert_eq!(parse(&v2(0, 0, &[])), ProxyHeader::Header(16, None));
    }

    #[test]
    fn a_connection_without_header_is_left_alone() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), ProxyHeader::Absent);
        assert_eq!(parse(b"PUT /"), ProxyHeader::Absent);
        assert_eq!(parse(&[22, 3, 1]), ProxyHeader::Absent);
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more() {
        let v1 = b"PROXY TCP6 ::1 ::1 1 2\r\n".to_vec();
        for header in [v1, v2(1, 0x11, &[0; 12])] {
            for length in 0..header.len() {
                assert_eq!(
                    parse(&header[..length]),
                    ProxyHeader::Incomplete,
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_header_is_refused() {
        let long = [V1_START, &[b'x'; 120]].concat();
        for bytes in [
            b"PROXY TCP4 nonsense 1 2 3\r\n".to_vec(),
            b"PROXY SCTP 192.0.2.1 1 2 3\r\n".to_vec(),
            long,
            v2(1, 0x11, &[0; 11]),
            v2(7, 0x11, &[0; 12]),
            v2(1, 0x41, &[0; 12]),
        ] {
            assert_eq!(parse(&bytes), ProxyHeader::Malformed, "{bytes:?}");
        }
    }
}

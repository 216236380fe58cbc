//! AWS's published examples (S3 API Reference, "Signature Calculations for the Authorization
//! Header", "Authenticating Requests: Using Query Parameters").

use http::Method;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::super::{Mode, PayloadMode};
use super::Request;

pub(crate) const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const NOW: OffsetDateTime = datetime!(2013-05-24 00:00:00 UTC);
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn signed(
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    signed_headers: &str,
    signature: &str,
) -> Request {
    let mut request = Request::new(method, target, headers);
    request.append("x-amz-date", "20130524T000000Z");
    request.append(
        "authorization",
        &format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders={signed_headers}, Signature={signature}"
        ),
    );
    request
}

pub(crate) fn get_object() -> Request {
    signed(
        Method::GET,
        "/test.txt",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
        ],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    )
}

pub(crate) fn put_object() -> Request {
    signed(
        Method::PUT,
        "/test$file.text",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            (
                "x-amz-content-sha256",
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    )
}

pub(crate) fn get_lifecycle() -> Request {
    signed(
        Method::GET,
        "/?lifecycle",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", EMPTY),
        ],
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    )
}

pub(crate) fn list_objects() -> Request {
    signed(
        Method::GET,
        "/?max-keys=2&prefix=J",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", EMPTY),
        ],
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    )
}

pub(crate) fn presigned() -> Request {
    Request::new(
        Method::GET,
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        &[("host", "examplebucket.s3.amazonaws.com")],
    )
}

pub(crate) fn chunked() -> Request {
    signed(
        Method::PUT,
        "/examplebucket/chunkObject.txt",
        &[
            ("host", "s3.amazonaws.com"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
        ],
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
         x-amz-decoded-content-length;x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
}

pub(crate) fn chunked_with_trailer() -> Request {
    signed(
        Method::PUT,
        "/examplebucket/chunkObject.txt",
        &[
            ("host", "s3.amazonaws.com"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            (
                "x-amz-content-sha256",
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            ),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
        ],
        "content-encoding;host;x-amz-content-sha256;x-amz-date;\
         x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
}

pub(crate) fn all() -> Vec<(&'static str, Request)> {
    vec![
        ("GET object", get_object()),
        ("PUT object", put_object()),
        ("GET lifecycle", get_lifecycle()),
        ("list objects", list_objects()),
        ("presigned", presigned()),
        ("chunked", chunked()),
        ("chunked with trailer", chunked_with_trailer()),
    ]
}

#[test]
fn every_published_example_verifies() {
    for (name, request) in all() {
        assert_eq!(request.verify(NOW).err(), None, "{name}");
    }
}

#[test]
fn an_example_says_who_signed_it_and_how() {
    let header = chunked().parse().unwrap();
    assert_eq!(header.access_key_id(), ACCESS_KEY_ID);
    assert_eq!(header.scope().date(), "20130524");
    assert_eq!(header.scope().region(), "us-east-1");
    assert_eq!(header.mode(), Mode::Header);
    assert_eq!(header.payload(), &PayloadMode::SignedChunks);
    let presigned = presigned().parse().unwrap();
    assert_eq!(presigned.access_key_id(), ACCESS_KEY_ID);
    assert_eq!(presigned.mode(), Mode::Presigned);
    assert_eq!(presigned.payload(), &PayloadMode::Unsigned);
}

#[test]
fn header_times_may_be_fifteen_minutes_off_either_way() {
    let minutes = Duration::minutes(15);
    for (name, request) in all() {
        if request.headers.contains_key("authorization") {
            assert_eq!(request.verify(NOW + minutes).err(), None, "{name}");
            assert_eq!(request.verify(NOW - minutes).err(), None, "{name}");
        }
    }
}

#[test]
fn a_presigned_request_lives_until_it_expires() {
    let request = presigned();
    // The example is valid for a day; a client's clock may be 15 minutes ahead.
    assert_eq!(request.verify(NOW + Duration::DAY).err(), None);
    assert_eq!(request.verify(NOW - Duration::minutes(15)).err(), None);
}

#[test]
fn other_white_space_and_order_in_the_authorization_header_are_read() {
    let mut request = get_object();
    request.set(
        "authorization",
        "AWS4-HMAC-SHA256  SignedHeaders=range;host;x-amz-content-sha256;x-amz-date,\
         Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41 , \
         Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
    );
    assert_eq!(request.verify(NOW).err(), None);
}

#[test]
fn cloudfronts_header_and_unsigned_ones_of_others_may_be_added() {
    let mut request = get_object();
    request.append("x-amz-cf-id", "added on the way");
    request.append("x-amzn-trace-id", "added on the way");
    request.append("user-agent", "curl");
    assert_eq!(request.verify(NOW).err(), None);
}

#[test]
fn debug_output_shows_no_signature_and_no_token() {
    let mut request = get_object();
    request.append("x-amz-security-token", "the-token");
    let shown = format!("{:?}", request.parse().unwrap());
    assert!(shown.contains(ACCESS_KEY_ID));
    assert!(
        !shown.contains("the-token") && !shown.contains("f0e8bdb8"),
        "{shown}"
    );
}

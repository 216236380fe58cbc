//! The lies of a backend, and the random generator that selects them.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Response, StatusCode};

use crate::harness::{RecordedRequest, Reply};

/// Number of responses kept for [`Lie::Replay`].
const REMEMBERED: usize = 64;

/// Content that the backend tries to pass to a client.
const FORGED: &str = "<?xml version=\"1.0\"?><Error><Code>None</Code>\
                      <Message>account,balance\nmallory,1000000</Message></Error>";

/// One kind of lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// The true response with another status.
    Status,
    /// A success or a redirect with a forged document.
    ForgedSuccess,
    /// An object that was never sealed.
    Plaintext,
    /// The true response without one of its headers.
    MissingHeader,
    /// A header with another value.
    WrongHeader,
    /// Lengths and ranges at the limits of a number.
    ExtremeLength,
    /// The true response with altered bytes in its body.
    FlippedBytes,
    /// A body that is too short, with a matching length.
    CutBody,
    /// The body and the connection end early.
    ClosedEarly,
    /// The body stops, and the connection stays open.
    Stalled,
    /// No response at all.
    Silence,
    /// The connection is closed.
    Close,
    /// Bytes that are not HTTP.
    Noise,
    /// Headers beyond any limit.
    HugeHead,
    /// A body without an end.
    EndlessBody,
    /// A truncated list with a new marker each time.
    EndlessList,
    /// A document with many elements.
    ManyElements,
    /// The true response to another request.
    Replay,
    /// A time at the end of the calendar.
    Date,
    /// A redirect to another address.
    Redirect,
}

impl Lie {
    pub(super) const ALL: &[Self] = &[
        Self::Status,
        Self::ForgedSuccess,
        Self::Plaintext,
        Self::MissingHeader,
        Self::WrongHeader,
        Self::ExtremeLength,
        Self::FlippedBytes,
        Self::CutBody,
        Self::ClosedEarly,
        Self::Stalled,
        Self::Silence,
        Self::Close,
        Self::Noise,
        Self::HugeHead,
        Self::EndlessBody,
        Self::EndlessList,
        Self::ManyElements,
        Self::Replay,
        Self::Date,
        Self::Redirect,
    ];

    /// The lying response to a request; `truth` is the true one.
    pub(super) fn told(
        self,
        request: &RecordedRequest,
        truth: Response<Vec<u8>>,
        random: &mut Random,
    ) -> Reply {
        let number = random.next();
        match self {
            Self::Status => altered(truth, move |answer| {
                *answer.status_mut() = pick(STATUSES, number)
                    .try_into()
                    .unwrap_or(StatusCode::IM_A_TEAPOT);
            }),
            Self::ForgedSuccess => {
                let status = pick(&[200, 201, 202, 203, 205, 206, 226, 300, 304], number);
                Reply::answer(status, &[("etag", "\"e\"")], FORGED)
            }
            Self::Plaintext => plaintext(number),
            Self::MissingHeader => altered(truth, move |answer| {
                let names: Vec<_> = answer.headers().keys().cloned().collect();
                if !names.is_empty() {
                    answer
                        .headers_mut()
                        .remove(&names[index(number, names.len())]);
                }
            }),
            Self::WrongHeader => altered(truth, move |answer| {
                let names: Vec<_> = answer.headers().keys().cloned().collect();
                // Framing is left alone here: other lies break it.
                let lengths = ["content-length", "transfer-encoding"];
                if let Some(name) = names.get(index(number, names.len().max(1)))
                    && !lengths.contains(&name.as_str())
                {
                    let value = HeaderValue::from_static(pick(VALUES, number >> 8));
                    answer.headers_mut().insert(name, value);
                }
            }),
            Self::ExtremeLength => extreme_length(truth, number),
            Self::FlippedBytes => altered(truth, move |answer| {
                let length = answer.body().len();
                if length > 0 {
                    answer.body_mut()[index(number, length)] ^= 0x40;
                }
            }),
            Self::CutBody => altered(truth, move |answer| {
                let length = answer.body().len();
                answer.body_mut().truncate(index(number, length.max(1)));
                // The backend then announces the truncated length.
                answer.headers_mut().remove("content-length");
            }),
            Self::ClosedEarly => Reply::Raw(
                b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 100000\r\n\r\nbegun".to_vec(),
            ),
            Self::Stalled => Reply::Hang(
                b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 100000\r\n\r\nbegun".to_vec(),
            ),
            Self::Silence => Reply::Hang(Vec::new()),
            Self::Close => Reply::Close,
            Self::Noise => Reply::Raw(number.to_be_bytes().repeat(100)),
            Self::HugeHead => {
                let mut head = b"HTTP/1.1 200 OK\r\nx-amz-meta-a: ".to_vec();
                head.resize(4 << 20, b'a');
                Reply::Raw(head)
            }
            Self::EndlessBody => {
                let head = pick(ENDLESS, number).as_bytes().to_vec();
                Reply::Endless(
                    head,
                    b"4000\r\n"
                        .iter()
                        .copied()
                        .chain([b'a'; 0x4000])
                        .chain(*b"\r\n")
                        .collect(),
                )
            }
            Self::EndlessList => endless_list(request, number),
            Self::ManyElements => {
                let document = format!(
                    "<ListBucketResult>{}</ListBucketResult>",
                    "<a/>".repeat(1 << 20)
                );
                Reply::answer(200, &[("content-type", "application/xml")], document)
            }
            Self::Replay => replay(random),
            Self::Date => {
                let date = ("date", "Fri, 31 Dec 9999 23:59:59 GMT");
                Reply::answer(
                    403,
                    &[date],
                    "<Error><Code>RequestTimeTooSkewed</Code></Error>",
                )
            }
            Self::Redirect => {
                let status = pick(&[301, 302, 303, 307, 308], number);
                Reply::answer(status, &[("location", "http://127.0.0.1:1/")], FORGED)
            }
        }
    }
}

const STATUSES: &[u16] = &[
    200, 201, 203, 204, 206, 226, 299, 300, 304, 400, 403, 404, 405, 409, 412, 416, 429, 500, 501,
    503, 600, 999,
];

const VALUES: &[&str] = &[
    "",
    "0",
    "-1",
    "18446744073709551615",
    "\"other\"",
    "null",
    "s3p1.AAAA",
    "bytes 5-1/2",
];

/// With a length beyond any memory, in chunks, and until the connection closes.
const ENDLESS: &[&str] = &[
    "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 4611686018427387904\r\n\r\n",
    "HTTP/1.1 200 OK\r\netag: \"e\"\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\netag: \"e\"\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n",
];

fn plaintext(number: u64) -> Reply {
    let range = ("content-range", "bytes 0-8/9");
    let etag = ("etag", "\"e\"");
    let content = "mallory's";
    if number.is_multiple_of(2) {
        Reply::answer(200, &[etag], content)
    } else {
        Reply::answer(206, &[etag, range], content)
    }
}

fn extreme_length(truth: Response<Vec<u8>>, number: u64) -> Reply {
    altered(truth, move |answer| {
        let value = pick(
            &[
                "bytes 0-18446744073709551614/18446744073709551615",
                "bytes 0-9223372036854775806/9223372036854775807",
                "bytes 18446744073709551613-18446744073709551614/*",
                "bytes 0-0/1",
                "bytes */0",
                "bytes 7-2/9",
            ],
            number,
        );
        answer
            .headers_mut()
            .insert("content-range", HeaderValue::from_static(value));
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    })
}

fn endless_list(request: &RecordedRequest, number: u64) -> Reply {
    let root = match () {
        () if request.has_parameter("versions") => "ListVersionsResult",
        () if request.has_parameter("uploads") => "ListMultipartUploadsResult",
        () if request.has_parameter("uploadId") => "ListPartsResult",
        () => "ListBucketResult",
    };
    let document = format!(
        "<{root}><IsTruncated>true</IsTruncated><NextContinuationToken>{number}</NextContinuationToken>\
         <NextMarker>{number}</NextMarker><NextKeyMarker>{number}</NextKeyMarker>\
         <NextUploadIdMarker>{number}</NextUploadIdMarker>\
         <NextPartNumberMarker>{}</NextPartNumberMarker></{root}>",
        number % 10_000 + 1
    );
    Reply::answer(200, &[("content-type", "application/xml")], document)
}

/// The true response, which is kept so that it can be replayed elsewhere.
pub(super) fn honest(truth: Response<Vec<u8>>, random: &Random) -> Reply {
    let mut remembered = random.remembered.lock().unwrap();
    if remembered.len() < REMEMBERED {
        remembered.push(clone(&truth));
    }
    Reply::Answer(truth)
}

fn altered(mut truth: Response<Vec<u8>>, alter: impl FnOnce(&mut Response<Vec<u8>>)) -> Reply {
    alter(&mut truth);
    Reply::Answer(truth)
}

fn replay(random: &mut Random) -> Reply {
    let number = random.next();
    let remembered = random.remembered.lock().unwrap();
    if remembered.is_empty() {
        return Reply::error(404, "NoSuchKey");
    }
    Reply::Answer(clone(&remembered[index(number, remembered.len())]))
}

fn clone(answer: &Response<Vec<u8>>) -> Response<Vec<u8>> {
    let mut copy = Response::new(answer.body().clone());
    *copy.status_mut() = answer.status();
    *copy.headers_mut() = answer.headers().clone();
    copy
}

fn pick<T: Copy>(all: &[T], number: u64) -> T {
    all[index(number, all.len())]
}

fn index(number: u64, length: usize) -> usize {
    usize::try_from(number % length as u64).unwrap()
}

/// A seeded generator (`SplitMix64`), so that a failure can be reproduced.
pub(super) struct Random {
    state: u64,
    remembered: Arc<Mutex<Vec<Response<Vec<u8>>>>>,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            remembered: Arc::default(),
        }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn lie(&mut self) -> Lie {
        pick(Lie::ALL, self.next())
    }
}

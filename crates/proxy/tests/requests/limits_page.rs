//! The table of limits beside the code that sets them.

const PAGE: &str = include_str!("../../../../docs/limits.md");

macro_rules! source {
    ($path:literal) => {
        include_str!(concat!("../../../", $path))
    };
}

/// Declarations, and the row that says the same.
const ROWS: &[(&str, &str, &str)] = &[
    (
        source!("protocol/src/request_head.rs"),
        "const MAXIMUM_HEADERS: usize = 512;",
        "| headers | 512,",
    ),
    (
        source!("proxy/src/listen/connection.rs"),
        "const HEADERS: usize = MAXIMUM_HEADERS + 64;",
        "| headers, before they are looked at | 576 |",
    ),
    (
        source!("proxy/src/listen/mod.rs"),
        "const BACKLOG: u32 = 1024;",
        "1024 that wait in the kernel",
    ),
    (
        source!("protocol/src/query.rs"),
        "const MAXIMUM_PARAMETERS: usize = 64;",
        "| query parameters | 64 |",
    ),
    (
        source!("protocol/src/name.rs"),
        "const MAXIMUM_LENGTH: usize = 1024;",
        "| key | 1024 bytes |",
    ),
    (
        source!("proxy/src/objects/new_object.rs"),
        "const READABLE_METADATA_BYTES: usize = 48 * 1024;",
        "| user metadata | 48 KiB",
    ),
    (
        source!("proxy/src/operations/delete_objects.rs"),
        "const MAX_BATCH_BYTES: u64 = 8 * 1024 * 1024;",
        "| document of DeleteObjects | 8 MiB",
    ),
    (
        source!("proxy/src/operations/delete_objects.rs"),
        "const MAX_REQUEST_BYTES: usize = 1_000_000;",
        "requests of up to 1,000,000 bytes",
    ),
    (
        source!("proxy/src/operations/complete_multipart_upload.rs"),
        "const MAX_REQUEST_BYTES: u64 = 8 * 1024 * 1024;",
        "| document of CompleteMultipartUpload | 8 MiB and 10,000 parts |",
    ),
    (
        source!("proxy/src/operations/forward.rs"),
        "const MAX_DOCUMENT_BYTES: u64 = 2 * 1024 * 1024;",
        "| other documents | 2 MiB",
    ),
    (
        source!("protocol/src/xml/document.rs"),
        "const MAXIMUM_DEPTH: usize = 16;",
        "16 elements deep",
    ),
    (
        source!("protocol/src/xml/document.rs"),
        "const MAXIMUM_ELEMENTS: usize = 20_000;",
        "20,000 elements",
    ),
    (
        source!("protocol/src/xml/document.rs"),
        "const MAXIMUM_PAGE_ELEMENTS: usize = 100_000;",
        "100,000 elements",
    ),
    (
        source!("protocol/src/post/form.rs"),
        "const MAX_HEAD_BYTES: usize = 20 * 1024;",
        "| form before its file | 20 KiB",
    ),
    (
        source!("protocol/src/post/form.rs"),
        "const MAX_FIELDS: usize = 256;",
        "and 256 fields",
    ),
    (
        source!("proxy/src/backend/attempt.rs"),
        "const MAXIMUM_RESPONSE_HEADERS: usize = MAXIMUM_HEADERS + 256;",
        "| headers | 768:",
    ),
    (
        source!("proxy/src/backend/attempt.rs"),
        "const CONNECTION_BUFFER: usize = 64 * 1024;",
        "| head | 64 KiB |",
    ),
    (
        source!("proxy/src/operations/listing_page.rs"),
        "const MAX_BYTES: usize = 16 * 1024 * 1024;",
        "| page of a listing | 16 MiB",
    ),
    (
        source!("proxy/src/net/service_client.rs"),
        "const HEADERS: usize = 256;",
        "headers; head | 256; 64 KiB |",
    ),
    (
        source!("proxy/src/keys/constellation.rs"),
        "const MAX_RESPONSE_BYTES: usize = 4096;",
        "| 4096 bytes; 16 KiB |",
    ),
    (
        source!("config/src/files.rs"),
        "const MOST_BYTES: u64 = 16 * 1024 * 1024;",
        "| configuration and secret files | 16 MiB |",
    ),
    (
        source!("envelope/src/cbor.rs"),
        "const MAX_DEPTH: usize = 8;",
        "| 64 KiB; 8 |",
    ),
];

#[test]
fn the_table_of_limits_says_what_the_code_does() {
    for (source, declaration, row) in ROWS {
        assert!(
            source.contains(declaration),
            "not in the code: {declaration}"
        );
        assert!(PAGE.contains(row), "not in docs/limits.md: {row}");
    }
}

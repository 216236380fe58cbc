//! Parameters and headers that S3 ignores, and listings with metadata.

use http::HeaderValue;

use crate::harness::{ClientRequest, Proxy, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn ignored_parameters_are_signed_and_go_no_further() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "plaintext").await;
    proxy.backend.take_requests();
    for request in [
        ClientRequest::get("/bucket/key?x-user=johndoe"),
        ClientRequest::get("/bucket/key?v=123&_=1&download=1&nocache"),
        ClientRequest::head("/bucket/key?v=123"),
        ClientRequest::put("/bucket/other?x-user=johndoe", "x"),
        ClientRequest::get("/bucket?list-type=2&x-user=johndoe&allow-unordered=true&_=1"),
        ClientRequest::head("/bucket?read-stats=true"),
        ClientRequest::delete("/bucket/other?X-User=johndoe"),
    ] {
        let target = request.target.clone();
        let signed = proxy.send(request.clone()).await;
        let presigned = proxy.send_presigned(request.clone()).await;
        for answer in [signed, presigned] {
            assert!(answer.is_success(), "{target}: {answer:?}");
        }
        // They are part of what was signed.
        let mut altered = request.signed(proxy.owner(), &proxy.host());
        altered.target = format!("{target}&x-added=1");
        let answer = proxy.send_unsigned(altered).await;
        assert_eq!(answer.status(), 403, "{target}");
    }
    for sent in proxy.backend.take_requests() {
        for name in [
            "x-user",
            "X-User",
            "v",
            "_",
            "download",
            "nocache",
            "read-stats",
        ] {
            assert!(!sent.has_parameter(name), "{}", sent.target);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_would_choose_an_encryption_is_refused_as_by_aws() {
    let proxy = Proxy::start().await;
    proxy.create_bucket("bucket").await;
    proxy.put("/bucket/key", "plaintext").await;
    let read = ClientRequest::get("/bucket/key").header("x-amz-server-side-encryption", "AES256");
    let refused = proxy.send(read).await.expect_error(400, "InvalidArgument");
    assert_eq!(
        refused.element("Message"),
        "x-amz-server-side-encryption header is not supported for this operation."
    );
    let unknown = ClientRequest::get("/bucket/key").header("x-amz-foo", "bar");
    proxy.send(unknown).await.expect(200);
}

/// A server, by its name, that lists one object and, where it is asked to, its metadata.
fn listing(server: &'static str) -> impl Fn(&crate::harness::RecordedRequest) -> Reply {
    move |request| {
        if !request.path().trim_end_matches('/').eq("/bucket")
            || request.method != http::Method::GET
        {
            return Reply::altered(move |answer| {
                let server = HeaderValue::from_static(server);
                answer.headers_mut().insert("server", server);
            });
        }
        let metadata = if request.has_parameter("metadata") {
            "<UserMetadata><X-Amz-Meta-Isec>s3p1.secret</X-Amz-Meta-Isec>\
             <X-Amz-Meta-Constellation-Dek>secret</X-Amz-Meta-Constellation-Dek>\
             <X-Amz-Meta-Colour>red</X-Amz-Meta-Colour><content-type>text/plain</content-type>\
             </UserMetadata><UserTags>a=b</UserTags><Internal><K>2</K></Internal>"
        } else {
            ""
        };
        let entry = |element: &str| {
            format!(
                "<{element}><Key>key</Key><ETag>\"e\"</ETag><Size>9</Size>{metadata}</{element}>"
            )
        };
        let (root, entry) = if request.has_parameter("versions") {
            ("ListVersionsResult", entry("Version"))
        } else {
            ("ListBucketResult", entry("Contents"))
        };
        let document = format!("<{root}><IsTruncated>false</IsTruncated>{entry}</{root}>");
        let headers = [("server", server), ("content-type", "application/xml")];
        Reply::answer(200, &headers, document)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_listed_where_the_backend_lists_it_and_the_envelope_never() {
    for (server, is_listed) in [("MinIO", true), ("AmazonS3", false), ("nginx", false)] {
        let proxy = Proxy::start().await;
        proxy.backend.script(listing(server));
        for query in ["list-type=2", "prefix=", "versions"] {
            let target = format!("/bucket?metadata=true&{query}");
            let answer = proxy.send(ClientRequest::get(target)).await.expect(200);
            let expected = if is_listed { "red" } else { "" };
            assert_eq!(
                answer.element("X-Amz-Meta-Colour"),
                expected,
                "{server} {query}"
            );
            let tags = if is_listed { "a=b" } else { "" };
            assert_eq!(answer.element("UserTags"), tags, "{server} {query}");
            let text = answer.text();
            assert!(
                !text.contains("secret") && !text.contains("Internal"),
                "{text}"
            );
            assert!(text.contains("<Key>key</Key>"), "{text}");
        }
        let asked = proxy.backend.take_requests();
        let asked = asked
            .iter()
            .filter(|request| request.has_parameter("metadata"));
        assert_eq!(asked.count(), if is_listed { 3 } else { 0 }, "{server}");
        let plain = ClientRequest::get("/bucket?metadata=false&list-type=2");
        let answer = proxy.send(plain).await.expect(200);
        assert!(!answer.text().contains("UserMetadata"), "{}", answer.text());
    }
}

/// moto encodes no common prefix of ListObjects that holds the delimiter `%`.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_with_a_key_that_is_not_encoded_shows_it_as_it_is() {
    let proxy = Proxy::start().await;
    proxy.backend.script(|request| {
        let (root, entry) = if request.has_parameter("versions") {
            ("ListVersionsResult", "Version")
        } else if request.has_parameter("uploads") {
            ("ListMultipartUploadsResult", "Upload")
        } else {
            ("ListBucketResult", "Contents")
        };
        let document = format!(
            "<{root}><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>\
             <{entry}><Key>50%</Key><UploadId>u</UploadId></{entry}>\
             <CommonPrefixes><Prefix>foo%</Prefix></CommonPrefixes></{root}>"
        );
        Reply::answer(200, &[("content-type", "application/xml")], document)
    });
    for query in ["", "list-type=2", "versions", "uploads"] {
        let target = format!("/bucket?{query}&encoding-type=url&delimiter=%25");
        let answer = proxy.send(ClientRequest::get(target)).await.expect(200);
        assert_eq!(answer.element("Key"), "50%", "{query}");
        assert_eq!(answer.element("Prefix"), "foo%", "{query}");
    }
}

//! One well-formed request for each operation of the S3 API that the proxy knows.
//!
//! The match over [`Operation`] is exhaustive, so that a new operation needs its request here.

use http::Method;
use s3proxy_protocol::operation::Operation;

use crate::harness::ClientRequest;

/// Columns: operation, method, target, one header, body.
macro_rules! catalogue {
    ($($operation:ident $method:ident $target:literal $header:literal $body:literal;)*) => {
        /// The operation's request on `/bucket`, `/bucket/key` and the upload `upload`.
        pub(crate) fn request(operation: Operation) -> ClientRequest {
            let (method, target, header, body) = match operation {
                $(Operation::$operation => (Method::$method, $target, $header, $body),)*
            };
            let request = ClientRequest::new(method, target).body(body);
            match header.split_once(": ") {
                Some((name, value)) => request.header(name, value),
                None => request,
            }
        }
    };
}

catalogue! {
    ListDirectoryBuckets GET "/?max-directory-buckets=1" "" "";
    ListBuckets GET "/" "" "";
    CreateBucket PUT "/bucket" "" "";
    HeadBucket HEAD "/bucket" "" "";
    DeleteBucket DELETE "/bucket" "" "";
    GetBucketLocation GET "/bucket?location" "" "";
    CreateSession GET "/bucket?session" "" "";
    ListObjects GET "/bucket" "" "";
    ListObjectsV2 GET "/bucket?list-type=2" "" "";
    ListObjectVersions GET "/bucket?versions" "" "";
    ListMultipartUploads GET "/bucket?uploads" "" "";
    GetBucketAbac GET "/bucket?abac" "" "";
    PutBucketAbac PUT "/bucket?abac" "" "<AbacStatus><Status>Enabled</Status></AbacStatus>";
    GetBucketAccelerateConfiguration GET "/bucket?accelerate" "" "";
    PutBucketAccelerateConfiguration PUT "/bucket?accelerate" "" "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>";
    GetBucketAcl GET "/bucket?acl" "" "";
    PutBucketAcl PUT "/bucket?acl" "" "<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList/></AccessControlPolicy>";
    GetBucketAnalyticsConfiguration GET "/bucket?analytics&id=x" "" "";
    ListBucketAnalyticsConfigurations GET "/bucket?analytics" "" "";
    PutBucketAnalyticsConfiguration PUT "/bucket?analytics&id=x" "" "<AnalyticsConfiguration><Id>x</Id><StorageClassAnalysis/></AnalyticsConfiguration>";
    DeleteBucketAnalyticsConfiguration DELETE "/bucket?analytics&id=x" "" "";
    GetBucketCors GET "/bucket?cors" "" "";
    PutBucketCors PUT "/bucket?cors" "" "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";
    DeleteBucketCors DELETE "/bucket?cors" "" "";
    GetBucketEncryption GET "/bucket?encryption" "" "";
    PutBucketEncryption PUT "/bucket?encryption" "" "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    DeleteBucketEncryption DELETE "/bucket?encryption" "" "";
    GetBucketIntelligentTieringConfiguration GET "/bucket?intelligent-tiering&id=x" "" "";
    ListBucketIntelligentTieringConfigurations GET "/bucket?intelligent-tiering" "" "";
    PutBucketIntelligentTieringConfiguration PUT "/bucket?intelligent-tiering&id=x" "" "<IntelligentTieringConfiguration><Id>x</Id><Status>Enabled</Status></IntelligentTieringConfiguration>";
    DeleteBucketIntelligentTieringConfiguration DELETE "/bucket?intelligent-tiering&id=x" "" "";
    GetBucketInventoryConfiguration GET "/bucket?inventory&id=x" "" "";
    ListBucketInventoryConfigurations GET "/bucket?inventory" "" "";
    PutBucketInventoryConfiguration PUT "/bucket?inventory&id=x" "" "<InventoryConfiguration><Id>x</Id><IsEnabled>true</IsEnabled></InventoryConfiguration>";
    DeleteBucketInventoryConfiguration DELETE "/bucket?inventory&id=x" "" "";
    GetBucketLifecycleConfiguration GET "/bucket?lifecycle" "" "";
    PutBucketLifecycleConfiguration PUT "/bucket?lifecycle" "" "<LifecycleConfiguration><Rule><Status>Enabled</Status><Prefix/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    DeleteBucketLifecycle DELETE "/bucket?lifecycle" "" "";
    GetBucketLogging GET "/bucket?logging" "" "";
    PutBucketLogging PUT "/bucket?logging" "" "<BucketLoggingStatus/>";
    CreateBucketMetadataConfiguration POST "/bucket?metadataConfiguration" "" "<MetadataConfiguration/>";
    GetBucketMetadataConfiguration GET "/bucket?metadataConfiguration" "" "";
    DeleteBucketMetadataConfiguration DELETE "/bucket?metadataConfiguration" "" "";
    CreateBucketMetadataTableConfiguration POST "/bucket?metadataTable" "" "<MetadataTableConfiguration/>";
    GetBucketMetadataTableConfiguration GET "/bucket?metadataTable" "" "";
    DeleteBucketMetadataTableConfiguration DELETE "/bucket?metadataTable" "" "";
    UpdateBucketMetadataAnnotationTableConfiguration PUT "/bucket?metadataAnnotationTable" "" "<AnnotationTableConfiguration/>";
    UpdateBucketMetadataInventoryTableConfiguration PUT "/bucket?metadataInventoryTable" "" "<InventoryTableConfiguration/>";
    UpdateBucketMetadataJournalTableConfiguration PUT "/bucket?metadataJournalTable" "" "<JournalTableConfiguration/>";
    GetBucketMetricsConfiguration GET "/bucket?metrics&id=x" "" "";
    ListBucketMetricsConfigurations GET "/bucket?metrics" "" "";
    PutBucketMetricsConfiguration PUT "/bucket?metrics&id=x" "" "<MetricsConfiguration><Id>x</Id></MetricsConfiguration>";
    DeleteBucketMetricsConfiguration DELETE "/bucket?metrics&id=x" "" "";
    GetBucketNotificationConfiguration GET "/bucket?notification" "" "";
    PutBucketNotificationConfiguration PUT "/bucket?notification" "" "<NotificationConfiguration/>";
    GetObjectLockConfiguration GET "/bucket?object-lock" "" "";
    PutObjectLockConfiguration PUT "/bucket?object-lock" "" "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    GetBucketOwnershipControls GET "/bucket?ownershipControls" "" "";
    PutBucketOwnershipControls PUT "/bucket?ownershipControls" "" "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    DeleteBucketOwnershipControls DELETE "/bucket?ownershipControls" "" "";
    GetBucketPolicy GET "/bucket?policy" "" "";
    PutBucketPolicy PUT "/bucket?policy" "" "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
    DeleteBucketPolicy DELETE "/bucket?policy" "" "";
    GetBucketPolicyStatus GET "/bucket?policyStatus" "" "";
    GetPublicAccessBlock GET "/bucket?publicAccessBlock" "" "";
    PutPublicAccessBlock PUT "/bucket?publicAccessBlock" "" "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>";
    DeletePublicAccessBlock DELETE "/bucket?publicAccessBlock" "" "";
    GetBucketReplication GET "/bucket?replication" "" "";
    PutBucketReplication PUT "/bucket?replication" "" "<ReplicationConfiguration><Role>r</Role></ReplicationConfiguration>";
    DeleteBucketReplication DELETE "/bucket?replication" "" "";
    GetBucketRequestPayment GET "/bucket?requestPayment" "" "";
    PutBucketRequestPayment PUT "/bucket?requestPayment" "" "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>";
    GetBucketTagging GET "/bucket?tagging" "" "";
    PutBucketTagging PUT "/bucket?tagging" "" "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    DeleteBucketTagging DELETE "/bucket?tagging" "" "";
    GetBucketVersioning GET "/bucket?versioning" "" "";
    PutBucketVersioning PUT "/bucket?versioning" "" "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    GetBucketWebsite GET "/bucket?website" "" "";
    PutBucketWebsite PUT "/bucket?website" "" "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>";
    DeleteBucketWebsite DELETE "/bucket?website" "" "";
    DeleteObjects POST "/bucket?delete" "" "<Delete><Object><Key>key</Key></Object></Delete>";
    WriteGetObjectResponse POST "/bucket" "x-amz-request-route: 1" "";
    PostObject POST "/bucket" "content-type: multipart/form-data; boundary=b" "";
    GetObject GET "/bucket/key" "" "";
    HeadObject HEAD "/bucket/key" "" "";
    CopyObject PUT "/bucket/key" "x-amz-copy-source: /bucket/source" "";
    PutObject PUT "/bucket/key" "" "plaintext";
    DeleteObject DELETE "/bucket/key" "" "";
    GetObjectAttributes GET "/bucket/key?attributes" "x-amz-object-attributes: ETag" "";
    GetObjectAcl GET "/bucket/key?acl" "" "";
    PutObjectAcl PUT "/bucket/key?acl" "" "<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList/></AccessControlPolicy>";
    GetObjectTagging GET "/bucket/key?tagging" "" "";
    PutObjectTagging PUT "/bucket/key?tagging" "" "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    DeleteObjectTagging DELETE "/bucket/key?tagging" "" "";
    GetObjectLegalHold GET "/bucket/key?legal-hold" "" "";
    PutObjectLegalHold PUT "/bucket/key?legal-hold" "" "<LegalHold><Status>ON</Status></LegalHold>";
    GetObjectRetention GET "/bucket/key?retention" "" "";
    PutObjectRetention PUT "/bucket/key?retention" "" "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>";
    UpdateObjectEncryption PUT "/bucket/key?encryption" "" "<ObjectEncryption/>";
    RestoreObject POST "/bucket/key?restore" "" "<RestoreRequest><Days>1</Days></RestoreRequest>";
    GetObjectTorrent GET "/bucket/key?torrent" "" "";
    SelectObjectContent POST "/bucket/key?select&select-type=2" "" "<SelectObjectContentRequest/>";
    RenameObject PUT "/bucket/key?renameObject" "" "";
    GetObjectAnnotation GET "/bucket/key?annotation&annotationName=x" "" "";
    ListObjectAnnotations GET "/bucket/key?annotation" "" "";
    PutObjectAnnotation PUT "/bucket/key?annotation" "" "plaintext";
    DeleteObjectAnnotation DELETE "/bucket/key?annotation" "" "";
    CreateMultipartUpload POST "/bucket/key?uploads" "" "";
    UploadPartCopy PUT "/bucket/key?partNumber=1&uploadId=upload" "x-amz-copy-source: /bucket/source" "";
    UploadPart PUT "/bucket/key?partNumber=1&uploadId=upload" "" "plaintext";
    ListParts GET "/bucket/key?uploadId=upload" "" "";
    CompleteMultipartUpload POST "/bucket/key?uploadId=upload" "" "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>";
    AbortMultipartUpload DELETE "/bucket/key?uploadId=upload" "" "";
    OptionsBucket OPTIONS "/bucket" "origin: https://example.com" "";
    OptionsObject OPTIONS "/bucket/key" "origin: https://example.com" "";
}

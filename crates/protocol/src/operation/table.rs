//! Table of all operations, with one row per operation.
//!
//! Columns: name in the S3 API, method, level, sub-resource (empty for none), additional selector,
//! kind, access, and the parameters allowed beside the sub-resource. Of several rows with the same
//! method, level and sub-resource, the first whose selector matches is used.

use http::Method;

use super::{Access, Kind};

/// Kind of resource that a request addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The service: neither a bucket nor a key.
    Service,
    /// A bucket.
    Bucket,
    /// A bucket and a key.
    Object,
}

/// Additional property that selects an operation, besides method, level and sub-resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// No additional property.
    Always,
    /// Presence of a query parameter.
    Parameter(&'static str),
    /// Presence of a header.
    Header(&'static str),
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) operation: Operation,
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) level: Level,
    pub(super) sub_resource: &'static str,
    pub(super) selector: Selector,
    pub(super) kind: Kind,
    pub(super) access: Access,
    pub(super) parameters: &'static [&'static str],
}

impl Row {
    /// Whether a parameter is one of the operation's own.
    pub(super) fn has_parameter(&self, name: &str) -> bool {
        name == self.sub_resource || self.operation.parameters().contains(&name)
    }
}

macro_rules! operations {
    ($($name:ident $method:ident $level:ident $sub:literal $selector:expr, $kind:ident $access:ident $parameters:expr;)*) => {
        /// An operation of the S3 API, under its name there.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names are those of the S3 API Reference")]
        pub enum Operation { $($name,)* }

        impl Operation {
            /// All operations.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        pub(super) const ROWS: &[Row] = &[$(Row {
            operation: Operation::$name,
            name: stringify!($name),
            method: Method::$method,
            level: Level::$level,
            sub_resource: $sub,
            selector: $selector,
            kind: Kind::$kind,
            access: Access::$access,
            parameters: $parameters,
        },)*];
    };
}

impl Operation {
    /// Name of the operation in the S3 API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// How the proxy handles the operation.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// Grant that the operation requires.
    #[must_use]
    pub fn access(self) -> Access {
        self.row().access
    }

    /// HTTP method of the operation's requests.
    #[must_use]
    pub fn method(self) -> &'static Method {
        &self.row().method
    }

    /// Kind of resource that the operation's requests address.
    #[must_use]
    pub fn level(self) -> Level {
        self.row().level
    }

    /// Sub-resource in the query of the operation's requests; empty for none.
    #[must_use]
    pub fn sub_resource(self) -> &'static str {
        self.row().sub_resource
    }

    /// Additional property that selects the operation.
    #[must_use]
    pub fn selector(self) -> Selector {
        self.row().selector
    }

    /// Query parameters of the operation, beside its sub-resource.
    #[must_use]
    pub fn parameters(self) -> &'static [&'static str] {
        self.row().parameters
    }

    pub(super) fn row(self) -> &'static Row {
        // The enum and the rows come from one macro call, in the same order.
        &ROWS[self as usize]
    }
}

/// Whether any operation has a query parameter of that name, as sub-resource or beside one.
#[must_use]
pub fn has_parameter(name: &str) -> bool {
    let has = |row: &Row| row.sub_resource == name || row.parameters.contains(&name);
    !name.is_empty() && ROWS.iter().any(has)
}

const NONE: &[&str] = &[];
const VERSION: &[&str] = &["versionId"];
const TOKEN: &[&str] = &["continuation-token"];
const ID: Selector = Selector::Parameter("id");
const ALWAYS: Selector = Selector::Always;
const COPY: Selector = Selector::Header("x-amz-copy-source");
const ANNOTATION: &[&str] = &["annotationName", "versionId"];
const NAMED: Selector = Selector::Parameter("annotationName");
const READ: &[&str] = &[
    "versionId",
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

operations! {
    // The service.
    ListDirectoryBuckets GET Service "" Selector::Parameter("max-directory-buckets"), Unsupported Admin &["max-directory-buckets", "continuation-token"];
    ListBuckets GET Service "" ALWAYS, ListBuckets List &["max-buckets", "continuation-token", "prefix", "bucket-region"];

    // Buckets.
    CreateBucket PUT Bucket "" ALWAYS, ForwardXml Admin NONE;
    HeadBucket HEAD Bucket "" ALWAYS, Forward List NONE;
    DeleteBucket DELETE Bucket "" ALWAYS, DeleteBucket Admin NONE;
    GetBucketLocation GET Bucket "location" ALWAYS, Forward List NONE;
    CreateSession GET Bucket "session" ALWAYS, Unsupported Admin NONE;

    // Listings.
    ListObjects GET Bucket "" ALWAYS, ListObjects List &["delimiter", "encoding-type", "marker", "max-keys", "metadata", "prefix"];
    ListObjectsV2 GET Bucket "list-type" ALWAYS, ListObjects List &["delimiter", "encoding-type", "max-keys", "metadata", "prefix", "continuation-token", "fetch-owner", "start-after"];
    ListObjectVersions GET Bucket "versions" ALWAYS, ListObjects List &["delimiter", "encoding-type", "key-marker", "max-keys", "metadata", "prefix", "version-id-marker"];
    ListMultipartUploads GET Bucket "uploads" ALWAYS, ListMultipartUploads List &["delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"];

    // Bucket configuration.
    GetBucketAbac GET Bucket "abac" ALWAYS, Forward Admin NONE;
    PutBucketAbac PUT Bucket "abac" ALWAYS, ForwardXml Admin NONE;
    GetBucketAccelerateConfiguration GET Bucket "accelerate" ALWAYS, Forward Admin NONE;
    PutBucketAccelerateConfiguration PUT Bucket "accelerate" ALWAYS, ForwardXml Admin NONE;
    GetBucketAcl GET Bucket "acl" ALWAYS, Forward Admin NONE;
    PutBucketAcl PUT Bucket "acl" ALWAYS, ForwardXml Admin NONE;
    GetBucketAnalyticsConfiguration GET Bucket "analytics" ID, Forward Admin &["id"];
    ListBucketAnalyticsConfigurations GET Bucket "analytics" ALWAYS, Forward Admin TOKEN;
    PutBucketAnalyticsConfiguration PUT Bucket "analytics" ID, ForwardXml Admin &["id"];
    DeleteBucketAnalyticsConfiguration DELETE Bucket "analytics" ID, Forward Admin &["id"];
    GetBucketCors GET Bucket "cors" ALWAYS, Forward Admin NONE;
    PutBucketCors PUT Bucket "cors" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketCors DELETE Bucket "cors" ALWAYS, Forward Admin NONE;
    GetBucketEncryption GET Bucket "encryption" ALWAYS, Forward Admin NONE;
    PutBucketEncryption PUT Bucket "encryption" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketEncryption DELETE Bucket "encryption" ALWAYS, Forward Admin NONE;
    GetBucketIntelligentTieringConfiguration GET Bucket "intelligent-tiering" ID, Forward Admin &["id"];
    ListBucketIntelligentTieringConfigurations GET Bucket "intelligent-tiering" ALWAYS, Forward Admin TOKEN;
    PutBucketIntelligentTieringConfiguration PUT Bucket "intelligent-tiering" ID, ForwardXml Admin &["id"];
    DeleteBucketIntelligentTieringConfiguration DELETE Bucket "intelligent-tiering" ID, Forward Admin &["id"];
    GetBucketInventoryConfiguration GET Bucket "inventory" ID, Forward Admin &["id"];
    ListBucketInventoryConfigurations GET Bucket "inventory" ALWAYS, Forward Admin TOKEN;
    PutBucketInventoryConfiguration PUT Bucket "inventory" ID, ForwardXml Admin &["id"];
    DeleteBucketInventoryConfiguration DELETE Bucket "inventory" ID, Forward Admin &["id"];
    GetBucketLifecycleConfiguration GET Bucket "lifecycle" ALWAYS, Forward Admin NONE;
    PutBucketLifecycleConfiguration PUT Bucket "lifecycle" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketLifecycle DELETE Bucket "lifecycle" ALWAYS, Forward Admin NONE;
    GetBucketLogging GET Bucket "logging" ALWAYS, Forward Admin NONE;
    PutBucketLogging PUT Bucket "logging" ALWAYS, ForwardXml Admin NONE;
    CreateBucketMetadataConfiguration POST Bucket "metadataConfiguration" ALWAYS, ForwardXml Admin NONE;
    GetBucketMetadataConfiguration GET Bucket "metadataConfiguration" ALWAYS, Forward Admin NONE;
    DeleteBucketMetadataConfiguration DELETE Bucket "metadataConfiguration" ALWAYS, Forward Admin NONE;
    CreateBucketMetadataTableConfiguration POST Bucket "metadataTable" ALWAYS, ForwardXml Admin NONE;
    GetBucketMetadataTableConfiguration GET Bucket "metadataTable" ALWAYS, Forward Admin NONE;
    DeleteBucketMetadataTableConfiguration DELETE Bucket "metadataTable" ALWAYS, Forward Admin NONE;
    UpdateBucketMetadataAnnotationTableConfiguration PUT Bucket "metadataAnnotationTable" ALWAYS, ForwardXml Admin NONE;
    UpdateBucketMetadataInventoryTableConfiguration PUT Bucket "metadataInventoryTable" ALWAYS, ForwardXml Admin NONE;
    UpdateBucketMetadataJournalTableConfiguration PUT Bucket "metadataJournalTable" ALWAYS, ForwardXml Admin NONE;
    GetBucketMetricsConfiguration GET Bucket "metrics" ID, Forward Admin &["id"];
    ListBucketMetricsConfigurations GET Bucket "metrics" ALWAYS, Forward Admin TOKEN;
    PutBucketMetricsConfiguration PUT Bucket "metrics" ID, ForwardXml Admin &["id"];
    DeleteBucketMetricsConfiguration DELETE Bucket "metrics" ID, Forward Admin &["id"];
    GetBucketNotificationConfiguration GET Bucket "notification" ALWAYS, Forward Admin NONE;
    PutBucketNotificationConfiguration PUT Bucket "notification" ALWAYS, ForwardXml Admin NONE;
    GetObjectLockConfiguration GET Bucket "object-lock" ALWAYS, Forward Admin NONE;
    PutObjectLockConfiguration PUT Bucket "object-lock" ALWAYS, ForwardXml Admin NONE;
    GetBucketOwnershipControls GET Bucket "ownershipControls" ALWAYS, Forward Admin NONE;
    PutBucketOwnershipControls PUT Bucket "ownershipControls" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketOwnershipControls DELETE Bucket "ownershipControls" ALWAYS, Forward Admin NONE;
    GetBucketPolicy GET Bucket "policy" ALWAYS, Forward Admin NONE;
    PutBucketPolicy PUT Bucket "policy" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketPolicy DELETE Bucket "policy" ALWAYS, Forward Admin NONE;
    GetBucketPolicyStatus GET Bucket "policyStatus" ALWAYS, Forward Admin NONE;
    GetPublicAccessBlock GET Bucket "publicAccessBlock" ALWAYS, Forward Admin NONE;
    PutPublicAccessBlock PUT Bucket "publicAccessBlock" ALWAYS, ForwardXml Admin NONE;
    DeletePublicAccessBlock DELETE Bucket "publicAccessBlock" ALWAYS, Forward Admin NONE;
    GetBucketReplication GET Bucket "replication" ALWAYS, Forward Admin NONE;
    PutBucketReplication PUT Bucket "replication" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketReplication DELETE Bucket "replication" ALWAYS, Forward Admin NONE;
    GetBucketRequestPayment GET Bucket "requestPayment" ALWAYS, Forward Admin NONE;
    PutBucketRequestPayment PUT Bucket "requestPayment" ALWAYS, ForwardXml Admin NONE;
    GetBucketTagging GET Bucket "tagging" ALWAYS, Forward Admin NONE;
    PutBucketTagging PUT Bucket "tagging" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketTagging DELETE Bucket "tagging" ALWAYS, Forward Admin NONE;
    GetBucketVersioning GET Bucket "versioning" ALWAYS, Forward Admin NONE;
    PutBucketVersioning PUT Bucket "versioning" ALWAYS, ForwardXml Admin NONE;
    GetBucketWebsite GET Bucket "website" ALWAYS, Forward Admin NONE;
    PutBucketWebsite PUT Bucket "website" ALWAYS, ForwardXml Admin NONE;
    DeleteBucketWebsite DELETE Bucket "website" ALWAYS, Forward Admin NONE;

    // Objects.
    DeleteObjects POST Bucket "delete" ALWAYS, DeleteObjects Delete NONE;
    WriteGetObjectResponse POST Bucket "" Selector::Header("x-amz-request-route"), Unsupported Write NONE;
    PostObject POST Bucket "" ALWAYS, PostObject Write NONE;
    GetObject GET Object "" ALWAYS, GetObject Read READ;
    HeadObject HEAD Object "" ALWAYS, HeadObject Read READ;
    CopyObject PUT Object "" COPY, CopyObject Write NONE;
    PutObject PUT Object "" ALWAYS, PutObject Write NONE;
    DeleteObject DELETE Object "" ALWAYS, DeleteObject Delete VERSION;
    GetObjectAttributes GET Object "attributes" ALWAYS, GetObjectAttributes Read VERSION;
    GetObjectAcl GET Object "acl" ALWAYS, Forward Admin VERSION;
    PutObjectAcl PUT Object "acl" ALWAYS, ForwardXml Admin VERSION;
    GetObjectTagging GET Object "tagging" ALWAYS, Forward Read VERSION;
    PutObjectTagging PUT Object "tagging" ALWAYS, ForwardXml Write VERSION;
    DeleteObjectTagging DELETE Object "tagging" ALWAYS, Forward Write VERSION;
    GetObjectLegalHold GET Object "legal-hold" ALWAYS, Forward Read VERSION;
    PutObjectLegalHold PUT Object "legal-hold" ALWAYS, ForwardXml Write VERSION;
    GetObjectRetention GET Object "retention" ALWAYS, Forward Read VERSION;
    PutObjectRetention PUT Object "retention" ALWAYS, ForwardXml Write VERSION;
    UpdateObjectEncryption PUT Object "encryption" ALWAYS, Unsupported Write VERSION;
    RestoreObject POST Object "restore" ALWAYS, RestoreObject Write VERSION;
    GetObjectTorrent GET Object "torrent" ALWAYS, Unsupported Read NONE;
    SelectObjectContent POST Object "select" ALWAYS, Unsupported Read &["select-type"];
    RenameObject PUT Object "renameObject" ALWAYS, Unsupported Write NONE;
    GetObjectAnnotation GET Object "annotation" NAMED, Unsupported Read ANNOTATION;
    ListObjectAnnotations GET Object "annotation" ALWAYS, Unsupported Read &["versionId", "max-annotation-results", "annotation-prefix", "continuation-token"];
    PutObjectAnnotation PUT Object "annotation" ALWAYS, Unsupported Write ANNOTATION;
    DeleteObjectAnnotation DELETE Object "annotation" ALWAYS, Unsupported Write ANNOTATION;

    // Multipart uploads.
    CreateMultipartUpload POST Object "uploads" ALWAYS, CreateMultipartUpload Write NONE;
    UploadPartCopy PUT Object "uploadId" COPY, UploadPartCopy Write &["partNumber"];
    UploadPart PUT Object "uploadId" ALWAYS, UploadPart Write &["partNumber"];
    ListParts GET Object "uploadId" ALWAYS, ListParts Write &["max-parts", "part-number-marker"];
    CompleteMultipartUpload POST Object "uploadId" ALWAYS, CompleteMultipartUpload Write NONE;
    AbortMultipartUpload DELETE Object "uploadId" ALWAYS, AbortMultipartUpload Write NONE;

    // Preflights. Their query belongs to the request that will follow.
    OptionsBucket OPTIONS Bucket "" ALWAYS, Preflight Read NONE;
    OptionsObject OPTIONS Object "" ALWAYS, Preflight Read NONE;
}

//! Senders that sign with Version 2: clients that the configuration names, and nobody else.

use std::collections::HashMap;
use std::sync::Arc;

use http::request::Parts;
use s3proxy_protocol::address::Address;
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::post::FormFields;
use s3proxy_protocol::sigv2::{self, RequestParts, SigV2Error, SignedPolicy};
use time::OffsetDateTime;

use super::{Client, Identity, VerifiedSender, check_session_token, known_client};
use crate::config::resolved::Permission;
use crate::record::RequestRecord;

type Clients = HashMap<String, Arc<Client>>;

/// The sender of a request; `None` where it has no signature of Version 2.
pub(super) fn sender(
    clients: &Clients,
    parts: &Parts,
    address: &Address,
    now: OffsetDateTime,
    record: &RequestRecord,
) -> Result<Option<VerifiedSender>, S3Error> {
    let signed = sigv2::parse(parts.uri.query(), &parts.headers);
    let Some(signed) = signed.map_err(|error| error.s3_error())? else {
        return Ok(None);
    };
    record.claims(signed.access_key_id());
    let client = permitted_client(clients, signed.access_key_id())?;
    check_session_token(client, signed.session_token())?;
    let request = RequestParts {
        method: &parts.method,
        raw_path: parts.uri.path(),
        raw_query: parts.uri.query(),
        headers: &parts.headers,
        bucket_in_host: address.bucket_in_host(),
    };
    let payload = signed.verify(&client.secret, request, now);
    let payload = payload.map_err(|error| error.s3_error())?;
    record.trail.signed_with_version_2();
    Ok(Some(VerifiedSender {
        identity: Identity::listed(client),
        payload,
        chunks: None,
    }))
}

/// The signer of a form; `None` where it has no signature of Version 2.
pub(super) fn signer(
    clients: &Clients,
    fields: &FormFields,
    record: &RequestRecord,
) -> Result<Option<Identity>, S3Error> {
    let signed = SignedPolicy::parse(|name| fields.get(name));
    let Some(signed) = signed.map_err(|error| error.s3_error())? else {
        return Ok(None);
    };
    record.claims(signed.access_key_id());
    let client = permitted_client(clients, signed.access_key_id())?;
    check_session_token(client, signed.session_token())?;
    let verified = signed.verify(&client.secret);
    verified.map_err(|error| error.s3_error())?;
    record.trail.signed_with_version_2();
    Ok(Some(Identity::listed(client)))
}

fn permitted_client<'c>(
    clients: &'c Clients,
    access_key_id: &str,
) -> Result<&'c Arc<Client>, S3Error> {
    let client = known_client(clients, access_key_id)?;
    match client.signature_v2 {
        Permission::Allow => Ok(client),
        Permission::Deny => Err(SigV2Error::NotAllowed.s3_error()),
    }
}

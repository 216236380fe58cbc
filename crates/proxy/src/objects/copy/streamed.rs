//! A copy of an object that is plain or in a legacy format: read, and sealed on its way.
//!

use http::HeaderMap;
use s3proxy_protocol::headers::TAGGING;
use s3proxy_protocol::operation::Operation;
use s3proxy_protocol::{conditional, header_rules};

use super::{CopyOrder, wanted_checksum};
use crate::failure::Outcome;
use crate::objects::copy_directives::{self, Directive};
use crate::objects::new_object::refuse_reserved_metadata;
use crate::objects::read::{self, Found, Source};
use crate::objects::stored::Form;
use crate::objects::write::{self, Copied, Destination, response_etag, written_headers};
use crate::objects::{StoreCall, document_times, plaintext_headers, tags, write_plaintext};

/// Reads the content of `found`, and stores it sealed with the metadata that the directives select.
pub(crate) async fn copy(
    call: &StoreCall<'_>,
    order: &CopyOrder<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Copied> {
    let wanted = wanted_checksum(order.headers)?;
    let destination = Destination {
        object: order.target,
        headers: outgoing_headers(call, order, source, found).await?,
        part_headers: header_rules::backend_request_headers(Operation::UploadPart, order.headers),
    };
    write::store_sealed(call, source, found, destination, wanted).await
}

/// Reads the content of `found`, sealed or not, and stores it as plaintext (`encryption = "off"`).
pub(crate) async fn copy_unsealed(
    call: &StoreCall<'_>,
    order: &CopyOrder<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<Copied> {
    let mut outgoing = outgoing_headers(call, order, source, found).await?;
    if let (Form::Sealed(envelope), Directive::Copy) = (&found.form, order.directives.metadata) {
        // HEAD does not show sealed user metadata; the plain copy carries it in the open.
        let dek = read::unwrap(call, source, envelope).await?;
        if let Some(private) = plaintext_headers::private_map(source, envelope, &dek)? {
            plaintext_headers::replace_user_metadata(call, &mut outgoing, &private)?;
        }
    }
    let content = read::open(call, source, found, None).await?;
    let backed =
        write_plaintext::store_content(call, order.target, content, found.length, outgoing).await?;
    Ok(Copied {
        headers: written_headers(&backed.headers, found),
        etag: response_etag(&backed.headers).into(),
        last_modified: document_times::answered(&backed.headers),
        checksum: None,
    })
}

/// Headers of the PutObject that makes the copy.
async fn outgoing_headers(
    call: &StoreCall<'_>,
    order: &CopyOrder<'_>,
    source: &Source<'_>,
    found: &Found,
) -> Outcome<HeaderMap> {
    let mut outgoing = header_rules::backend_request_headers(Operation::PutObject, order.headers);
    conditional::map_to_backend(&mut outgoing)?;
    match order.directives.metadata {
        Directive::Copy => {
            copy_directives::carry(&mut outgoing, &found.headers, &call.store.dek_tag);
        }
        Directive::Replace => refuse_reserved_metadata(call.store, &outgoing)?,
    }
    match order.directives.tagging {
        Directive::Copy => {
            // CopyObject with COPY ignores the header, but the PutObject sent here would apply it.
            outgoing.remove(TAGGING);
            if let Some(tags) = tags::header_of_source(call, source, found).await? {
                outgoing.insert(TAGGING, tags);
            }
        }
        Directive::Replace => {}
    }
    Ok(outgoing)
}

//! Multipart uploads of the server in memory.

use super::wire::*;
use super::*;

impl State {
    pub(super) fn list_uploads(&self, bucket: &str, prefix: Option<&str>) -> Answer {
        let hides_all = self.faults.hides_uploads && prefix.is_none();
        let shown = self.uploads.iter().filter(|(_, upload)| {
            let begins = upload.key.starts_with(prefix.unwrap_or_default());
            upload.bucket == bucket && begins && !hides_all
        });
        let entries = shown
            .map(|(id, upload)| {
                format!(
                    "<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>",
                    escaped(&upload.key)
                )
            })
            .collect::<Vec<_>>()
            .concat();
        document(
            200,
            &format!(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{entries}\
                 </ListMultipartUploadsResult>"
            ),
        )
    }

    pub(super) fn create(&mut self, request: &RecordedRequest, bucket: &str, key: &str) -> Answer {
        // No server gives an id twice, and replicas remember uploads by it.
        self.serial += 1;
        let id = format!("upload-{}", self.serial);
        let upload = Upload {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            headers: kept(request),
            parts: BTreeMap::new(),
        };
        self.uploads.insert(id.clone(), upload);
        document(
            200,
            &format!(
                "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{}</Key>\
                 <UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
                escaped(key)
            ),
        )
    }

    pub(super) fn upload_part(&mut self, request: &RecordedRequest, id: &str) -> Answer {
        let etag = self.next_etag("");
        let source = request.header("x-amz-copy-source");
        let copied = decode(source.trim_start_matches('/'));
        let copied = copied.split_once('/').and_then(|(bucket, key)| {
            let object = self.objects.get(&(bucket.to_owned(), key.to_owned()))?;
            Some(object.body.clone())
        });
        let Some(upload) = self.uploads.get_mut(id) else {
            return error(404, "NoSuchUpload");
        };
        let number = parameter(request, "partNumber").unwrap().parse().unwrap();
        let quoted = quoted(&etag);
        let stored = |body: Bytes| Part {
            etag: etag.clone(),
            body,
            modified: OffsetDateTime::now_utc().replace_nanosecond(0).unwrap(),
        };
        match (source, copied) {
            ("", _) => {
                let part = stored(request.body.clone());
                upload.parts.entry(number).or_default().push(part);
                answer(200, &[("etag", &quoted)], b"")
            }
            (_, Some(body)) => {
                upload.parts.entry(number).or_default().push(stored(body));
                let text = format!("<CopyPartResult><ETag>{quoted}</ETag></CopyPartResult>");
                document(200, &text)
            }
            (_, None) => error(404, "NoSuchKey"),
        }
    }

    pub(super) fn list_parts(&self, id: &str) -> Answer {
        let Some(upload) = self.uploads.get(id) else {
            return error(404, "NoSuchUpload");
        };
        let shown = if self.faults.lists_replaced_parts {
            usize::MAX
        } else {
            1
        };
        let parts = upload.parts.iter().flat_map(|(number, attempts)| {
            let attempts = attempts.iter().rev().take(shown);
            attempts.map(move |part| (number, part))
        });
        let parts = parts
            .map(|(number, part)| {
                format!(
                    "<Part><PartNumber>{number}</PartNumber><LastModified>{}</LastModified>\
                     <ETag>{}</ETag><Size>{}</Size></Part>",
                    part.modified.format(&Rfc3339).unwrap(),
                    quoted(&part.etag),
                    part.body.len()
                )
            })
            .collect::<Vec<_>>()
            .concat();
        document(
            200,
            &format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"),
        )
    }

    pub(super) fn complete(&mut self, request: &RecordedRequest, id: &str) -> Answer {
        let etag = self.next_etag("-1");
        let Some(upload) = self.uploads.get(id) else {
            return error(404, "NoSuchUpload");
        };
        let text = String::from_utf8(request.body.to_vec())
            .unwrap()
            .replace("&quot;", "\"");
        let mut body = Vec::new();
        let mut lengths = Vec::new();
        for part in text.split("<Part>").skip(1) {
            let number: u16 = element(part, "PartNumber").parse().unwrap();
            let named = element(part, "ETag").trim_matches('"');
            let attempts = upload.parts.get(&number).into_iter().flatten();
            match attempts.rev().find(|attempt| attempt.etag == named) {
                Some(attempt) => {
                    body.extend_from_slice(&attempt.body);
                    lengths.push(attempt.body.len());
                }
                None => return error(400, "InvalidPart"),
            }
        }
        let (last, others) = lengths.split_last().unwrap();
        let are_equal = others
            .iter()
            .all(|length| length == &others[0] && last <= length);
        if self.faults.wants_equal_parts && !are_equal {
            return error(400, "InvalidPart");
        }
        let upload = self.uploads.remove(id).unwrap();
        let mut object = self.object(upload.headers, body.into());
        object.etag.clone_from(&etag);
        let place = (upload.bucket, upload.key);
        let text = format!(
            "<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag>\
             </CompleteMultipartUploadResult>",
            place.0,
            escaped(&place.1),
            quoted(&etag)
        );
        self.objects.insert(place, object);
        document(200, &text)
    }
}

// Upload libraries in a page, as functions that browser.py calls: each uploads bytes in parts with
// what the library does by itself, and resolves when the library says that the object is there.

import { S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";

async function uppy({ endpoint, region, credentials }, bucket, key, content) {
  const uploader = new Uppy({ autoProceed: false });
  uploader.use(AwsS3, {
    s3Endpoint: `${endpoint}/${bucket}`,
    region,
    getCredentials: async () => ({ credentials, region }),
    generateObjectKey: () => key,
    shouldUseMultipart: true,
  });
  uploader.addFile({ name: "file.bin", type: "application/octet-stream", data: new Blob([content]) });
  const { failed } = await uploader.upload();
  if (failed.length > 0) throw new Error(failed[0].error);
}

async function libStorage({ endpoint, region, credentials }, Bucket, Key, content) {
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  await new Upload({ client, params: { Bucket, Key, Body: new Blob([content]) } }).done();
}

globalThis.uploadLibraries = { uppy, libStorage };

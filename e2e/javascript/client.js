// The AWS SDK for JavaScript as a client of the end-to-end suite: one line of tab-separated words
// in, one line out, as client_driver.py describes. A reply starts with `ok` or `failed`. Everything
// that is not set here has the SDK's defaults; the SDK reads credentials, region and checksum
// settings from its own variables.

import { createReadStream, createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const PART_BYTES = 5 * 1024 * 1024;
const TEN_MINUTES = { expiresIn: 600 };

const s3 = new S3Client({ endpoint: process.env.S3_ENDPOINT, forcePathStyle: true });

async function save(answer, path) {
  await pipeline(answer.Body, createWriteStream(path));
}

// The SDK encodes keys in paths but not in this header.
function copySource(bucket, key) {
  return `${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`;
}

const commands = {
  async put(Bucket, Key, path) {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: createReadStream(path) }));
  },

  async get(Bucket, Key, path) {
    await save(await s3.send(new GetObjectCommand({ Bucket, Key })), path);
  },

  async range(Bucket, Key, first, last, path) {
    const Range = `bytes=${first}-${last}`;
    await save(await s3.send(new GetObjectCommand({ Bucket, Key, Range })), path);
  },

  async head(Bucket, Key) {
    return [(await s3.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength];
  },

  async list(Bucket, Prefix) {
    const found = [];
    for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket, Prefix })) {
      for (const entry of page.Contents ?? []) {
        found.push(entry.Key, entry.Size);
      }
    }
    return found;
  },

  async copy(Bucket, from, Key) {
    await s3.send(new CopyObjectCommand({ Bucket, Key, CopySource: copySource(Bucket, from) }));
  },

  async delete(Bucket, ...keys) {
    const Objects = keys.map((Key) => ({ Key }));
    const answer = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    if (answer.Errors?.length) {
      throw new Error(`not deleted: ${JSON.stringify(answer.Errors)}`);
    }
  },

  async upload(Bucket, Key, path) {
    const params = { Bucket, Key, Body: createReadStream(path) };
    await new Upload({ client: s3, params, partSize: PART_BYTES, queueSize: 4 }).done();
  },

  async "copy-parts"(Bucket, from, Key) {
    const source = { CopySource: copySource(Bucket, from) };
    const size = (await s3.send(new HeadObjectCommand({ Bucket, Key: from }))).ContentLength;
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const copyPart = async (first, number) => {
      const last = Math.min(first + PART_BYTES, size) - 1;
      const part = { Bucket, Key, UploadId, PartNumber: number + 1 };
      const range = { CopySourceRange: `bytes=${first}-${last}` };
      const answer = await s3.send(new UploadPartCopyCommand({ ...part, ...source, ...range }));
      return { PartNumber: number + 1, ETag: answer.CopyPartResult.ETag };
    };
    try {
      const starts = Array.from({ length: Math.ceil(size / PART_BYTES) }, (_, n) => n * PART_BYTES);
      const Parts = await Promise.all(starts.map(copyPart));
      const whole = { Bucket, Key, UploadId, MultipartUpload: { Parts } };
      await s3.send(new CompleteMultipartUploadCommand(whole));
    } catch (error) {
      await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
      throw error;
    }
  },

  async "presign-get"(Bucket, Key) {
    return [await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key }), TEN_MINUTES)];
  },

  async "presign-put"(Bucket, Key) {
    return [await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key }), TEN_MINUTES)];
  },
};

async function answer(line) {
  const [name, ...words] = line.split("\t");
  if (!Object.hasOwn(commands, name)) {
    return ["failed", `this client knows no command ${name}`];
  }
  try {
    return ["ok", ...((await commands[name](...words)) ?? [])];
  } catch (error) {
    console.error(error);
    return ["failed", String(error).replaceAll(/\s+/g, " ")];
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${(await answer(line)).join("\t")}\n`);
}

//! The AWS SDK for Rust as a command, so that the end-to-end suite can use it like any other
//! client.
//!
//! One operation per process, many objects per operation: `put` and `get` transfer whole folders,
//! because the suite needs one start-up for a set of sizes. The SDK's defaults are kept on purpose
//! (flexible checksums, trailers, retries): this client sends the same requests as applications.
//!
//! The endpoint and the addressing style come from `S3_ENDPOINT` and `S3_STYLE`, credentials and
//! region from the SDK's own variables. Results go to standard output, one tab-separated line each.
//! Multipart uploads and copies on the server are in `multipart`. Keys are file names after a
//! prefix.

mod checksums;
mod multipart;

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

const USAGE: &str = "usage: s3proxy-e2e-client COMMAND BUCKET ...
  put BUCKET PREFIX DIRECTORY           upload every file of the directory
  get BUCKET PREFIX DIRECTORY NAME...   download the named objects into the directory
  range BUCKET KEY RANGE FILE           download a part of one object, as in bytes=0-9
  list BUCKET PREFIX                    print key, size and ETag of every object
  head BUCKET KEY                       print size and ETag
  delete BUCKET KEY...                  delete the objects one by one
  put-parts BUCKET KEY FILE SIZE        upload a file in parts of so many bytes
  copy BUCKET SOURCE KEY                copy an object in one request
  copy-parts BUCKET SOURCE KEY SIZE     copy an object in parts of so many bytes
  checksum BUCKET KEY FILE ALGORITHM VALUE
                                        upload a file with this checksum, or - for the SDK's own,
                                        and print the one that the object has";

/// Any error; parts run in their own tasks, so it has to be `Send`.
type Failure = Box<dyn Error + Send + Sync>;
type Outcome = Result<(), Failure>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", DisplayErrorContext(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Outcome {
    let client = client().await?;
    match words {
        ["put", bucket, prefix, directory] => {
            put(&client, bucket, prefix, Path::new(directory)).await
        }
        ["get", bucket, prefix, directory, names @ ..] => {
            get(&client, bucket, prefix, Path::new(directory), names).await
        }
        ["range", bucket, key, range, file] => {
            let request = client.get_object().bucket(*bucket).key(*key).range(*range);
            save(request.send().await?.body, Path::new(file)).await
        }
        ["list", bucket, prefix] => list(&client, bucket, prefix).await,
        ["head", bucket, key] => head(&client, bucket, key).await,
        ["delete", bucket, keys @ ..] => {
            for key in keys {
                client
                    .delete_object()
                    .bucket(*bucket)
                    .key(*key)
                    .send()
                    .await?;
            }
            Ok(())
        }
        ["put-parts", bucket, key, file, size] => {
            multipart::put(&client, bucket, key, Path::new(file), size.parse()?).await
        }
        ["copy", bucket, source, key] => multipart::copy(&client, bucket, source, key).await,
        ["copy-parts", bucket, source, key, size] => {
            multipart::copy_parts(&client, bucket, source, key, size.parse()?).await
        }
        ["checksum", bucket, key, file, algorithm, value] => {
            let place = (*bucket, *key);
            checksums::put(&client, place, Path::new(file), algorithm, value).await
        }
        _ => Err(USAGE.into()),
    }
}

async fn client() -> Result<Client, Failure> {
    let endpoint = env::var("S3_ENDPOINT").map_err(|_| "S3_ENDPOINT is not set: give a URL")?;
    let path_style = match env::var("S3_STYLE").as_deref() {
        Ok("path") => true,
        Ok("virtual-host") => false,
        _ => return Err("S3_STYLE has to be path or virtual-host".into()),
    };
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .endpoint_url(endpoint)
        .force_path_style(path_style)
        .build();
    Ok(Client::from_conf(config))
}

async fn put(client: &Client, bucket: &str, prefix: &str, directory: &Path) -> Outcome {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("file names have to be UTF-8")?;
        client
            .put_object()
            .bucket(bucket)
            .key(format!("{prefix}{name}"))
            .body(ByteStream::from_path(&path).await?)
            .send()
            .await?;
    }
    Ok(())
}

async fn get(
    client: &Client,
    bucket: &str,
    prefix: &str,
    directory: &Path,
    names: &[&str],
) -> Outcome {
    for name in names {
        let key = format!("{prefix}{name}");
        let answer = client.get_object().bucket(bucket).key(key).send().await?;
        save(answer.body, &directory.join(name)).await?;
    }
    Ok(())
}

async fn save(body: ByteStream, path: &Path) -> Outcome {
    let mut file = File::create(path).await?;
    tokio::io::copy(&mut body.into_async_read(), &mut file).await?;
    file.flush().await?;
    Ok(())
}

async fn list(client: &Client, bucket: &str, prefix: &str) -> Outcome {
    let mut pages = client
        .list_objects_v2()
        .bucket(bucket)
        .prefix(prefix)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        for object in page?.contents() {
            println!(
                "{}\t{}\t{}",
                object.key().unwrap_or_default(),
                object.size().unwrap_or_default(),
                object.e_tag().unwrap_or_default(),
            );
        }
    }
    Ok(())
}

async fn head(client: &Client, bucket: &str, key: &str) -> Outcome {
    let answer = client.head_object().bucket(bucket).key(key).send().await?;
    println!(
        "{}\t{}",
        answer.content_length().unwrap_or_default(),
        answer.e_tag().unwrap_or_default(),
    );
    Ok(())
}

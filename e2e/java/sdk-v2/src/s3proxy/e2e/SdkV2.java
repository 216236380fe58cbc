package s3proxy.e2e;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import software.amazon.awssdk.awscore.presigner.PresignedRequest;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

/**
 * AWS SDK for Java 2: the plain client, and the transfer manager over the asynchronous one.
 *
 * <p>Compiled against two releases, see the modules. Credentials, region and checksum settings come
 * from the SDK's own variables.
 */
public final class SdkV2 {
  private static final Duration TEN_MINUTES = Duration.ofMinutes(10);
  private static final URI ENDPOINT = URI.create(Driver.variable("S3_ENDPOINT"));

  private final S3Client s3 =
      S3Client.builder().endpointOverride(ENDPOINT).forcePathStyle(true).build();
  private final S3AsyncClient parallel =
      S3AsyncClient.builder()
          .endpointOverride(ENDPOINT)
          .forcePathStyle(true)
          .multipartEnabled(true)
          .multipartConfiguration(
              parts ->
                  parts
                      .minimumPartSizeInBytes(Driver.PART_BYTES)
                      .thresholdInBytes(Driver.PART_BYTES))
          .build();
  private final S3TransferManager transfers =
      S3TransferManager.builder().s3Client(parallel).build();
  private final S3Presigner presigner =
      S3Presigner.builder()
          .endpointOverride(ENDPOINT)
          .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build())
          .build();

  public static void main(String[] arguments) throws IOException {
    SdkV2 client = new SdkV2();
    client.driver().serve();
    client.transfers.close();
    client.parallel.close();
  }

  private Driver driver() {
    return new Driver()
        .perform("put", this::put)
        .perform("get", this::get)
        .perform("range", this::range)
        .on("head", this::head)
        .on("list", w -> list(w.get(0), w.get(1)))
        .perform("copy", this::copy)
        .perform("delete", w -> delete(w.get(0), w.subList(1, w.size())))
        .perform("upload", this::upload)
        .perform("download", this::download)
        .perform("copy-parts", this::copyParts)
        .on("checksum", this::checksum)
        .on("checksum-parts", this::checksumParts)
        .on("presign-get", this::presignGet)
        .on("presign-put", this::presignPut);
  }

  private void put(List<String> w) {
    s3.putObject(o -> o.bucket(w.get(0)).key(w.get(1)), RequestBody.fromFile(Path.of(w.get(2))));
  }

  private void get(List<String> w) {
    s3.getObject(o -> o.bucket(w.get(0)).key(w.get(1)), Path.of(w.get(2)));
  }

  private void range(List<String> w) {
    String range = "bytes=" + w.get(2) + "-" + w.get(3);
    s3.getObject(o -> o.bucket(w.get(0)).key(w.get(1)).range(range), Path.of(w.get(4)));
  }

  private List<String> head(List<String> w) {
    var answer = s3.headObject(o -> o.bucket(w.get(0)).key(w.get(1)));
    return List.of(answer.contentLength().toString());
  }

  private List<String> list(String bucket, String prefix) {
    List<String> found = new ArrayList<>();
    for (var entry : s3.listObjectsV2Paginator(o -> o.bucket(bucket).prefix(prefix)).contents()) {
      found.add(entry.key());
      found.add(entry.size().toString());
    }
    return found;
  }

  private void copy(List<String> w) {
    s3.copyObject(
        o ->
            o.sourceBucket(w.get(0))
                .sourceKey(w.get(1))
                .destinationBucket(w.get(0))
                .destinationKey(w.get(2)));
  }

  private void delete(String bucket, List<String> keys) {
    List<ObjectIdentifier> objects =
        keys.stream().map(key -> ObjectIdentifier.builder().key(key).build()).toList();
    var answer = s3.deleteObjects(o -> o.bucket(bucket).delete(d -> d.objects(objects)));
    if (answer.hasErrors()) {
      throw new IllegalStateException("not deleted: " + answer.errors());
    }
  }

  private void upload(List<String> w) {
    transfers
        .uploadFile(
            o ->
                o.source(Path.of(w.get(2)))
                    .putObjectRequest(put -> put.bucket(w.get(0)).key(w.get(1))))
        .completionFuture()
        .join();
  }

  private void download(List<String> w) {
    transfers
        .downloadFile(
            o ->
                o.destination(Path.of(w.get(2)))
                    .getObjectRequest(get -> get.bucket(w.get(0)).key(w.get(1))))
        .completionFuture()
        .join();
  }

  private void copyParts(List<String> w) {
    transfers
        .copy(
            o ->
                o.copyObjectRequest(
                    copy ->
                        copy.sourceBucket(w.get(0))
                            .sourceKey(w.get(1))
                            .destinationBucket(w.get(0))
                            .destinationKey(w.get(2))))
        .completionFuture()
        .join();
  }

  private List<String> checksum(List<String> w) {
    var request = PutObjectRequest.builder().bucket(w.get(0)).key(w.get(1));
    if (w.get(4).equals("-")) {
      request.checksumAlgorithm(w.get(3));
    } else {
      // The older release has no field for it.
      String header = "x-amz-checksum-" + w.get(3).toLowerCase(Locale.ROOT);
      request.overrideConfiguration(o -> o.putHeader(header, w.get(4)));
    }
    s3.putObject(request.build(), RequestBody.fromFile(Path.of(w.get(2))));
    return keptChecksum(w);
  }

  private List<String> checksumParts(List<String> w) {
    transfers
        .uploadFile(
            o ->
                o.source(Path.of(w.get(2)))
                    .putObjectRequest(
                        put -> put.bucket(w.get(0)).key(w.get(1)).checksumAlgorithm(w.get(3))))
        .completionFuture()
        .join();
    return keptChecksum(w);
  }

  /** By the name of its field: the older release has not all of them. */
  private List<String> keptChecksum(List<String> w) {
    var object =
        s3.headObject(o -> o.bucket(w.get(0)).key(w.get(1)).checksumMode(ChecksumMode.ENABLED));
    return List.of(object.getValueForField("Checksum" + w.get(3), String.class).orElseThrow());
  }

  private List<String> presignGet(List<String> w) {
    return urlAndHeaders(
        presigner.presignGetObject(
            o ->
                o.signatureDuration(TEN_MINUTES)
                    .getObjectRequest(get -> get.bucket(w.get(0)).key(w.get(1)))));
  }

  private List<String> presignPut(List<String> w) {
    return urlAndHeaders(
        presigner.presignPutObject(
            o ->
                o.signatureDuration(TEN_MINUTES)
                    .putObjectRequest(put -> put.bucket(w.get(0)).key(w.get(1)))));
  }

  private static List<String> urlAndHeaders(PresignedRequest presigned) {
    List<String> answer = new ArrayList<>(List.of(presigned.url().toString()));
    for (Map.Entry<String, List<String>> header : presigned.signedHeaders().entrySet()) {
      if (!header.getKey().equalsIgnoreCase("host")) {
        answer.add(header.getKey() + ": " + String.join(",", header.getValue()));
      }
    }
    return answer;
  }
}

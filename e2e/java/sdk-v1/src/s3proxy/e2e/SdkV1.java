package s3proxy.e2e;

import com.amazonaws.HttpMethod;
import com.amazonaws.auth.EnvironmentVariableCredentialsProvider;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.s3.AmazonS3;
import com.amazonaws.services.s3.AmazonS3ClientBuilder;
import com.amazonaws.services.s3.model.DeleteObjectsRequest;
import com.amazonaws.services.s3.model.GetObjectRequest;
import com.amazonaws.services.s3.model.ListObjectsV2Request;
import com.amazonaws.services.s3.transfer.TransferManager;
import com.amazonaws.services.s3.transfer.TransferManagerBuilder;
import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;

/** AWS SDK for Java 1 with its TransferManager; everything else is left as the SDK comes. */
public final class SdkV1 {
  private static final long TEN_MINUTES = 600_000;

  private final AmazonS3 s3;
  private final TransferManager transfers;

  private SdkV1() {
    s3 =
        AmazonS3ClientBuilder.standard()
            .withCredentials(new EnvironmentVariableCredentialsProvider())
            .withEndpointConfiguration(
                new EndpointConfiguration(
                    Driver.variable("S3_ENDPOINT"), Driver.variable("AWS_REGION")))
            .withPathStyleAccessEnabled(true)
            .build();
    transfers =
        TransferManagerBuilder.standard()
            .withS3Client(s3)
            .withMinimumUploadPartSize(Driver.PART_BYTES)
            .withMultipartUploadThreshold(Driver.PART_BYTES)
            .withMultipartCopyPartSize(Driver.PART_BYTES)
            .withMultipartCopyThreshold(Driver.PART_BYTES)
            .build();
  }

  public static void main(String[] arguments) throws IOException {
    SdkV1 client = new SdkV1();
    try {
      client.driver().serve();
    } finally {
      client.transfers.shutdownNow();
    }
  }

  private Driver driver() {
    return new Driver()
        .perform("put", w -> s3.putObject(w.get(0), w.get(1), new File(w.get(2))))
        .perform("get", w -> s3.getObject(get(w), new File(w.get(2))))
        .perform("range", this::range)
        .on("head", w -> List.of("" + s3.getObjectMetadata(w.get(0), w.get(1)).getContentLength()))
        .on("list", w -> list(w.get(0), w.get(1)))
        .perform("copy", w -> s3.copyObject(w.get(0), w.get(1), w.get(0), w.get(2)))
        .perform("delete", w -> delete(w.get(0), w.subList(1, w.size())))
        .perform("upload", this::upload)
        .perform("download", w -> transfers.download(get(w), new File(w.get(2))).waitForCompletion())
        .perform("copy-parts", this::copyParts)
        .on("presign-get", w -> presign(w, HttpMethod.GET))
        .on("presign-put", w -> presign(w, HttpMethod.PUT));
  }

  private static GetObjectRequest get(List<String> words) {
    return new GetObjectRequest(words.get(0), words.get(1));
  }

  private void range(List<String> w) {
    GetObjectRequest request = get(w).withRange(Long.parseLong(w.get(2)), Long.parseLong(w.get(3)));
    s3.getObject(request, new File(w.get(4)));
  }

  private List<String> list(String bucket, String prefix) {
    var request = new ListObjectsV2Request().withBucketName(bucket).withPrefix(prefix);
    List<String> found = new ArrayList<>();
    while (true) {
      var page = s3.listObjectsV2(request);
      for (var entry : page.getObjectSummaries()) {
        found.add(entry.getKey());
        found.add(Long.toString(entry.getSize()));
      }
      if (!page.isTruncated()) {
        return found;
      }
      request.setContinuationToken(page.getNextContinuationToken());
    }
  }

  // What could not be deleted is an exception of the SDK's own.
  private void delete(String bucket, List<String> keys) {
    s3.deleteObjects(new DeleteObjectsRequest(bucket).withKeys(keys.toArray(String[]::new)));
  }

  private void upload(List<String> w) throws InterruptedException {
    transfers.upload(w.get(0), w.get(1), new File(w.get(2))).waitForUploadResult();
  }

  private void copyParts(List<String> w) throws InterruptedException {
    transfers.copy(w.get(0), w.get(1), w.get(0), w.get(2)).waitForCopyResult();
  }

  private List<String> presign(List<String> w, HttpMethod method) {
    Date end = new Date(System.currentTimeMillis() + TEN_MINUTES);
    URL url = s3.generatePresignedUrl(w.get(0), w.get(1), end, method);
    return List.of(url.toString());
  }
}

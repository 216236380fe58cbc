package s3proxy.e2e;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.BulkDelete;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileRange;
import org.apache.hadoop.fs.FileSystem;

/**
 * Hadoop's S3A file system: objects are files, and what S3 does not know, as a rename, is made of
 * copies and deletes.
 *
 * <p>A file becomes a multipart upload when it outgrows one part. Presigned URLs do not exist here.
 */
public final class S3a {
  private final Configuration settings = new Configuration(false);

  private S3a() {
    settings.addResource("core-default.xml");
    settings.set("fs.s3a.endpoint", Driver.variable("S3_ENDPOINT"));
    settings.set("fs.s3a.endpoint.region", Driver.variable("AWS_REGION"));
    settings.set("fs.s3a.access.key", Driver.variable("AWS_ACCESS_KEY_ID"));
    settings.set("fs.s3a.secret.key", Driver.variable("AWS_SECRET_ACCESS_KEY"));
    settings.set("fs.s3a.path.style.access", "true");
    settings.set("fs.s3a.connection.ssl.enabled", "false");
    settings.setLong("fs.s3a.multipart.size", Driver.PART_BYTES);
    settings.setLong("fs.s3a.multipart.threshold", Driver.PART_BYTES);
  }

  public static void main(String[] arguments) throws IOException {
    new S3a().driver().serve();
    FileSystem.closeAll();
  }

  private Driver driver() {
    return new Driver()
        .perform("put", this::write)
        .perform("upload", this::write)
        .perform("get", this::read)
        .perform("range", this::range)
        .on("head", w -> List.of("" + bucket(w).getFileStatus(key(w.get(1))).getLen()))
        .on("list", w -> list(w.get(0), w.get(1)))
        .perform("rename", this::rename)
        .perform("vectored", this::vectored)
        .perform("delete", this::delete)
        .perform("delete-directory", this::deleteDirectory);
  }

  private FileSystem bucket(List<String> words) throws IOException {
    return FileSystem.get(URI.create("s3a://" + words.get(0)), settings);
  }

  private static org.apache.hadoop.fs.Path key(String name) {
    return new org.apache.hadoop.fs.Path("/" + name);
  }

  private static org.apache.hadoop.fs.Path bucketPath(String bucket, String name) {
    return new org.apache.hadoop.fs.Path("s3a", bucket, "/" + name);
  }

  private void write(List<String> w) throws IOException {
    try (OutputStream file = bucket(w).create(key(w.get(1)))) {
      Files.copy(Path.of(w.get(2)), file);
    }
  }

  private void read(List<String> w) throws IOException {
    try (InputStream file = bucket(w).open(key(w.get(1)))) {
      Files.copy(file, Path.of(w.get(2)));
    }
  }

  private void range(List<String> w) throws IOException {
    long first = Long.parseLong(w.get(2));
    byte[] bytes = new byte[Math.toIntExact(Long.parseLong(w.get(3)) - first + 1)];
    try (FSDataInputStream file = bucket(w).open(key(w.get(1)))) {
      file.readFully(first, bytes);
    }
    Files.write(Path.of(w.get(4)), bytes);
  }

  /** Several ranges at once, as columnar readers ask for them: FIRST LAST FILE, again and again. */
  private void vectored(List<String> w) throws Exception {
    List<FileRange> ranges = new ArrayList<>();
    for (int at = 2; at < w.size(); at += 3) {
      long first = Long.parseLong(w.get(at));
      ranges.add(
          FileRange.createFileRange(
              first, Math.toIntExact(Long.parseLong(w.get(at + 1)) - first + 1)));
    }
    try (FSDataInputStream file = bucket(w).open(key(w.get(1)))) {
      file.readVectored(ranges, ByteBuffer::allocate);
      for (int number = 0; number < ranges.size(); number++) {
        ByteBuffer read = ranges.get(number).getData().get(60, TimeUnit.SECONDS);
        byte[] bytes = new byte[read.remaining()];
        read.get(bytes);
        Files.write(Path.of(w.get(4 + 3 * number)), bytes);
      }
    }
  }

  private List<String> list(String bucket, String prefix) throws IOException {
    FileSystem files = bucket(List.of(bucket));
    List<String> found = new ArrayList<>();
    if (!files.exists(key(prefix))) {
      return found;
    }
    var entries = files.listFiles(key(prefix), true);
    while (entries.hasNext()) {
      var entry = entries.next();
      found.add(entry.getPath().toUri().getPath().substring(1));
      found.add(Long.toString(entry.getLen()));
    }
    return found;
  }

  private void rename(List<String> w) throws IOException {
    if (!bucket(w).rename(key(w.get(1)), key(w.get(2)))) {
      throw new IOException("S3A would not rename " + w.get(1));
    }
  }

  private void delete(List<String> w) throws IOException {
    var keys = w.subList(1, w.size()).stream().map(name -> bucketPath(w.get(0), name)).toList();
    try (BulkDelete batch = bucket(w).createBulkDelete(bucketPath(w.get(0), ""))) {
      var failures = batch.bulkDelete(keys);
      if (!failures.isEmpty()) {
        throw new IOException("not deleted: " + failures);
      }
    }
  }

  private void deleteDirectory(List<String> w) throws IOException {
    if (!bucket(w).delete(key(w.get(1)), true)) {
      throw new IOException("S3A found nothing to delete at " + w.get(1));
    }
  }
}

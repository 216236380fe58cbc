package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Moves whole files in parts, several at a time.
type transfers interface {
	upload(ctx context.Context, bucket, key string, file *os.File) error
	download(ctx context.Context, bucket, key string, file *os.File) error
}

type sdkClient struct {
	s3 *s3.Client
	transfers
}

// AWS's SDK. Credentials, region and checksum settings come from its own variables.
func sdk(ctx context.Context, with func(*s3.Client) transfers) (map[string]command, error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	api := s3.NewFromConfig(settings, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(os.Getenv("S3_ENDPOINT"))
		o.UsePathStyle = true
	})
	c := sdkClient{api, with(api)}
	return map[string]command{
		"put":         action(c.put),
		"get":         action(c.get),
		"range":       action(c.getRange),
		"head":        c.head,
		"list":        c.list,
		"copy":        action(c.copy),
		"delete":      action(c.delete),
		"upload":      action(c.uploadFile),
		"download":    action(c.downloadFile),
		"copy-parts":  action(c.copyParts),
		"checksum":    c.checksum,
		"presign-get": c.presignGet,
		"presign-put": c.presignPut,
	}, nil
}

func (c sdkClient) put(ctx context.Context, w []string) error {
	file, err := os.Open(w[2])
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &w[0], Key: &w[1], Body: file})
	return err
}

func (c sdkClient) get(ctx context.Context, w []string) error {
	return c.save(ctx, &s3.GetObjectInput{Bucket: &w[0], Key: &w[1]}, w[2])
}

func (c sdkClient) getRange(ctx context.Context, w []string) error {
	bytes := aws.String("bytes=" + w[2] + "-" + w[3])
	return c.save(ctx, &s3.GetObjectInput{Bucket: &w[0], Key: &w[1], Range: bytes}, w[4])
}

func (c sdkClient) save(ctx context.Context, request *s3.GetObjectInput, path string) error {
	object, err := c.s3.GetObject(ctx, request)
	if err != nil {
		return err
	}
	defer object.Body.Close()
	return writeFile(path, func(file *os.File) error {
		_, err := io.Copy(file, object.Body)
		return err
	})
}

func (c sdkClient) size(ctx context.Context, bucket, key string) (int64, error) {
	object, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return 0, err
	}
	return *object.ContentLength, nil
}

func (c sdkClient) head(ctx context.Context, w []string) ([]string, error) {
	size, err := c.size(ctx, w[0], w[1])
	return []string{strconv.FormatInt(size, 10)}, err
}

func (c sdkClient) list(ctx context.Context, w []string) ([]string, error) {
	var found []string
	request := &s3.ListObjectsV2Input{Bucket: &w[0], Prefix: &w[1]}
	pages := s3.NewListObjectsV2Paginator(c.s3, request)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, entry := range page.Contents {
			found = append(found, *entry.Key, strconv.FormatInt(*entry.Size, 10))
		}
	}
	return found, nil
}

func (c sdkClient) copy(ctx context.Context, w []string) error {
	_, err := c.s3.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: &w[0], Key: &w[2], CopySource: copySource(w[0], w[1]),
	})
	return err
}

func (c sdkClient) delete(ctx context.Context, w []string) error {
	var objects []types.ObjectIdentifier
	for _, key := range w[1:] {
		objects = append(objects, types.ObjectIdentifier{Key: &key})
	}
	answer, err := c.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &w[0], Delete: &types.Delete{Objects: objects},
	})
	if err == nil && len(answer.Errors) > 0 {
		return fmt.Errorf("%d keys not deleted, the first: %s", len(answer.Errors), *answer.Errors[0].Code)
	}
	return err
}

func (c sdkClient) uploadFile(ctx context.Context, w []string) error {
	file, err := os.Open(w[2])
	if err != nil {
		return err
	}
	defer file.Close()
	return c.upload(ctx, w[0], w[1], file)
}

func (c sdkClient) downloadFile(ctx context.Context, w []string) error {
	return writeFile(w[2], func(file *os.File) error {
		return c.download(ctx, w[0], w[1], file)
	})
}

// The SDK has no multipart copy: this one works as applications write it, one part at a time.
func (c sdkClient) copyParts(ctx context.Context, w []string) error {
	size, err := c.size(ctx, w[0], w[1])
	if err != nil {
		return err
	}
	request := &s3.CreateMultipartUploadInput{Bucket: &w[0], Key: &w[2]}
	upload, err := c.s3.CreateMultipartUpload(ctx, request)
	if err != nil {
		return err
	}
	if err := c.copyInto(ctx, upload, copySource(w[0], w[1]), size); err != nil {
		_, abort := c.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: &w[0], Key: &w[2], UploadId: upload.UploadId,
		})
		return errors.Join(err, abort)
	}
	return nil
}

func (c sdkClient) copyInto(
	ctx context.Context, upload *s3.CreateMultipartUploadOutput, source *string, size int64,
) error {
	var parts []types.CompletedPart
	for first := int64(0); first < size; first += partBytes {
		number := aws.Int32(int32(first/partBytes) + 1)
		last := min(first+partBytes, size) - 1
		copied, err := c.s3.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
			Bucket: upload.Bucket, Key: upload.Key, UploadId: upload.UploadId, PartNumber: number,
			CopySource: source, CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", first, last)),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{
			PartNumber: number, ETag: copied.CopyPartResult.ETag,
		})
	}
	_, err := c.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: upload.Bucket, Key: upload.Key, UploadId: upload.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

func (c sdkClient) presignGet(ctx context.Context, w []string) ([]string, error) {
	request := &s3.GetObjectInput{Bucket: &w[0], Key: &w[1]}
	signed, err := s3.NewPresignClient(c.s3).PresignGetObject(ctx, request, forTenMinutes)
	if err != nil {
		return nil, err
	}
	return urlAndHeaders(signed.URL, signed.SignedHeader), nil
}

func (c sdkClient) presignPut(ctx context.Context, w []string) ([]string, error) {
	request := &s3.PutObjectInput{Bucket: &w[0], Key: &w[1]}
	signed, err := s3.NewPresignClient(c.s3).PresignPutObject(ctx, request, forTenMinutes)
	if err != nil {
		return nil, err
	}
	return urlAndHeaders(signed.URL, signed.SignedHeader), nil
}

func forTenMinutes(o *s3.PresignOptions) {
	o.Expires = 10 * time.Minute
}

// The user of the URL has to send the signed headers; the URL itself has the host.
func urlAndHeaders(signed string, headers map[string][]string) []string {
	words := []string{signed}
	for name, values := range headers {
		if !strings.EqualFold(name, "Host") {
			words = append(words, name+": "+strings.Join(values, ","))
		}
	}
	return words
}

func copySource(bucket, key string) *string {
	return aws.String((&url.URL{Path: bucket + "/" + key}).EscapedPath())
}

func writeFile(path string, write func(*os.File) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

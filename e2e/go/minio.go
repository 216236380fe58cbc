package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A multipart copy is cut into equal pieces; only the last may be smaller than the minimum part
// size.
const copyPartBytes = 7 * 1024 * 1024

type minioClient struct {
	*minio.Client
	// Sends checksums behind bodies, which it has to be told.
	trailing *minio.Client
}

func minioCommands() (map[string]command, error) {
	endpoint, err := url.Parse(os.Getenv("S3_ENDPOINT"))
	if err != nil {
		return nil, err
	}
	options := minio.Options{
		Creds:        credentials.NewEnvAWS(),
		Secure:       endpoint.Scheme == "https",
		Region:       os.Getenv("AWS_REGION"),
		BucketLookup: minio.BucketLookupPath,
	}
	client, err := minio.New(endpoint.Host, &options)
	if err != nil {
		return nil, err
	}
	options.TrailingHeaders = true
	trailing, err := minio.New(endpoint.Host, &options)
	if err != nil {
		return nil, err
	}
	c := minioClient{client, trailing}
	return map[string]command{
		"put":         action(c.put),
		"get":         action(c.get),
		"range":       action(c.getRange),
		"head":        c.head,
		"list":        c.list,
		"list-meta":   c.listWithMetadata,
		"copy":        action(c.copy),
		"delete":      action(c.delete),
		"upload":      action(c.upload),
		"copy-parts":  action(c.copyParts),
		"presign-get": c.presignGet,
		"presign-put": c.presignPut,

		"checksum":       c.checksum,
		"checksum-parts": c.checksumParts,
	}, nil
}

func (c minioClient) put(ctx context.Context, w []string) error {
	_, err := c.FPutObject(ctx, w[0], w[1], w[2], minio.PutObjectOptions{})
	return err
}

func (c minioClient) upload(ctx context.Context, w []string) error {
	options := minio.PutObjectOptions{PartSize: partBytes, NumThreads: 4}
	_, err := c.FPutObject(ctx, w[0], w[1], w[2], options)
	return err
}

func (c minioClient) get(ctx context.Context, w []string) error {
	return c.FGetObject(ctx, w[0], w[1], w[2], minio.GetObjectOptions{})
}

func (c minioClient) getRange(ctx context.Context, w []string) error {
	first, err := strconv.ParseInt(w[2], 10, 64)
	if err != nil {
		return err
	}
	last, err := strconv.ParseInt(w[3], 10, 64)
	if err != nil {
		return err
	}
	object, err := c.GetObject(ctx, w[0], w[1], minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer object.Close()
	bytes := make([]byte, last-first+1)
	if _, err := object.ReadAt(bytes, first); err != nil {
		return err
	}
	return os.WriteFile(w[4], bytes, 0o600)
}

func (c minioClient) head(ctx context.Context, w []string) ([]string, error) {
	object, err := c.StatObject(ctx, w[0], w[1], minio.StatObjectOptions{})
	return []string{strconv.FormatInt(object.Size, 10)}, err
}

func (c minioClient) list(ctx context.Context, w []string) ([]string, error) {
	return c.listed(ctx, w, minio.ListObjectsOptions{Prefix: w[1], Recursive: true})
}

// Asks for user metadata too, which only MinIO's servers put into listings.
func (c minioClient) listWithMetadata(ctx context.Context, w []string) ([]string, error) {
	options := minio.ListObjectsOptions{Prefix: w[1], Recursive: true, WithMetadata: true}
	return c.listed(ctx, w, options)
}

func (c minioClient) listed(
	ctx context.Context, w []string, options minio.ListObjectsOptions,
) ([]string, error) {
	var found []string
	for entry := range c.ListObjects(ctx, w[0], options) {
		if entry.Err != nil {
			return nil, entry.Err
		}
		found = append(found, entry.Key, strconv.FormatInt(entry.Size, 10))
	}
	return found, nil
}

func (c minioClient) copy(ctx context.Context, w []string) error {
	to := minio.CopyDestOptions{Bucket: w[0], Object: w[2]}
	_, err := c.CopyObject(ctx, to, minio.CopySrcOptions{Bucket: w[0], Object: w[1]})
	return err
}

func (c minioClient) copyParts(ctx context.Context, w []string) error {
	to := minio.CopyDestOptions{Bucket: w[0], Object: w[2], PartSize: copyPartBytes}
	_, err := c.ComposeObject(ctx, to, minio.CopySrcOptions{Bucket: w[0], Object: w[1]})
	return err
}

func (c minioClient) delete(ctx context.Context, w []string) error {
	doomed := make(chan minio.ObjectInfo)
	go func() {
		defer close(doomed)
		for _, key := range w[1:] {
			doomed <- minio.ObjectInfo{Key: key}
		}
	}()
	for failure := range c.RemoveObjects(ctx, w[0], doomed, minio.RemoveObjectsOptions{}) {
		return fmt.Errorf("%s not deleted: %w", failure.ObjectName, failure.Err)
	}
	return nil
}

func (c minioClient) presignGet(ctx context.Context, w []string) ([]string, error) {
	return urlAlone(c.PresignedGetObject(ctx, w[0], w[1], 10*time.Minute, nil))
}

func (c minioClient) presignPut(ctx context.Context, w []string) ([]string, error) {
	return urlAlone(c.PresignedPutObject(ctx, w[0], w[1], 10*time.Minute))
}

func urlAlone(signed *url.URL, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{signed.String()}, nil
}

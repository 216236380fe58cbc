package main

import (
	"context"
	"fmt"
	"os"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
)

// The value that stands for a checksum that the client has to compute.
const computed = "-"

// The words are bucket, key, file, algorithm and value.
func (c sdkClient) checksum(ctx context.Context, w []string) ([]string, error) {
	file, err := os.Open(w[2])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	request := &s3.PutObjectInput{Bucket: &w[0], Key: &w[1], Body: file}
	if w[4] == computed {
		request.ChecksumAlgorithm = types.ChecksumAlgorithm(w[3])
	} else {
		checksumField(request, w[3]).Set(reflect.ValueOf(&w[4]))
	}
	if _, err := c.s3.PutObject(ctx, request); err != nil {
		return nil, err
	}
	object, err := c.s3.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &w[0], Key: &w[1], ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return nil, err
	}
	value, _ := checksumField(object, w[3]).Interface().(*string)
	if value == nil {
		return nil, fmt.Errorf("the object has no %s", w[3])
	}
	return []string{*value}, nil
}

// Each algorithm is a field of its own.
func checksumField(of any, algorithm string) reflect.Value {
	return reflect.ValueOf(of).Elem().FieldByName("Checksum" + algorithm)
}

var minioChecksums = map[string]minio.ChecksumType{
	"CRC32":     minio.ChecksumCRC32,
	"CRC32C":    minio.ChecksumCRC32C,
	"CRC64NVME": minio.ChecksumCRC64NVME,
	"MD5":       minio.ChecksumMD5,
	"SHA1":      minio.ChecksumSHA1,
	"SHA256":    minio.ChecksumSHA256,
	"SHA512":    minio.ChecksumSHA512,
	"XXHASH64":  minio.ChecksumXXHash64,
	"XXHASH3":   minio.ChecksumXXHash3,
	"XXHASH128": minio.ChecksumXXHash128,
}

func (c minioClient) checksum(ctx context.Context, w []string) ([]string, error) {
	return c.putChecksum(ctx, w, minio.PutObjectOptions{DisableMultipart: true})
}

func (c minioClient) checksumParts(ctx context.Context, w []string) ([]string, error) {
	return c.putChecksum(ctx, w, minio.PutObjectOptions{PartSize: partBytes, NumThreads: 4})
}

func (c minioClient) putChecksum(
	ctx context.Context, w []string, options minio.PutObjectOptions,
) ([]string, error) {
	options.Checksum = minioChecksums[w[3]]
	if _, err := c.trailing.FPutObject(ctx, w[0], w[1], w[2], options); err != nil {
		return nil, err
	}
	object, err := c.StatObject(ctx, w[0], w[1], minio.StatObjectOptions{Checksum: true})
	return []string{object.Checksum(options.Checksum)}, err
}

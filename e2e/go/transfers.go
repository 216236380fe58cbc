package main

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

type transferManager struct{ client *transfermanager.Client }

func withTransferManager(api *s3.Client) transfers {
	return transferManager{transfermanager.New(api, func(o *transfermanager.Options) {
		o.PartSizeBytes = partBytes
		o.MultipartUploadThreshold = partBytes
	})}
}

func (t transferManager) upload(ctx context.Context, bucket, key string, file *os.File) error {
	request := &transfermanager.UploadObjectInput{Bucket: &bucket, Key: &key, Body: file}
	_, err := t.client.UploadObject(ctx, request)
	return err
}

func (t transferManager) download(ctx context.Context, bucket, key string, file *os.File) error {
	request := &transfermanager.DownloadObjectInput{Bucket: &bucket, Key: &key, WriterAt: file}
	_, err := t.client.DownloadObject(ctx, request)
	return err
}

// The previous manager: deprecated, but most programs still use it.
type oldManager struct{ client *s3.Client }

func withManager(api *s3.Client) transfers {
	return oldManager{api}
}

func (m oldManager) upload(ctx context.Context, bucket, key string, file *os.File) error {
	uploader := manager.NewUploader(m.client, func(u *manager.Uploader) { u.PartSize = partBytes })
	_, err := uploader.Upload(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: file})
	return err
}

func (m oldManager) download(ctx context.Context, bucket, key string, file *os.File) error {
	downloader := manager.NewDownloader(m.client, func(d *manager.Downloader) { d.PartSize = partBytes })
	_, err := downloader.Download(ctx, file, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	return err
}

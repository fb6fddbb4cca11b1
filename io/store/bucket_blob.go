package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// blobBucket keeps objects in any store that gocloud has a driver for.
type blobBucket struct{ blobs *blob.Bucket }

// Blobs makes a Bucket of gocloud's. Its driver must carry out WriterOptions.IfNotExist as one step; fileblob does not.
func Blobs(blobs *blob.Bucket) Bucket { return blobBucket{blobs} }

func (b blobBucket) Put(ctx context.Context, key string, content io.Reader) error {
	return b.put(ctx, key, content, false)
}

func (b blobBucket) PutNew(ctx context.Context, key string, content io.Reader) error {
	return b.put(ctx, key, content, true)
}

func (b blobBucket) put(ctx context.Context, key string, content io.Reader, ifNotExist bool) error {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	writer, err := b.blobs.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: "application/octet-stream", IfNotExist: ifNotExist,
	})
	if err != nil {
		return fmt.Errorf("store %s: %w", key, portable(err))
	}
	if _, err := io.Copy(writer, content); err != nil {
		cancel() // Close would store what there is so far
		_ = writer.Close()
		return fmt.Errorf("store %s: %w", key, portable(err))
	}
	if err := writer.Close(); err != nil {
		return fmt.Errorf("store %s: %w", key, portable(err))
	}
	return nil
}

func (b blobBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	reader, err := b.blobs.NewReader(ctx, key, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, portable(err))
	}
	return reader, nil
}

func (b blobBucket) List(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	objects := b.blobs.List(&blob.ListOptions{Prefix: prefix})
	for {
		object, err := objects.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, ctx.Err() // memblob does not look
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, portable(err))
		}
		keys = append(keys, object.Key)
	}
}

func (b blobBucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := b.blobs.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete %s: %w", key, portable(err))
	}
	return nil
}

func (b blobBucket) Close() error {
	if err := b.blobs.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// portable adds the error that Bucket promises for what gocloud has a code for.
func portable(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case gcerrors.FailedPrecondition, gcerrors.AlreadyExists:
		return fmt.Errorf("%w: %w", fs.ErrExist, err)
	default:
		return err
	}
}

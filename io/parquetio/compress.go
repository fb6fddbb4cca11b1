package parquetio

import (
	"bytes"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The most that a byte can expand to, by the makeup of each compressed format; it lets a page that claims more be
// refused before memory is set aside for it. Brotli and zstd have no such bound that would help.
const (
	maxSnappyRatio = 32
	maxLZ4Ratio    = 256
	maxGzipRatio   = 1_032
)

// zstdReader is safe for concurrent use, and refuses to decode beyond the room it is given.
var zstdReader = func() *zstd.Decoder {
	reader, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxPageBytes))
	if err != nil {
		panic("options of the zstd reader: " + err.Error())
	}
	return reader
}()

// decompress returns the size bytes that packed holds, in dst when it has the room.
func decompress(codec format.CompressionCodec, dst, packed []byte, size int) ([]byte, error) {
	if codec == format.Uncompressed {
		if len(packed) != size {
			return nil, fmt.Errorf("%w: it has %d bytes in place of %d", errPage, len(packed), size)
		}
		return packed, nil
	}
	if size == 0 {
		return nil, nil
	}
	ratio := map[format.CompressionCodec]int{format.Snappy: maxSnappyRatio, format.Lz4Raw: maxLZ4Ratio, format.Gzip: maxGzipRatio}[codec]
	if ratio > 0 && size/ratio > len(packed) {
		return nil, fmt.Errorf("%w: it claims %d bytes from %d", errPage, size, len(packed))
	}
	if cap(dst) < size {
		dst = make([]byte, size)
	}
	dst = dst[:size]
	var err error
	got := size
	switch codec {
	case format.Snappy:
		if got, err = snappy.DecodedLen(packed); err == nil && got == size {
			_, err = snappy.Decode(dst, packed)
		}
	case format.Gzip:
		var reader *gzip.Reader
		if reader, err = gzip.NewReader(bytes.NewReader(packed)); err == nil {
			err = readAll(reader, dst)
		}
	case format.Brotli:
		err = readAll(brotli.NewReader(bytes.NewReader(packed)), dst)
	case format.Zstd:
		var out []byte
		out, err = zstdReader.DecodeAll(packed, dst[:0:size])
		got = len(out)
	case format.Lz4Raw:
		got, err = lz4.UncompressBlock(packed, dst)
	default:
		return nil, fmt.Errorf("compression codec %s is not supported", codec)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: decompress with %s: %w", errPage, codec, err)
	case got != size:
		return nil, fmt.Errorf("%w: it holds %d bytes in place of %d", errPage, got, size)
	}
	return dst, nil
}

// readAll fills dst with a stream, which must end there.
func readAll(stream io.Reader, dst []byte) error {
	if _, err := io.ReadFull(stream, dst); err != nil {
		return err
	}
	var more [1]byte
	n, err := stream.Read(more[:])
	if n > 0 {
		return errPage
	}
	if err == io.EOF {
		return nil
	}
	return err
}

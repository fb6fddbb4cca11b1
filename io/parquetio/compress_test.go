package parquetio

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/format"
)

// TestDecompressTakesExactlyWhatIsClaimed holds, for each codec, that a page that holds more or less than its
// header claims is refused.
func TestDecompressTakesExactlyWhatIsClaimed(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("some text that repeats ", 100))
	codecs := map[format.CompressionCodec]compress.Codec{
		format.Uncompressed: &parquet.Uncompressed,
		format.Snappy:       &parquet.Snappy,
		format.Gzip:         &parquet.Gzip,
		format.Zstd:         &parquet.Zstd,
		format.Brotli:       &parquet.Brotli,
		format.Lz4Raw:       &parquet.Lz4Raw,
	}
	for codec, packer := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			packed, err := packer.Encode(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decompress(codec, nil, packed, len(text))
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes and error %v, want the %d that were packed", len(got), err, len(text))
			}
			for _, size := range []int{len(text) - 1, len(text) + 1, 1} {
				if _, err := decompress(codec, nil, packed, size); !errors.Is(err, errPage) {
					t.Errorf("claimed %d in place of %d: error %v", size, len(text), err)
				}
			}
			if _, err := decompress(codec, nil, packed[:len(packed)/2], len(text)); !errors.Is(err, errPage) {
				t.Errorf("cut: error %v", err)
			}
		})
	}
}

func TestDecompressRefusesImpossibleRatios(t *testing.T) {
	t.Parallel()
	for _, codec := range []format.CompressionCodec{format.Snappy, format.Gzip, format.Lz4Raw} {
		if _, err := decompress(codec, nil, make([]byte, 1000), maxPageBytes); err == nil || !strings.Contains(err.Error(), "claims") {
			t.Errorf("%s: error %v, want one before memory is set aside", codec, err)
		}
	}
}

func TestDecompressNamesUnknownCodecs(t *testing.T) {
	t.Parallel()
	if _, err := decompress(format.LZO, nil, []byte{1}, 1); err == nil || !strings.Contains(err.Error(), "LZO is not supported") {
		t.Errorf("error %v", err)
	}
}

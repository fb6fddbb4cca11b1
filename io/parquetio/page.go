package parquetio

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

const (
	// maxPageBytes bounds a page, packed or not. Most writers aim at 1 MiB; DuckDB fills pages up to 100 MB.
	maxPageBytes = 192 << 20
	// maxDictionary bounds the values of a dictionary; writers give up dictionaries of 1 MB.
	maxDictionary = 4 << 20
	// Page headers are tried at the first size, then at larger ones up to the last: statistics in them can be long.
	minHeaderBytes = 128
	maxHeaderBytes = 16 << 20
)

// pageHeader is what reading needs of PageHeader in the format's parquet.thrift.
type pageHeader struct {
	kind           format.PageType
	size, packed   int64
	crc            uint32
	checked        bool
	values, rows   int64
	encoding       format.Encoding
	repEncoding    format.Encoding
	defEncoding    format.Encoding
	repLen, defLen int64
	stored         bool // version 2: values are not compressed
}

func parsePageHeader(r *thriftReader) pageHeader {
	var h pageHeader
	r.fields(fields(1, 2, 3), func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftI32:
			h.kind = format.PageType(r.int()) //nolint:gosec // unknown values are refused later
		case id == 2 && typ == thriftI32:
			h.size = r.int()
		case id == 3 && typ == thriftI32:
			h.packed = r.int()
		case id == 4 && typ == thriftI32:
			h.crc, h.checked = uint32(r.int()), true //nolint:gosec // stored as a signed number
		case (id == 5 || id == 7 || id == 8) && typ == thriftStruct:
			parseKindHeader(r, &h, id)
		default:
			return false
		}
		return true
	})
	return h
}

// parseKindHeader reads the header of a data page (5), a dictionary page (7) or a data page of version 2 (8).
func parseKindHeader(r *thriftReader, h *pageHeader, kind int) {
	number := func(to *int64) { *to = r.int() }
	encoding := func(to *format.Encoding) { *to = format.Encoding(r.int()) } //nolint:gosec // refused later if unknown
	required := fields(1, 2)
	switch kind {
	case 5:
		required = fields(1, 2, 3, 4)
	case 8:
		required = fields(1, 3, 4, 5, 6)
	}
	r.fields(required, func(id int, typ byte) bool {
		switch {
		case id == 7 && kind == 8 && (typ == thriftTrue || typ == thriftFalse):
			h.stored = typ == thriftFalse
		case typ != thriftI32:
			return false
		case id == 1:
			number(&h.values)
		case id == 2 && kind != 8, id == 4 && kind == 8:
			encoding(&h.encoding)
		case id == 3 && kind == 5:
			encoding(&h.defEncoding)
		case id == 4 && kind == 5:
			encoding(&h.repEncoding)
		case id == 3 && kind == 8:
			number(&h.rows)
		case id == 5 && kind == 8:
			number(&h.defLen)
		case id == 6 && kind == 8:
			number(&h.repLen)
		default:
			return false
		}
		return true
	})
}

// check verifies the sizes of a page that must fit into room bytes of the file.
func (h *pageHeader) check(room int64) error {
	switch {
	case h.size < 0 || h.packed < 0 || h.values < 0 || h.rows < 0 || h.repLen < 0 || h.defLen < 0,
		h.repLen+h.defLen > min(h.size, h.packed):
		return fmt.Errorf("%w: its header is impossible", errPage)
	case h.packed > room:
		return fmt.Errorf("%w: it is larger than its column", errPage)
	case h.size > maxPageBytes || h.packed > maxPageBytes:
		return fmt.Errorf("a page of %d bytes is over the %d that are supported: write the file with smaller pages", max(h.size, h.packed), maxPageBytes)
	case h.kind == format.DictionaryPage && h.values > maxDictionary:
		return fmt.Errorf("a dictionary of %d values is over the %d that are supported", h.values, maxDictionary)
	}
	return nil
}

// pages reads the pages of a column chunk.
type pages struct {
	file    io.ReaderAt
	at, end int64
	codec   format.CompressionCodec
	head    []byte
}

// header reads the next page's header.
func (p *pages) header() (pageHeader, error) {
	for size := int64(minHeaderBytes); ; size = min(8*size, maxHeaderBytes) {
		size = min(size, p.end-p.at)
		if size <= 0 {
			return pageHeader{}, fmt.Errorf("%w: pages are missing", errPage)
		}
		if int64(cap(p.head)) < size {
			p.head = make([]byte, size)
		}
		p.head = p.head[:size]
		if _, err := p.file.ReadAt(p.head, p.at); err != nil {
			return pageHeader{}, fmt.Errorf("read page header: %w", err)
		}
		r := thriftReader{data: p.head}
		h := parsePageHeader(&r)
		if r.err == nil {
			p.at += int64(r.at)
			return h, h.check(p.end - p.at)
		}
		if size == p.end-p.at || size == maxHeaderBytes {
			return pageHeader{}, fmt.Errorf("%w: its header is malformed", errPage)
		}
	}
}

// pageBuffer holds a page as it is stored and unpacked.
type pageBuffer struct{ stored, unpacked []byte }

// body reads the page that h heads. The levels of version 2 are not compressed and come apart.
func (p *pages) body(h *pageHeader, b *pageBuffer) (levels, data []byte, err error) {
	if int64(cap(b.stored)) < h.packed {
		b.stored = make([]byte, h.packed)
	}
	b.stored = b.stored[:h.packed]
	if _, err := p.file.ReadAt(b.stored, p.at); err != nil {
		return nil, nil, fmt.Errorf("read page: %w", err)
	}
	p.at += h.packed
	if h.checked && crc32.ChecksumIEEE(b.stored) != h.crc {
		return nil, nil, fmt.Errorf("%w: its checksum differs", errPage)
	}
	split := h.repLen + h.defLen
	levels, data = b.stored[:split], b.stored[split:]
	codec := p.codec
	if h.stored {
		codec = format.Uncompressed
	}
	unpacked, err := decompress(codec, b.unpacked, data, int(h.size-split))
	if err == nil && codec != format.Uncompressed {
		b.unpacked = unpacked
	}
	return levels, unpacked, err
}

// cutLevels takes the levels off the start of a page of version 1; there they have their length before them.
func cutLevels(data []byte, most int, encoding format.Encoding) (levels, rest []byte, err error) {
	if most == 0 {
		return nil, data, nil
	}
	if encoding != format.RLE {
		return nil, nil, fmt.Errorf("levels in encoding %d are not supported", encoding)
	}
	if len(data) < 4 {
		return nil, nil, errPage
	}
	length := int64(binary.LittleEndian.Uint32(data))
	if length > int64(len(data)-4) {
		return nil, nil, errPage
	}
	return data[4 : 4+length], data[4+length:], nil
}

package parquetio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

const (
	magic          = "PAR1"
	magicEncrypted = "PARE"
	// minFileBytes is a magic number, an empty footer, its length and a magic number.
	minFileBytes = 12
	// maxFooterBytes bounds the metadata: 5,000 columns in 100 row groups take about 60 MB.
	maxFooterBytes = 64 << 20
	// signatureBytes follow the metadata of a signed file; reading does not need its key.
	signatureBytes = 28
	// maxElements bounds the schema's nodes.
	maxElements = 100_000
	// The least bytes that an element of the metadata's lists takes, from its required fields.
	minElementBytes = 4
	minGroupBytes   = 7
	minChunkBytes   = 20
)

// footer is what reading needs of a file's metadata (FileMetaData in the format's parquet.thrift).
type footer struct {
	schema []element
	rows   int64
	groups []rowGroup
}

// element is a node of the schema in depth-first order.
type element struct {
	name     string
	leaf     bool
	physical format.Type
	length   int
	repeat   format.FieldRepetitionType
	children int
	// converted is -1 when there is none.
	converted deprecated.ConvertedType
	logical   logical
	scale     int
	precision int
}

// logical is a logical type by its field number in the union; 0 when there is none.
type logical struct {
	id               int
	scale, precision int
	utc              bool
	unit             string
	bits             int
	signed           bool
}

// Field numbers of the LogicalType union.
const (
	logicalString    = 1
	logicalMap       = 2
	logicalList      = 3
	logicalEnum      = 4
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalNull      = 11
	logicalJSON      = 12
	logicalUUID      = 14
	logicalFloat16   = 15
)

type rowGroup struct {
	rows   int64
	chunks []chunk
}

// chunk is a column's part of a row group.
type chunk struct {
	physical   format.Type
	codec      format.CompressionCodec
	values     int64
	bytes      int64
	data       int64
	dictionary int64
	// elsewhere marks a chunk that lies in another file, encrypted one that cannot be read.
	elsewhere, encrypted bool
}

// readFooter reads and checks the metadata of a file of size bytes.
func readFooter(file io.ReaderAt, size int64) (*footer, error) {
	if size < minFileBytes {
		return nil, errors.New("it is no Parquet file: it is too short")
	}
	var head [4]byte
	var tail [8]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("read start: %w", err)
	}
	if _, err := file.ReadAt(tail[:], size-8); err != nil {
		return nil, fmt.Errorf("read end: %w", err)
	}
	switch start, end := string(head[:]), string(tail[4:]); {
	case start == magicEncrypted || end == magicEncrypted:
		return nil, errors.New("it is encrypted, which is not supported")
	case start != magic:
		return nil, errors.New("it is no Parquet file: it does not start with PAR1")
	case end != magic:
		return nil, errors.New("it is cut off: it does not end with PAR1")
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if length > size-minFileBytes || length > maxFooterBytes {
		return nil, fmt.Errorf("its metadata claim %d bytes, more than there can be", length)
	}
	data := make([]byte, length)
	if _, err := file.ReadAt(data, size-8-length); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	r := thriftReader{data: data}
	f := parseFooter(&r)
	if left := len(data) - r.at; r.err == nil && left != 0 && left != signatureBytes {
		r.err = errThrift
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, f.check(size)
}

// check verifies what the rest of the reader relies on.
func (f *footer) check(size int64) error {
	if len(f.schema) > maxElements {
		return fmt.Errorf("its schema has %d nodes, more than the %d that are supported", len(f.schema), maxElements)
	}
	leaves := 0
	for i := range f.schema {
		if f.schema[i].leaf {
			leaves++
		}
	}
	total := int64(0)
	for g := range f.groups {
		group := &f.groups[g]
		if len(group.chunks) != leaves {
			return fmt.Errorf("row group %d has %d columns, the schema %d", g, len(group.chunks), leaves)
		}
		if group.rows < 0 || group.rows > f.rows-total {
			return fmt.Errorf("row group %d claims %d rows, more than the file has", g, group.rows)
		}
		total += group.rows
		for c := range group.chunks {
			chunk := &group.chunks[c]
			start := chunk.start()
			switch {
			case chunk.encrypted:
				return fmt.Errorf("column %d is encrypted, which is not supported", c)
			case chunk.elsewhere:
				return fmt.Errorf("column %d lies in another file, which is not supported", c)
			case start < 4 || chunk.bytes < 0 || start > size-8 || chunk.bytes > size-8-start:
				// A row group without rows may leave its places zero.
				if group.rows == 0 {
					continue
				}
				return fmt.Errorf("row group %d has a column outside of the file", g)
			case chunk.values < 0:
				return fmt.Errorf("row group %d has a column of %d values", g, chunk.values)
			}
		}
	}
	if total != f.rows {
		return fmt.Errorf("it claims %d rows and has %d in its row groups", f.rows, total)
	}
	return nil
}

// start is where the chunk's first page begins.
func (c *chunk) start() int64 {
	// Some writers set the place of a dictionary that they did not write.
	if c.dictionary > 0 && c.dictionary < c.data {
		return c.dictionary
	}
	return c.data
}

func parseFooter(r *thriftReader) *footer {
	f := &footer{}
	r.fields(fields(2, 3, 4), func(id int, typ byte) bool {
		switch {
		case id == 2 && typ == thriftList:
			r.list(minElementBytes, func(int, byte) { f.schema = append(f.schema, parseElement(r)) })
		case id == 3 && typ == thriftI64:
			f.rows = r.int()
		case id == 4 && typ == thriftList:
			r.list(minGroupBytes, func(int, byte) { f.groups = append(f.groups, parseRowGroup(r)) })
		default:
			return false
		}
		return true
	})
	return f
}

func parseElement(r *thriftReader) element {
	e := element{converted: -1}
	r.fields(fields(4), func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftI32:
			e.leaf, e.physical = true, format.Type(r.int()) //nolint:gosec // unknown values are refused later
		case id == 2 && typ == thriftI32:
			e.length = int(r.int())
		case id == 3 && typ == thriftI32:
			e.repeat = format.FieldRepetitionType(r.int()) //nolint:gosec // as above
		case id == 4 && typ == thriftBinary:
			e.name = r.string()
		case id == 5 && typ == thriftI32:
			e.children = int(r.int())
		case id == 6 && typ == thriftI32:
			e.converted = deprecated.ConvertedType(r.int()) //nolint:gosec // as above
		case id == 7 && typ == thriftI32:
			e.scale = int(r.int())
		case id == 8 && typ == thriftI32:
			e.precision = int(r.int())
		case id == 10 && typ == thriftStruct:
			e.logical = parseLogical(r)
		default:
			return false
		}
		return true
	})
	return e
}

func parseLogical(r *thriftReader) logical {
	var l logical
	r.fields(0, func(id int, typ byte) bool {
		if typ != thriftStruct {
			return false
		}
		l.id = id
		switch id {
		case logicalDecimal:
			l.parseDecimal(r)
		case logicalTime, logicalTimestamp:
			l.parseMoment(r)
		case logicalInteger:
			l.parseInteger(r)
		default:
			return false
		}
		return true
	})
	return l
}

func (l *logical) parseDecimal(r *thriftReader) {
	r.fields(fields(1, 2), func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftI32:
			l.scale = int(r.int())
		case id == 2 && typ == thriftI32:
			l.precision = int(r.int())
		default:
			return false
		}
		return true
	})
}

func (l *logical) parseMoment(r *thriftReader) {
	r.fields(fields(1, 2), func(id int, typ byte) bool {
		switch {
		case id == 1 && (typ == thriftTrue || typ == thriftFalse):
			l.utc = typ == thriftTrue
		case id == 2 && typ == thriftStruct:
			r.fields(0, func(id int, _ byte) bool {
				if id >= 1 && id <= 3 {
					l.unit = [...]string{"millis", "micros", "nanos"}[id-1]
				}
				return false
			})
		default:
			return false
		}
		return true
	})
}

func (l *logical) parseInteger(r *thriftReader) {
	r.fields(fields(1, 2), func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftByte:
			l.bits = int(r.byte())
		case id == 2 && (typ == thriftTrue || typ == thriftFalse):
			l.signed = typ == thriftTrue
		default:
			return false
		}
		return true
	})
}

func parseRowGroup(r *thriftReader) rowGroup {
	var g rowGroup
	r.fields(fields(1, 3), func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftList:
			r.list(minChunkBytes, func(left int, _ byte) {
				if g.chunks == nil {
					g.chunks = make([]chunk, 0, left)
				}
				g.chunks = append(g.chunks, parseChunk(r))
			})
		case id == 3 && typ == thriftI64:
			g.rows = r.int()
		default:
			return false
		}
		return true
	})
	return g
}

func parseChunk(r *thriftReader) chunk {
	var c chunk
	r.fields(0, func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftBinary:
			c.elsewhere = r.string() != ""
		case id == 3 && typ == thriftStruct:
			parseChunkMetadata(r, &c)
		case id == 8 && typ == thriftStruct, id == 9 && typ == thriftBinary:
			c.encrypted = true
			r.skip(typ)
		default:
			return false
		}
		return true
	})
	return c
}

func parseChunkMetadata(r *thriftReader, c *chunk) {
	r.fields(fields(1, 4, 5, 7, 9), func(id int, typ byte) bool {
		switch {
		case id == 1 && typ == thriftI32:
			c.physical = format.Type(r.int()) //nolint:gosec // unknown values are refused later
		case id == 4 && typ == thriftI32:
			c.codec = format.CompressionCodec(r.int()) //nolint:gosec // as above
		case id == 5 && typ == thriftI64:
			c.values = r.int()
		case id == 7 && typ == thriftI64:
			c.bytes = r.int()
		case id == 9 && typ == thriftI64:
			c.data = r.int()
		case id == 11 && typ == thriftI64:
			c.dictionary = r.int()
		default:
			return false
		}
		return true
	})
}

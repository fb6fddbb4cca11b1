package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	_ "image/gif"  // for image.DecodeConfig
	_ "image/jpeg" // for image.DecodeConfig
	_ "image/png"  // for image.DecodeConfig
	"regexp"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// pixels is an image's size; zero when it is not known.
type pixels struct{ width, height int64 }

// patch is the side in pixels of the square that costs one token (API documentation, "Vision").
const patch = 28

// imageLimit is the size to which a model has images scaled down: the longer edge in pixels, and tokens.
type imageLimit struct{ edge, most int64 }

var modelVersion = regexp.MustCompile(`claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?:\D|$)`)

// imageLimitOf returns the limit of a model by its version (API documentation, "Vision"); a name that tells none
// counts as a new one.
func imageLimitOf(model string) imageLimit {
	if found := modelVersion.FindStringSubmatch(model); found != nil {
		major, _ := strconv.Atoi(found[1])
		minor, _ := strconv.Atoi(found[2]) // 0 when there is none
		if major < 4 || major == 4 && minor < 7 {
			return imageLimit{edge: 1568, most: 1568}
		}
	}
	return imageLimit{edge: 2576, most: 4784}
}

// tokens returns what an image costs, and the most that any can when its size is not known.
func (l imageLimit) tokens(p pixels) int64 {
	if p.width <= 0 || p.height <= 0 {
		return l.most
	}
	if long := max(p.width, p.height); long > l.edge {
		p.width, p.height = max(1, p.width*l.edge/long), max(1, p.height*l.edge/long)
	}
	return min(l.most, ((p.width+patch-1)/patch)*((p.height+patch-1)/patch))
}

// imagePrefix is how many bytes of an image's base64 are searched for its size, which a JPEG has after its metadata.
const imagePrefix = 256 << 10

// measureImage reads an image's size off its first bytes. Encoded is base64 as it stands in a JSON string.
func measureImage(encoded []byte) pixels {
	text := unescape(encoded, imagePrefix)
	if p, ok := measureWebP(decode(text[:min(len(text), 40)])); ok {
		return p
	}
	config, _, err := image.DecodeConfig(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text)))
	if err != nil {
		return pixels{}
	}
	return pixels{width: int64(config.Width), height: int64(config.Height)}
}

// measureWebP reads the size off the first 30 bytes of a WebP (RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1).
func measureWebP(head []byte) (pixels, bool) {
	if len(head) < 30 || string(head[:4]) != "RIFF" || string(head[8:12]) != "WEBP" {
		return pixels{}, false
	}
	uint24 := func(b []byte) int64 { return int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 }
	switch chunk := head[20:]; string(head[12:16]) {
	case "VP8 ": // lossy: 3 bytes of frame tag, 3 of start code, and 14 bits each beside 2 of scaling
		if string(chunk[3:6]) != "\x9d\x01\x2a" {
			return pixels{}, true
		}
		return pixels{
			width:  int64(binary.LittleEndian.Uint16(chunk[6:]) & 0x3fff),
			height: int64(binary.LittleEndian.Uint16(chunk[8:]) & 0x3fff),
		}, true
	case "VP8L": // lossless: a signature, and 14 bits each of the size less 1
		if chunk[0] != 0x2f {
			return pixels{}, true
		}
		bits := binary.LittleEndian.Uint32(chunk[1:])
		return pixels{width: int64(bits&0x3fff) + 1, height: int64(bits>>14&0x3fff) + 1}, true
	case "VP8X": // extended: 4 bytes of flags, and 24 bits each of the canvas less 1
		return pixels{width: uint24(chunk[4:]) + 1, height: uint24(chunk[7:]) + 1}, true
	}
	return pixels{}, true
}

const (
	// pageTokens is what a page of a PDF costs, its image and its text together: the API's documentation ("PDF
	// support") has 7,000 tokens for 3 pages. Scans cost 1,600, dense tables 2,500 (measured by others on 4.5 and 5.5
	// models, huggingface.co/datasets/JOHNISKING/pdf-token-cost). Only an assumption, as are the next two.
	pageTokens = 2300
	// pageBytes is how large a page is in a PDF that does not tell its number of pages: between the 8 kB of typeset
	// text (measured on the two in Debian's packages libtasn1-doc and shared-mime-info) and the 100 kB of a scan.
	pageBytes = 25_000
	// remotePages is the length of a document that is not in the request.
	remotePages = 10
	// maxPages is the API's limit for a document.
	maxPages = 600

	// The number of pages stands near the start or the end: that much base64 is searched for it.
	documentPrefix = 256 << 10
	documentSuffix = 64 << 10
)

// documentTokens estimates what a PDF costs. Encoded is base64 as it stands in a JSON string, nil when the document is
// not in the request.
func documentTokens(encoded []byte) int64 {
	if encoded == nil {
		return remotePages * pageTokens
	}
	text := unescape(encoded, documentPrefix)
	pages := countPages(decode(text))
	if rest := encoded[min(len(text), len(encoded)):]; pages == 0 && len(rest) > 0 {
		// Whole groups of 4 characters, as far as none is escaped; otherwise it decodes to nothing of use.
		rest = rest[max(0, len(rest)-documentSuffix)&^3:]
		pages = countPages(decode(rest))
	}
	if pages == 0 {
		pages = 1 + int64(base64.StdEncoding.DecodedLen(len(encoded)))/pageBytes
	}
	return min(pages, maxPages) * pageTokens
}

// countPages returns the number of pages that the dictionaries in a part of a PDF tell: /N of a linearized one, /Count
// of a page tree's root, which has the largest of its nodes (ISO 32000-1, 7.7.3.2 and annex F). It is 0 when none
// does, as in files that compress their dictionaries.
func countPages(pdf []byte) (most int64) {
	for found := true; found; {
		var dictionary []byte
		dictionary, pdf, found = bytes.Cut(pdf, []byte("<<"))
		dictionary, _, _ = bytes.Cut(dictionary, []byte(">>"))
		switch {
		case bytes.Contains(dictionary, []byte("/Linearized")):
			most = max(most, numberAfter(dictionary, "/N"))
		case bytes.Contains(dictionary, []byte("/Pages")):
			most = max(most, numberAfter(dictionary, "/Count"))
		}
	}
	return most
}

// numberAfter returns the number that follows a key, 0 when none does.
func numberAfter(dictionary []byte, key string) (n int64) {
	_, value, _ := bytes.Cut(dictionary, []byte(key))
	for _, digit := range bytes.TrimLeft(value, " \t\r\n") {
		if digit < '0' || digit > '9' || n > maxPages {
			break
		}
		n = 10*n + int64(digit-'0')
	}
	return n
}

// unescape returns at most the given number of bytes of a JSON string without its quotes: base64 has nothing to escape,
// but some serializers escape its slashes and pluses, and some break it into lines.
func unescape(text []byte, most int) []byte {
	text = text[:min(len(text), most)]
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	// What comes before its error, an end without a quote or amid an escape, is good.
	unquoted, _ := jsontext.AppendUnquote(nil, append([]byte{'"'}, text...))
	return unquoted
}

// decode returns what base64 says, as far as it is base64.
func decode(text []byte) []byte {
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, _ := base64.StdEncoding.Decode(raw, text)
	return raw[:n]
}

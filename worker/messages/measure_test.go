package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The models of both limits.
const (
	oldModel = "claude-haiku-4-5-20251001"
	newModel = "claude-opus-4-7"
)

func encode(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

// draw returns an image's file.
func draw(tb testing.TB, write func(*bytes.Buffer, image.Image) error, width, height int) []byte {
	tb.Helper()
	var b bytes.Buffer
	picture := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.Transparent})
	if err := write(&b, picture); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(b *bytes.Buffer, i image.Image) error  { return png.Encode(b, i) }
func asGIF(b *bytes.Buffer, i image.Image) error  { return gif.Encode(b, i, nil) }
func asJPEG(b *bytes.Buffer, i image.Image) error { return jpeg.Encode(b, i, nil) }

// withMetadata puts so many bytes of application segments before all else in a JPEG.
func withMetadata(file []byte, size int) []byte {
	out := slices.Clone(file[:2])
	for ; size > 0; size -= 60_000 {
		out = append(out, 0xff, 0xe1, 60_000>>8, 60_000&0xff)
		out = append(out, make([]byte, 60_000-2)...)
	}
	return append(out, file[2:]...)
}

func TestMeasureImage(t *testing.T) {
	t.Parallel()
	jpg := draw(t, asJPEG, 400, 300)
	for name, row := range map[string]struct {
		data string
		want pixels
	}{
		"png":                     {encode(draw(t, asPNG, 300, 200)), pixels{300, 200}},
		"gif":                     {encode(draw(t, asGIF, 31, 1)), pixels{31, 1}},
		"jpeg":                    {encode(jpg), pixels{400, 300}},
		"jpeg after metadata":     {encode(withMetadata(jpg, 130_000)), pixels{400, 300}},
		"jpeg after too much":     {encode(withMetadata(jpg, 300_000)), pixels{}},
		"webp lossy":              {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00\x30\x01\x00\x9d\x01\x2a\x40\x01\xf0\x40")), pixels{320, 240}},
		"webp lossless":           {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP8L\x18\x00\x00\x00\x2f\x3f\xc1\x3b\x00\x00\x00\x00\x00\x00")), pixels{320, 240}},
		"webp extended":           {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\x3f\x01\x00\xef\x00\x00")), pixels{320, 240}},
		"webp of another kind":    {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP9 \x0a\x00\x00\x00\x10\x00\x00\x00\x3f\x01\x00\xef\x00\x00")), pixels{}},
		"webp without start code": {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00\x30\x01\x00\x00\x00\x00\x40\x01\xf0\x00")), pixels{}},
		"webp without signature":  {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP8L\x18\x00\x00\x00\x00\x3f\xc1\x3b\x00\x00\x00\x00\x00\x00")), pixels{}},
		"cut amid an escape":      {encode(jpg) + strings.Repeat(`\u002b`, 50_000), pixels{400, 300}},
		"webp cut":                {encode([]byte("RIFF\x24\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00")), pixels{}},
		"cut after the size":      {encode(jpg)[:1200], pixels{400, 300}},
		"cut before the size":     {encode(jpg)[:40], pixels{}},
		"escaped as PHP does":     {strings.ReplaceAll(encode(jpg), `/`, `\/`), pixels{400, 300}},
		"escaped as .NET does":    {strings.ReplaceAll(encode(jpg), `+`, `\u002B`), pixels{400, 300}},
		"in lines":                {strings.ReplaceAll(encode(jpg), `AQEB`, `AQ\r\nEB`), pixels{400, 300}},
		"not base64":              {"%%%", pixels{}},
		"not an image":            {encode([]byte("%PDF-1.7")), pixels{}},
		"empty":                   {"", pixels{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := measureImage([]byte(row.data)); got != row.want {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
}

func TestImageTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		size     pixels
		old, new int64
	}{
		{"one pixel", pixels{1, 1}, 1, 1},
		{"a patch", pixels{28, 28}, 1, 1},
		{"a pixel more", pixels{29, 28}, 2, 2},
		{"a screenshot", pixels{1366, 639}, 49 * 23, 49 * 23},
		{"over the old limit", pixels{1500, 1500}, 1568, 54 * 54},
		{"over both", pixels{8000, 8000}, 1568, 4784},
		{"a strip, scaled down", pixels{10_000, 100}, 56 * 1, 92 * 1},
		{"a line", pixels{1, 1 << 31}, 56, 92},
		{"unknown", pixels{}, 1568, 4784},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := imageLimitOf(oldModel).tokens(row.size); got != row.old {
				t.Errorf("%s: %d, want %d", oldModel, got, row.old)
			}
			if got := imageLimitOf(newModel).tokens(row.size); got != row.new {
				t.Errorf("%s: %d, want %d", newModel, got, row.new)
			}
		})
	}
}

func TestImageLimitOf(t *testing.T) {
	t.Parallel()
	for most, models := range map[int64][]string{
		1568: {
			"claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5", oldModel, "claude-opus-4-20250514",
			"claude-3-5-sonnet-20241022", "claude-3-opus-20240229", "anthropic/claude-opus-4.6",
			"us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4@20250514",
		},
		4784: {
			newModel, "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-5-5", "claude-opus-5-20270101",
			"anthropic/claude-opus-4.7", "claude-opus-4-10", "claude-mythos-preview", "llava", "",
		},
	} {
		for _, model := range models {
			if got := imageLimitOf(model).most; got != most {
				t.Errorf("%q: %d, want %d", model, got, most)
			}
		}
	}
}

func TestDocumentTokens(t *testing.T) {
	t.Parallel()
	var noise [1_500_000]byte
	rand.NewChaCha8([32]byte{}).Read(noise[:])
	pdf := func(parts ...string) []byte { return []byte("%PDF-1.7\n" + strings.Join(parts, "")) }
	const tree = "2 0 obj <</Type /Pages /Kids [3 0 R]\n/Count 12>> endobj\n"
	random := string(noise[:])
	for name, row := range map[string]struct {
		data  []byte
		pages int64
	}{
		"page tree at the start":     {[]byte(encode(pdf(tree, random))), 12},
		"page tree at the end":       {[]byte(encode(pdf(random, tree))), 12},
		"root and a node":            {[]byte(encode(pdf("<</Type/Pages/Count 5/Parent 1 0 R>>", tree))), 12},
		"root before a node":         {[]byte(encode(pdf(tree, "<</Type/Pages/Count 5/Parent 1 0 R>>"))), 12},
		"without padding":            {[]byte(strings.TrimRight(encode(pdf(random, tree+"  ")), "=")), 12},
		"linearized":                 {[]byte(encode(pdf("<</Linearized 1/L 99/H [ 1 2 ]/O 7/E 9/N 31/T 8>>", random))), 31},
		"an outline's count":         {[]byte(encode(pdf("<</Type/Outlines/Count 99>>"))), 1},
		"dictionaries compressed":    {[]byte(encode(pdf(random))), 61},
		"more pages than can be":     {[]byte(encode(pdf("<</Type /Pages /Count 18446744073709551617>>"))), maxPages},
		"larger than can be":         {[]byte(encode(make([]byte, 24_000_000))), maxPages},
		"negative":                   {[]byte(encode(pdf("<</Type /Pages /Count -3>>"))), 1},
		"slashes escaped":            {[]byte(strings.ReplaceAll(encode(pdf(tree, random)), "/", `\/`)), 12},
		"not a PDF":                  {[]byte("????"), 1},
		"empty":                      {[]byte{}, 1},
		"not in the request":         {nil, remotePages},
		"ends amid a dictionary":     {[]byte(encode(pdf("<</Type /Pages /Count"))), 1},
		"ends amid a number":         {[]byte(encode(pdf("<</Type /Pages /Count 4"))), 4},
		"page tree amid much of it":  {[]byte(encode(pdf(random[:700_000], tree, random[:700_000]))), 57},
		"a page tree in two updates": {[]byte(encode(pdf(tree, random, strings.Replace(tree, "12", "14", 1)))), 12},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := documentTokens(row.data); got != row.pages*pageTokens {
				t.Errorf("%d tokens, which are %d pages; want %d", got, got/pageTokens, row.pages)
			}
		})
	}
}

// asked returns a request with the given content of its message.
func asked(content string) string {
	return `{"messages":[{"role":"user","content":` + content + `}],"max_tokens":9,"model":"` + oldModel + `"}`
}

// What is measured is media by the tokens they cost, and all other bytes as text.
func TestMeasure(t *testing.T) {
	t.Parallel()
	data := encode(draw(t, asPNG, 280, 56)) // 20 tokens
	picture := `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + data + `"}}`
	paper := encode([]byte("%PDF-1.4 <</Type/Pages/Count 3>>"))
	pdf := `{"title":"t","source":{"data":"` + paper + `","type":"base64"},"type":"document"}`
	const remote = `{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}`
	nested := func(levels int) string {
		return strings.Repeat(`[{"type":"tool_result","content":`, levels) + "[" + picture + "]" + strings.Repeat("}]", levels)
	}
	for name, row := range map[string]struct {
		body    string
		encoded int // bytes that are not text
		media   int64
	}{
		"text":              {asked(`"hello"`), 0, 0},
		"text of images":    {asked(`[{"type":"text","text":"an \"image\" of no \"source\""}]`), 0, 0},
		"image":             {asked(`[` + picture + `,{"type":"text","text":"what is it?"}]`), len(data), 20},
		"two":               {asked(`[` + picture + `,` + picture + `]`), 2 * len(data), 40},
		"url":               {asked(`[` + remote + `]`), 0, 1568},
		"file":              {asked(`[{"type":"image","source":{"type":"file","file_id":"f"}}]`), 0, 1568},
		"unreadable":        {asked(`[{"type":"image","source":{"type":"base64","data":"aaaa"}}]`), 4, 1568},
		"model first":       {`{"model":"` + newModel + `",` + strings.TrimPrefix(asked("["+remote+"]"), "{"), 0, 1568}, // the last one counts
		"newer model":       {strings.Replace(asked(`[`+remote+`]`), oldModel, newModel, 1), 0, 4784},
		"no model":          {`{"messages":[{"content":[` + remote + `]}]}`, 0, 4784},
		"model no text":     {`{"model":{"a":1},"messages":[{"content":[` + remote + `]}]}`, 0, 4784},
		"with space":        {strings.ReplaceAll(asked(`[`+picture+`]`), `:`, " :\n "), len(data), 20},
		"PDF":               {asked(`[` + pdf + `]`), len(paper), 3 * pageTokens},
		"PDF and image":     {asked(`[` + pdf + `,` + picture + `]`), len(paper) + len(data), 3*pageTokens + 20},
		"PDF elsewhere":     {asked(`[{"type":"document","source":{"type":"url","url":"u"}}]`), 0, remotePages * pageTokens},
		"text document":     {asked(`[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"aaaaaaaa"}}]`), 0, 0},
		"content document":  {asked(`[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"t"},` + picture + `]}}]`), len(data), 20},
		"content of words":  {asked(`[{"type":"document","source":{"type":"content","content":"words"}}]`), 0, 0},
		"tool's result":     {asked(`[{"type":"tool_result","tool_use_id":"t","content":[` + pdf + `,` + picture + `]}]`), len(paper) + len(data), 3*pageTokens + 20},
		"fetched document":  {asked(`[{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":` + pdf + `}}]`), len(paper), 3 * pageTokens},
		"tool's input":      {asked(`[{"type":"tool_use","input":{"content":[` + picture + `]}}]`), 0, 0},
		"schema of images":  {`{"tools":[{"input_schema":{"enum":["image","source"],"content":[` + picture + `]}}],"messages":[]}`, 0, 0},
		"system":            {`{"model":"` + oldModel + `","system":[` + picture + `],"messages":[]}`, len(data), 20},
		"deep":              {asked(nested(maxContentDepth - 1)), len(data), 20},
		"too deep":          {asked(nested(maxContentDepth)), 0, 0},
		"no source":         {asked(`[{"type":"image","title":"source"}]`), 0, 0},
		"source no object":  {asked(`[{"type":"image","source":"base64"}]`), 0, 0},
		"data no text":      {asked(`[{"type":"image","source":{"type":"base64","data":[1]}}]`), 0, 1568},
		"source of no type": {asked(`[{"type":"image","source":{"data":"aaaa"}}]`), 0, 0},
		"other block":       {asked(`[{"type":"video","source":{"type":"base64","data":"aaaa"}},{"type":"image"}]`), 0, 0},
		"types no text":     {asked(`[{"type":["image"],"source":{"type":"base64","data":"aaaa"}}]`), 0, 0},
		"content one block": {asked(picture), len(data), 20},
		"source twice":      {asked(`[{"type":"image","source":{"type":"base64","data":"aaaaaaaa"},"source":{"type":"url"}}]`), 0, 1568},
		"data twice":        {asked(`[{"type":"image","source":{"data":"aaaaaaaa","type":"base64","data":"aaaa"}}]`), 4, 1568},
		"data twice, odd":   {asked(`[{"type":"image","source":{"type":"base64","data":"aaaaaaaa","data":1}}]`), 0, 1568},
		"source nested":     {asked(`[{"type":"image","source":{"type":"base64","data":"aaaa","content":[` + picture + `]}}]`), 4 + len(data), 1568 + 20},
		"odd elements":      {asked(`[1,null,"image",[` + picture + `],` + picture + `]`), len(data), 20},
		"odd messages":      {`{"messages":[1,[],{"content":7},"source"],"messages":{"content":"image"},"system":"source"}`, 0, 0},
		"escaped type":      {asked(`[` + picture + `,` + strings.Replace(picture, "base64", `base\u00364`, 1) + `]`), 2 * len(data), 40},

		"empty":            {"", 0, 0},
		"an array":         {`[` + asked(`[`+picture+`]`) + `]`, 0, 0},
		"a word":           {`"source"`, 0, 0},
		"cut":              {strings.TrimSuffix(asked(`[`+picture+`]`), "}"), 0, 0},
		"cut in an image":  {asked(`[` + picture + `]`)[:120], 0, 0},
		"more after it":    {asked(`[`+picture+`]`) + "{}", 0, 0},
		"rubbish after it": {asked(`[`+picture+`]`) + "]", 0, 0},
		"comma too many":   {asked(`[` + picture + `,]`), 0, 0},
		"no value":         {asked(`[{"type":"image","source":}]`), 0, 0},
		"wrong bracket":    {asked(`[` + picture + `}`), 0, 0},
		"deeper than JSON": {asked(`"source"`) + strings.Repeat("[", 100_000), 0, 0},
		"endless arrays":   {`{"messages":[{"content":["source",` + strings.Repeat("[", 100_000), 0, 0},
		"endless blocks":   {`{"model":"source","messages":[` + strings.Repeat(`{"content":[`, 100_000), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := Size{Text: len(row.body) - row.encoded, Media: row.media}
			if got := Measure([]byte(row.body)); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// Whatever the body, it stays as it is, no byte counts twice, and only JSON has media.
func FuzzMeasure(f *testing.F) {
	picture := draw(f, asJPEG, 30, 30)
	f.Add([]byte(asked(`[{"type":"image","source":{"type":"base64","data":"` + encode(picture) + `"}}]`)))
	f.Add([]byte(asked(`[{"type":"document","source":{"type":"base64","data":"` + encode([]byte("<</Linearized 1/N 3>>")) + `"}}]`)))
	f.Add([]byte(asked(`[{"type":"image","source":{"type":"base64","data":"` + encode([]byte("RIFF....WEBPVP8L....")) + `"}}]`)))
	f.Add([]byte(`{"system":[{"type":"image","source":{"type":"url"},"content":{"source":{"content":[{}]}}}]}`))
	f.Add([]byte(`{"messages":[{"content":"source"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		size := Measure(body)
		if !bytes.Equal(before, body) {
			t.Error("the body was changed")
		}
		if size.Text < 0 || size.Text > len(body) || size.Media < 0 {
			t.Errorf("%+v of %d bytes", size, len(body))
		}
		if size.Media == 0 && size.Text != len(body) {
			t.Errorf("bytes are lost: %+v of %d", size, len(body))
		}
		if whole := (Size{Text: len(body)}); size != whole && !json.Valid(body) {
			t.Errorf("%+v of broken JSON", size)
		}
	})
}

// FuzzMedia reaches the readers of images and documents without JSON and base64 in the way.
func FuzzMedia(f *testing.F) {
	f.Add(draw(f, asPNG, 3, 3))
	f.Add(draw(f, asGIF, 3, 3))
	f.Add(draw(f, asJPEG, 3, 3))
	f.Add([]byte("RIFF\x24\x00\x00\x00WEBPVP8L\x18\x00\x00\x00\x2f\x3f\xc1\x3b\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("%PDF-1.4 <</Type/Pages/Count 3>>"))
	f.Fuzz(func(t *testing.T, file []byte) {
		data := []byte(encode(file))
		p := measureImage(data)
		if n := imageLimitOf("").tokens(p); n < 1 || n > 4784 {
			t.Errorf("%d tokens for %+v", n, p)
		}
		if n := documentTokens(data); n < pageTokens || n > maxPages*pageTokens {
			t.Errorf("%d tokens for a document", n)
		}
	})
}

func BenchmarkMeasure(b *testing.B) {
	random := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	jpg := append(draw(b, asJPEG, 1000, 1000), random...)
	pdf := append([]byte("%PDF-1.7 "), random...)
	for name, body := range map[string]string{
		"text-2KB":  asked(`"` + strings.Repeat("lorem ipsum ", 170) + `"`),
		"image-1MB": asked(`[{"type":"image","source":{"type":"base64","data":"` + encode(jpg) + `"}}]`),
		"PDF-1MB":   asked(`[{"type":"document","source":{"type":"base64","data":"` + encode(pdf) + `"}}]`),
	} {
		b.Run(name, func(b *testing.B) {
			request := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				Measure(request)
			}
		})
	}
}

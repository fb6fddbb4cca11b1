package parquetio

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

var errShort = errors.New("a column ends before its rows do")

// column goes through the entries of a leaf column in a row group: each has a repetition level, a definition level
// and, when that is the highest, a value. The first error sticks; after it, as at the end, every entry is a null
// that repeats nothing.
type column struct {
	leaf  *leafColumn
	pages pages
	// left counts the chunk's entries that are not loaded yet, inPage those of them in the current page.
	left, inPage int64
	reps, defs   levels
	decoder      decoder
	dictionary   []value
	dictBuffer   pageBuffer
	pageBuffer   pageBuffer
	// The current entry.
	loaded   bool
	rep, def int
	value    value
	err      error
}

// open goes to the start of a chunk.
func (c *column) open(file io.ReaderAt, at *chunk) error {
	if at.physical != c.leaf.physical {
		return errors.New("its type differs from the schema's")
	}
	c.pages.file, c.pages.at, c.pages.end, c.pages.codec = file, at.start(), at.start()+at.bytes, at.codec
	c.left, c.inPage, c.loaded, c.dictionary = at.values, 0, false, nil
	return nil
}

// peek loads the next entry's levels, if there is an entry.
func (c *column) peek() bool {
	if c.loaded {
		return true
	}
	return c.load()
}

func (c *column) load() bool {
	c.rep, c.def = 0, 0
	for c.inPage == 0 {
		if c.err != nil || c.left == 0 {
			return false
		}
		h, err := c.pages.header()
		if err == nil {
			err = c.enter(&h)
		}
		if err != nil {
			c.err = err
			return false
		}
	}
	var err error
	if c.leaf.maxRep > 0 {
		if c.rep, err = c.reps.next(); err != nil {
			c.fail(err)
			return false
		}
	}
	if c.leaf.maxDef > 0 {
		if c.def, err = c.defs.next(); err != nil {
			c.fail(err)
			return false
		}
	}
	c.inPage--
	c.left--
	c.loaded = true
	return true
}

func (c *column) fail(err error) {
	c.err = err
	c.rep, c.def, c.inPage, c.left = 0, 0, 0, 0
}

// take reads the value of the entry that peek loaded, if it has one, and goes on to the next entry.
func (c *column) take() {
	c.loaded = false
	if c.def != c.leaf.maxDef || c.err != nil {
		return
	}
	if err := c.decoder.next(&c.value); err != nil {
		c.fail(err)
	}
}

// enter reads the page that h heads.
func (c *column) enter(h *pageHeader) error {
	switch h.kind {
	case format.DictionaryPage:
		return c.enterDictionary(h)
	case format.DataPage, format.DataPageV2:
	default:
		c.pages.at += h.packed
		return nil
	}
	if h.values > c.left {
		return fmt.Errorf("%w: it has more values than its column", errPage)
	}
	levels, data, err := c.pages.body(h, &c.pageBuffer)
	if err != nil {
		return err
	}
	var reps, defs []byte
	if h.kind == format.DataPageV2 {
		reps, defs = levels[:h.repLen], levels[h.repLen:]
	} else {
		if reps, data, err = cutLevels(data, c.leaf.maxRep, h.repEncoding); err != nil {
			return err
		}
		if defs, data, err = cutLevels(data, c.leaf.maxDef, h.defEncoding); err != nil {
			return err
		}
	}
	c.reps, c.defs = newLevels(reps, c.leaf.maxRep), newLevels(defs, c.leaf.maxDef)
	c.inPage = h.values
	c.decoder, err = c.leaf.newDecoder(h.encoding, data, c.dictionary)
	return err
}

func (c *column) enterDictionary(h *pageHeader) error {
	if c.dictionary != nil || h.encoding != format.Plain && h.encoding != plainDictionary {
		return fmt.Errorf("%w: its dictionary is impossible", errPage)
	}
	_, data, err := c.pages.body(h, &c.dictBuffer)
	if err != nil {
		return err
	}
	values := c.leaf.plain(data)
	c.dictionary = make([]value, h.values)
	for i := range c.dictionary {
		if err := values.next(&c.dictionary[i]); err != nil {
			return fmt.Errorf("%w: its dictionary is cut off", errPage)
		}
	}
	return nil
}

// skip goes over n rows, whole pages of them without unpacking.
func (c *column) skip(n int64) error {
	for n > 0 && c.err == nil {
		if c.inPage == 0 && !c.loaded && c.left > 0 {
			h, err := c.pages.header()
			if err != nil {
				return err
			}
			rows := int64(-1)
			switch {
			case h.kind == format.DataPageV2:
				rows = h.rows
			case h.kind == format.DataPage && c.leaf.maxRep == 0:
				rows = h.values
			}
			if rows >= 0 && rows <= n && h.values <= c.left {
				c.pages.at += h.packed
				c.left -= h.values
				n -= rows
				continue
			}
			if err := c.enter(&h); err != nil {
				return err
			}
			continue
		}
		if !c.peek() {
			break
		}
		c.take()
		for c.leaf.maxRep > 0 && c.peek() && c.rep > 0 {
			c.take()
		}
		n--
	}
	if c.err == nil && n > 0 {
		return errShort
	}
	return c.err
}

package simulator

import (
	"hash/maphash"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	c := &promptCache{}
	prompt := func(key uint64) *prompt {
		return &prompt{bytes: 4 * 2000, places: []place{{key: key, tokens: 2000, ttl: time.Hour}}, hash: new(maphash.Hash)}
	}
	for key := range uint64(cacheEntries) {
		c.learn(prompt(key), 0, began)
	}
	c.usage(prompt(0), 0, began)            // used again
	c.learn(prompt(cacheEntries), 0, began) // one too many: 1 goes
	if n := len(c.byKey); n != cacheEntries || c.recency.Len() != n {
		t.Errorf("%d entries, %d in order; want %d", n, c.recency.Len(), cacheEntries)
	}
	for key, want := range map[uint64]int{0: 2000, 1: 0, 2: 2000} {
		if got := c.usage(prompt(key), 0, began).cacheRead; got != want {
			t.Errorf("prefix %d: %d tokens read, want %d", key, got, want)
		}
	}
}

// The service finds a prefix up to 20 blocks before a breakpoint, and not further back.
func TestCacheLooksBack(t *testing.T) {
	t.Parallel()
	blocks := func(n int) *prompt {
		p := &prompt{hash: new(maphash.Hash)}
		for i := range n {
			p.places = append(p.places, place{key: uint64(i), tokens: 100 * (i + 1)})
		}
		p.bytes = 4 * 100 * n
		p.places[n-1].ttl = 5 * time.Minute
		return p
	}
	for _, test := range []struct {
		name string
		more int
		want usage
	}{
		{"the same", 0, usage{cacheRead: 500}},
		{"19 blocks more", 19, usage{cacheRead: 500, cacheWrite5m: 1900}},
		{"20 blocks more", 20, usage{cacheWrite5m: 2500}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &promptCache{}
			c.learn(blocks(5), 0, began)
			got := c.usage(blocks(5+test.more), 0, began)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(usage{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A read prolongs an entry also when it lies before the breakpoint that asks for it.
func TestCacheReadProlongs(t *testing.T) {
	t.Parallel()
	known := &prompt{bytes: 4000, places: []place{{key: 1, tokens: 1000, ttl: 5 * time.Minute}}, hash: new(maphash.Hash)}
	longer := &prompt{bytes: 8000, places: []place{{key: 1, tokens: 1000}, {key: 2, tokens: 2000, ttl: 5 * time.Minute}}, hash: new(maphash.Hash)}
	c := &promptCache{}
	c.learn(known, 0, began)
	c.usage(longer, 0, began.Add(4*time.Minute))
	if got := c.usage(known, 0, began.Add(8*time.Minute)); got.cacheRead != 1000 {
		t.Errorf("got %+v", got)
	}
}

func TestSchemaCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c schemaCache
	for i := range 3*cachedSchemas + 1 {
		c.compiled(`{"const":` + strconv.Itoa(i) + `}`)
	}
	kept := 0
	c.byText.Range(func(_, _ any) bool { kept++; return true })
	if kept == 0 || kept > cachedSchemas {
		t.Errorf("%d schemas are kept", kept)
	}
	text := `{"const":0}`
	if first, again := c.compiled(text), c.compiled(text); first != again {
		t.Error("the same schema is compiled twice")
	}
}

package simulator

import (
	"container/list"
	"sync"
	"time"
)

// usage is what a message's usage says, in tokens.
type usage struct {
	input, cacheRead, cacheWrite5m, cacheWrite1h, output, thinking int
}

// charged is what counts against the limit of input tokens: reads from the cache are free.
func (u usage) charged() int { return u.input + u.cacheWrite5m + u.cacheWrite1h }

const (
	// cacheEntries bounds the prompt cache; the service bounds its own by time alone.
	cacheEntries = 4096
	// lookback is how many blocks before a breakpoint the service searches for a known prefix.
	lookback = 20
)

// promptCache knows the prefixes of earlier requests: bounded, the least recently used goes first.
type promptCache struct {
	mu      sync.Mutex
	byKey   map[uint64]*list.Element
	recency list.List // of *cached, newest first
}

type cached struct {
	key     uint64
	ttl     time.Duration
	expires time.Time
}

// usage splits a prompt's tokens into what the cache has, what it will be told, and the rest.
func (c *promptCache) usage(p *prompt, shortest int, now time.Time) usage {
	total := p.input()
	last := -1
	for i, at := range p.places {
		if at.ttl > 0 {
			last = i
		}
	}
	if last < 0 {
		return usage{input: total}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u := usage{}
	for i := last; i >= 0 && u.cacheRead == 0; i-- {
		if p.places[i].ttl == 0 {
			continue
		}
		for j := i; j >= 0 && j > i-lookback; j-- {
			if c.touch(p.places[j].key, now) {
				u.cacheRead = p.places[j].tokens
				break
			}
		}
	}
	known := u.cacheRead
	for _, at := range p.places[:last+1] {
		if at.ttl == 0 || at.tokens <= known || at.tokens < shortest {
			continue
		}
		if at.ttl == time.Hour {
			u.cacheWrite1h += at.tokens - known
		} else {
			u.cacheWrite5m += at.tokens - known
		}
		known = at.tokens
	}
	u.input = total - known
	return u
}

// touch reports whether a prefix is known, and prolongs it.
func (c *promptCache) touch(key uint64, now time.Time) bool {
	e, ok := c.byKey[key]
	if !ok {
		return false
	}
	entry := e.Value.(*cached)
	if !now.Before(entry.expires) {
		return false
	}
	entry.expires = now.Add(entry.ttl)
	c.recency.MoveToFront(e)
	return true
}

// learn makes a prompt's marked prefixes known: when its answer begins, so that requests sent side by side all pay.
func (c *promptCache) learn(p *prompt, shortest int, now time.Time) {
	if p.hash == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[uint64]*list.Element{}
	}
	for _, at := range p.places {
		if at.ttl == 0 || at.tokens < shortest {
			continue
		}
		if e, ok := c.byKey[at.key]; ok {
			entry := e.Value.(*cached)
			entry.ttl, entry.expires = at.ttl, now.Add(at.ttl)
			c.recency.MoveToFront(e)
			continue
		}
		c.byKey[at.key] = c.recency.PushFront(&cached{at.key, at.ttl, now.Add(at.ttl)})
		if c.recency.Len() > cacheEntries {
			oldest := c.recency.Remove(c.recency.Back()).(*cached)
			delete(c.byKey, oldest.key)
		}
	}
}

package ratelimit

import (
	"fmt"
	"testing"
)

func TestEstimator(t *testing.T) {
	t.Parallel()
	type usage struct {
		text                 int
		media, input, output int64
	}
	times := func(n int, u usage) (all []usage) {
		for range n {
			all = append(all, u)
		}
		return all
	}
	tests := map[string]struct {
		learned               []usage
		text                  int
		media, maxTokens      int64
		wantInput, wantOutput int64
	}{
		"nothing learned":              {nil, 4000, 0, 1000, 1000, 256},
		"nothing learned, short limit": {nil, 4000, 0, 20, 1000, 20},
		"nothing learned, no limit":    {nil, 0, 0, 0, 1, 256},
		"one call":                     {times(1, usage{1000, 0, 500, 40}), 2000, 0, 1000, 1000, 40},
		"mean weighs long bodies":      {[]usage{{100, 0, 100, 10}, {900, 0, 100, 30}}, 500, 0, 1000, 100, 20},
		"never over max_tokens":        {times(1, usage{1000, 0, 500, 4000}), 1000, 0, 100, 500, 100},
		"an empty answer":              {times(3, usage{1000, 0, 500, 0}), 1000, 0, 100, 500, 1},
		"impossible usage is ignored": {
			[]usage{{0, 0, 5, 5}, {10, 0, 0, 5}, {10, 0, 5, -1}, {10, -1, 5, 5}, {10, 1, 0, 5}}, 4000, 8, 1000, 1008, 256,
		},
		"follows a change":            {append(times(500, usage{1000, 0, 100, 10}), times(500, usage{1000, 0, 400, 90})...), 1000, 0, 1000, 400, 90},
		"one outlier moves it little": {append(times(500, usage{1000, 0, 100, 10}), usage{1000, 0, 5100, 510}), 1000, 0, 1000, 200, 20},

		"nothing learned of media":           {nil, 400, 1500, 1000, 1600, 256},
		"media beside text of a known ratio": {append(times(9, usage{1000, 0, 500, 40}), usage{1000, 1000, 2500, 40}), 100, 500, 1000, 1050, 40},
		"media alone teach":                  {times(9, usage{400, 1000, 1600, 40}), 400, 2000, 1000, 3100, 40},
		"media leave the ratio of text":      {append(times(9, usage{1000, 0, 500, 40}), times(99, usage{1000, 10, 9000, 40})...), 1000, 0, 1000, 500, 40},
		"output is of all calls":             {[]usage{{1000, 0, 500, 10}, {1000, 1000, 1500, 30}}, 1000, 0, 1000, 500, 20},
		"media cost at most 4 times":         {append(times(9, usage{1000, 0, 500, 40}), usage{1000, 100, 99_500, 40}), 1000, 1000, 1000, 4500, 40},
		"media cost at least a quarter":      {append(times(9, usage{1000, 0, 500, 40}), usage{1000, 1000, 20, 40}), 1000, 1000, 1000, 750, 40},
		"large media weigh more":             {[]usage{{400, 100, 100 + 200, 40}, {400, 900, 100 + 900, 40}}, 400, 1000, 1000, 100 + 1100, 40},
		"media follow a change": {
			append(times(500, usage{400, 1000, 1600, 40}), times(500, usage{400, 1000, 600, 40})...), 400, 1000, 1000, 600, 40,
		},

		// The system prompt is in the cache, which no limit counts, and no call is without an image.
		"a long text that costs nothing": {times(500, usage{100_000, 1000, 1100, 40}), 100_000, 1000, 1000, 1100, 40},
		"all that costs nothing":         {times(9, usage{1000, 1000, 20, 40}), 1000, 1000, 1000, 250, 40},
		"text of many tokens":            {times(500, usage{10_000, 100, 10_100, 40}), 10_000, 100, 1000, 10_100, 40},
		"calls without media correct what others told of text": {
			append(times(500, usage{100_000, 1000, 1100, 40}), usage{1000, 0, 500, 40}), 1000, 0, 1000, 500, 40,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e Estimator
			for _, u := range tt.learned {
				e.Learn(u.text, u.media, u.input, u.output)
			}
			input, output := e.Estimate(tt.text, tt.media, tt.maxTokens)
			if input-tt.wantInput > 1 || tt.wantInput > input || output-tt.wantOutput > 1 || tt.wantOutput > output {
				t.Errorf("%d in, %d out; want %d and %d", input, output, tt.wantInput, tt.wantOutput)
			}
		})
	}
}

func ExampleEstimator() {
	var e Estimator
	e.Learn(4000, 0, 1200, 50)    // text alone
	e.Learn(1000, 1500, 2100, 70) // with an image that was thought to cost 1500 tokens, and cost 1800
	fmt.Println(e.Estimate(2000, 500, 1024))
	// Output: 1200 60
}

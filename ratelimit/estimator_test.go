package ratelimit

import "testing"

func TestEstimator(t *testing.T) {
	t.Parallel()
	type usage struct {
		bytes         int
		input, output int64
	}
	times := func(n int, u usage) (all []usage) {
		for range n {
			all = append(all, u)
		}
		return all
	}
	tests := map[string]struct {
		learned               []usage
		bytes                 int
		maxTokens             int64
		wantInput, wantOutput int64
	}{
		"nothing learned":              {nil, 4000, 1000, 1000, 256},
		"nothing learned, short limit": {nil, 4000, 20, 1000, 20},
		"nothing learned, no limit":    {nil, 0, 0, 1, 256},
		"one call":                     {times(1, usage{1000, 500, 40}), 2000, 1000, 1000, 40},
		"mean weighs long bodies":      {[]usage{{100, 100, 10}, {900, 100, 30}}, 500, 1000, 100, 20},
		"never over max_tokens":        {times(1, usage{1000, 500, 4000}), 1000, 100, 500, 100},
		"an empty answer":              {times(3, usage{1000, 500, 0}), 1000, 100, 500, 1},
		"impossible usage is ignored":  {[]usage{{0, 5, 5}, {10, 0, 5}, {10, 5, -1}}, 4000, 1000, 1000, 256},
		"follows a change":             {append(times(500, usage{1000, 100, 10}), times(500, usage{1000, 400, 90})...), 1000, 1000, 400, 90},
		"one outlier moves it little":  {append(times(500, usage{1000, 100, 10}), usage{1000, 5100, 510}), 1000, 1000, 200, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e Estimator
			for _, u := range tt.learned {
				e.Learn(u.bytes, u.input, u.output)
			}
			input, output := e.Estimate(tt.bytes, tt.maxTokens)
			if input-tt.wantInput > 1 || tt.wantInput > input || output-tt.wantOutput > 1 || tt.wantOutput > output {
				t.Errorf("%d in, %d out; want %d and %d", input, output, tt.wantInput, tt.wantOutput)
			}
		})
	}
}

package ratelimit_test

import (
	"context"
	"fmt"

	"github.com/batchwright/batchwright/ratelimit"
)

func Example() {
	limiter := ratelimit.New(ratelimit.Limits{Concurrency: 64, RequestsPerMinute: 4000, InputTokensPerMinute: 2_000_000})
	var estimator ratelimit.Estimator

	body := []byte(`{"model": "claude-haiku-4-5-20251001", "max_tokens": 200, "messages": []}`)
	input, output := estimator.Estimate(len(body), 200)
	permit, err := limiter.Admit(context.Background(), ratelimit.Cost{Requests: 1, Input: input, Output: output})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The call is made here, and answers with its usage.
	permit.Settle(ratelimit.Cost{Requests: 1, Input: 31, Output: 17})
	estimator.Learn(len(body), 31, 17)

	fmt.Println(limiter.State().InFlight)
	fmt.Println(estimator.Estimate(len(body), 200))
	// Output:
	// 0
	// 31 17
}

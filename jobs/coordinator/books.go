package coordinator

import (
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// worstCase is the most that one answer to a request can cost: each byte of it a token, and max_tokens of output.
// It is 0 without a budget.
func (r *Run) worstCase(body []byte) jobs.Nanodollars {
	if r.job.Limits.Budget == 0 {
		return 0
	}
	fields := gjson.GetManyBytes(body, "model", "max_tokens")
	price, ok := jobs.PriceOf(fields[0].Str)
	if !ok {
		return r.job.Limits.Budget + 1
	}
	return price.Cost(jobs.Usage{CacheWrite1h: int64(len(body)), Output: fields[1].Int()}, true)
}

// affords reports whether the budget covers a further worst case. The caller holds the mutex.
func (r *Run) affords(worst jobs.Nanodollars) bool {
	budget := r.job.Limits.Budget
	return budget == 0 || r.tally.Cost+r.reserved+worst <= budget
}

func (r *Run) affordsNow(worst jobs.Nanodollars) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.affords(worst)
}

// overBudget says that the budget ends the run here. The caller holds the mutex.
func (r *Run) overBudget(c *chunk) string {
	return fmt.Sprintf("the budget of %s has no room for more: %s is spent and the next record may cost up to %s; "+
		"raise limits.budget_usd to go on", r.job.Limits.Budget, r.tally.Cost, c.worst)
}

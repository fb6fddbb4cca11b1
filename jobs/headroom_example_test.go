package jobs_test

import (
	"fmt"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

func ExampleHeadroom_At() {
	job, err := jobs.New(jobs.Options{
		Input: []string{"reviews.jsonl"}, Output: "out.jsonl", Model: "claude-haiku-4-5-20251001", Prompt: "Rate this: {{.text}}",
		Set: []string{`limits.headroom={default: 10%, "Mon-Fri 08:00-18:00 Europe/Berlin": 60%}`},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	monday := time.Date(2026, time.November, 23, 16, 0, 0, 0, time.UTC)
	fmt.Println(job.Limits.Headroom)
	fmt.Println(job.Limits.Headroom.At(monday), job.Limits.Headroom.At(monday.Add(time.Hour)))
	// Output:
	// 10%, 60% Mon-Fri 08:00-18:00 Europe/Berlin
	// 0.6 0.1
}

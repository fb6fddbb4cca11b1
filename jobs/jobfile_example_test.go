package jobs_test

import (
	"fmt"

	"github.com/batchwright/batchwright/jobs"
)

func ExampleLoad() {
	job, err := jobs.Load("testdata/jobfile_full.yaml", jobs.Options{
		Vars: map[string]string{"date": "2026-11-22"},
		Set:  []string{"limits.concurrency=8"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Name, job.Limits.Concurrency)
	// Output: tickets-2026-11-22 8
}

// Without what a job needs, the error says what to add.
func ExampleNew() {
	_, err := jobs.New(jobs.Options{Input: []string{"reviews.jsonl"}, Prompt: "Rate this: {{.text}}"})
	fmt.Println(err)
	// Output:
	// no output was given; add -o FILE, such as -o out.jsonl
	// the request has no model; add --model NAME
}

package coordinator

import (
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// Forecast is what a job is expected to take. It is made of the input's first records and of earlier tries.
type Forecast struct {
	// Records are counted for typed input and estimated from the size of the files else.
	Records int64
	Exact   bool
	// Input and Output are tokens: input from the size of the requests, output from what tries gave, else a guess.
	Input, Output int64
	// OutputKnown is set when tries show how long answers are.
	OutputKnown bool
	// Cost is that of Input and Output, Most what it can come to if every answer is as long as max_tokens allows.
	Cost, Most jobs.Nanodollars
	Priced     bool
	// Time is the shortest that the job's own rate limits and its concurrency allow; 0 when nothing says.
	Time time.Duration
}

// Assumptions of a forecast until tries know better.
const (
	bytesPerToken = 4
	guessedOutput = 200
	guessedCall   = 2 * time.Second
)

func (f Forecast) String() string {
	exact := "about "
	if f.Exact {
		exact = ""
	}
	return fmt.Sprintf("%s%d records, %d tokens in, %d out, at most %s", exact, f.Records, f.Input, f.Output, f.Most)
}

// Forecast says what the rest of the run is expected to take.
func (r *Run) Forecast() Forecast {
	f := r.input.Forecast(r.job, r.tries)
	if done := r.tally.Done(); done > 0 && f.Records > 0 {
		left := float64(max(f.Records-done, 0)) / float64(f.Records)
		f.Records = int64(left * float64(f.Records))
		f.Input, f.Output = int64(left*float64(f.Input)), int64(left*float64(f.Output))
		f.Cost = jobs.Nanodollars(left * float64(f.Cost))
		f.Most = jobs.Nanodollars(left * float64(f.Most))
		f.Time = shortest(r.job.Limits, f, time.Now())
	}
	return f
}

// Forecast says what the job is expected to take, from the sample and what earlier tries were answered.
func (in *Input) Forecast(job *jobs.Job, tries map[jobs.Digest]jobs.Result) Forecast {
	f := Forecast{Priced: true}
	f.Records, f.Exact = in.count()
	var sampled, input, output, most int64
	var cost, mostCost jobs.Nanodollars
	tried, triedOutput := int64(0), int64(0)
	for _, result := range tries {
		if result.Usage.Output > 0 {
			tried++
			triedOutput += result.Usage.Output
		}
	}
	f.OutputKnown = tried > 0
	for i := range in.Sample {
		body, problem := in.body(job, &in.Sample[i])
		if problem != "" {
			continue
		}
		fields := gjson.GetManyBytes(body, "model", "max_tokens")
		usage := jobs.Usage{Input: int64(len(body))/bytesPerToken + 1, Output: min(guessedOutput, fields[1].Int())}
		if f.OutputKnown {
			usage.Output = triedOutput / tried
		}
		price, ok := jobs.PriceOf(fields[0].Str)
		f.Priced = f.Priced && ok
		sampled++
		input, output, most = input+usage.Input, output+usage.Output, most+fields[1].Int()
		cost += price.Cost(usage, false)
		usage.Output = fields[1].Int()
		mostCost += price.Cost(usage, false)
	}
	if sampled == 0 {
		return f
	}
	scale := float64(f.Records) / float64(sampled)
	f.Input, f.Output = int64(scale*float64(input)), int64(scale*float64(output))
	f.Cost, f.Most = jobs.Nanodollars(scale*float64(cost)), jobs.Nanodollars(scale*float64(mostCost))
	f.Time = shortest(job.Limits, f, time.Now())
	return f
}

// shortest is the time that limits allow for a forecast of what begins at from.
func shortest(limits jobs.Limits, f Forecast, from time.Time) time.Duration {
	var longest time.Duration
	for _, bound := range []struct{ amount, perMinute int64 }{
		{f.Records, limits.RequestsPerMinute},
		{f.Input, limits.InputTokensPerMinute},
		{f.Output, limits.OutputTokensPerMinute},
	} {
		if bound.perMinute > 0 {
			longest = max(longest, time.Duration(float64(bound.amount)/float64(bound.perMinute)*float64(time.Minute)))
		}
	}
	longest = limits.Headroom.Stretch(from, longest)
	if limits.Concurrency > 0 {
		longest = max(longest, time.Duration(f.Records)*guessedCall/time.Duration(limits.Concurrency))
	}
	return longest
}

// body renders a record's request, or says why there is none.
func (in *Input) body(job *jobs.Job, record *jobs.Record) ([]byte, string) {
	if record.Problem != "" {
		return nil, record.Problem
	}
	if problem := in.Layout.Check(record); problem != "" {
		return nil, problem
	}
	if in.Batches {
		return jobs.BatchRequest(record)
	}
	body, err := job.Request.Render(record)
	if err != nil {
		return nil, err.Error()
	}
	if len(body) > maxRequest {
		return nil, fmt.Sprintf("the request has %d bytes and the API takes %d", len(body), maxRequest)
	}
	return body, ""
}

// count is the number of records: exact where the files say it or the sample holds them all.
func (in *Input) count() (records int64, exact bool) {
	if in.Rows >= 0 {
		return in.Rows, true
	}
	if len(in.Sample) < sampleRecords {
		return int64(len(in.Sample)), true
	}
	var size int64
	for i := range in.Files {
		size += in.Files[i].Size
	}
	last := in.Sample[len(in.Sample)-1].Position
	if last.File == 0 && last.Offset > 0 && in.Files[0].Compression == "" {
		return size * last.Row / last.Offset, false
	}
	// Compressed text shrinks to about a quarter.
	return 4 * size * last.Row / max(last.Offset, 1), false
}

package coordinator_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/simulator"
)

func set(row []jobs.Member, name, value string) []jobs.Member {
	row = slices.Clone(row)
	for i := range row {
		if row[i].Name == name {
			row[i].Value = json.RawMessage(value)
		}
	}
	return row
}

// Whatever is done to the rows of a true output is found, with the record and the place.
func TestVerifyFindsRows(t *testing.T) {
	t.Parallel()
	type rows = [][]jobs.Member
	corruptions := []struct {
		name   string
		change func(rows) rows
		faults int64
		want   string // of the first problem; PLACE is the file and 5 the fifth row, as line or row
		text   bool   // does not fit a typed file
	}{
		{"row missing", func(r rows) rows { return slices.Delete(r, 4, 5) }, 1, "PLACE5: record 4 (id r4, IN:5): the row of a later record", false},
		{"rows missing", func(r rows) rows { return slices.Delete(r, 4, 24) }, 20, "PLACE5: record 4 (id r4, IN:5): the row of a later record", false},
		{"first row missing", func(r rows) rows { return r[1:] }, 1, "record 0 (id r0, IN:1): the row of a later record", false},
		{"last row missing", func(r rows) rows { return r[:len(r)-1] }, 1, "OUT: record 299 (id r299, IN:300): the record has no row", false},
		{"row doubled", func(r rows) rows { return slices.Insert(r, 4, r[3]) }, 1, "PLACE5: record 3 (id r3, IN:4): the record has another row", false},
		{"rows swapped", func(r rows) rows { r[4], r[5] = r[5], r[4]; return r }, 1, "PLACE5: record 4 (id r4, IN:5): the row of record 5 stands here", false},
		{"rows far apart swapped", func(r rows) rows { r[4], r[99] = r[99], r[4]; return r }, 2, "PLACE5: record 4 (id r4, IN:5): ", false},
		{"id changed", func(r rows) rows { r[4] = set(r[4], "id", `"r04"`); return r }, 1, `PLACE5: record 4 (id r4, IN:5): column "id" is not`, false},
		{"value changed", func(r rows) rows { r[4] = set(r[4], "text", `"x"`); return r }, 1, `PLACE5: record 4 (id r4, IN:5): column "text" is not`, false},
		{"value null", func(r rows) rows { r[4] = set(r[4], "text", `null`); return r }, 1, `PLACE5: record 4 (id r4, IN:5): column "text" is not`, false},
		{"all ids changed", func(r rows) rows {
			for i := range r {
				r[i] = set(r[i], "id", `"x"`)
			}
			return r
		}, 300, `record 0 (id r0, IN:1): column "id" is not`, false},
		{"foreign row at the end", func(r rows) rows { return append(r, set(r[4], "id", `"more"`)) }, 1, "PLACE301: the row is no record's", false},
		{"status nonsense", func(r rows) rows { r[4] = set(r[4], "_status", `"fine"`); return r }, 1, "PLACE5: record 4 (id r4, IN:5): _status is neither", false},
		{"status null", func(r rows) rows { r[4] = set(r[4], "_status", `null`); return r }, 1, "PLACE5: record 4 (id r4, IN:5): _status is neither", false},
		{"failed for no reason", func(r rows) rows { r[4] = set(r[4], "_status", `"failed"`); return r }, 1, "PLACE5: record 4 (id r4, IN:5): _reason is none", false},
		{"unknown reason", func(r rows) rows {
			r[4] = set(set(r[4], "_status", `"failed"`), "_reason", `"bored"`)
			return r
		}, 1, "PLACE5: record 4 (id r4, IN:5): _reason is none", false},
		{"succeeded for a reason", func(r rows) rows { r[4] = set(r[4], "_reason", `"refused"`); return r }, 1, "PLACE5: record 4 (id r4, IN:5): _reason is set", false},
		{"column missing", func(r rows) rows { r[4] = slices.Delete(slices.Clone(r[4]), 1, 2); return r }, 1, `PLACE5: record 4 (id r4, IN:5): the row has no column "text"`, true},
		{"answer missing", func(r rows) rows { r[4] = slices.Delete(slices.Clone(r[4]), 2, 3); return r }, 1, `PLACE5: record 4 (id r4, IN:5): the row has no column "response"`, true},
		{"foreign column", func(r rows) rows {
			r[4] = append(slices.Clone(r[4]), jobs.Member{Name: "x", Value: json.RawMessage("1")})
			return r
		}, 1, `PLACE5: record 4 (id r4, IN:5): the row has a column "x", which the record has not`, true},
		{"no rows", func(rows) rows { return nil }, 300, "OUT: record 0 (id r0, IN:1): the record has no row", false},
	}
	for _, output := range []string{"out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.Replace(textJob, "out.jsonl", output, 1))
			r.write("in.jsonl", lines(300))
			r.holdsG1(300)
			whole := r.read(output)
			for _, c := range corruptions {
				if c.text && output == "out.parquet" {
					continue
				}
				r.write(output, whole)
				r.rewrite(output, c.change(r.mustRows(output)))
				place := strings.NewReplacer("PLACE301", "OUT:301", "PLACE5", "OUT:5")
				if output == "out.parquet" {
					place = strings.NewReplacer("PLACE301", "OUT row 300", "PLACE5", "OUT row 4")
				}
				want := strings.NewReplacer("OUT", filepath.Join(r.dir, output), "IN", filepath.Join(r.dir, "in.jsonl")).Replace(place.Replace(c.want))
				found := r.verify()
				if first := append(found.Problems, coordinator.Problem{})[0].String(); found.OK() || found.Faults != c.faults || int64(len(found.Problems)) != min(c.faults, 20) || !strings.Contains(first, want) {
					t.Errorf("%s: %d faults, first %s\nwant %d, first %s", c.name, found.Faults, first, c.faults, want)
				}
			}
			r.write(output, whole)
			if found := r.verify(); !found.OK() {
				t.Errorf("put back as it was: %v", found.Problems)
			}
		})
	}
}

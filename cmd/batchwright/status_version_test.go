package main

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// A run that another version began, or whose keys are damaged, is listed as such and hides no other run.
func TestStatusOfOtherVersions(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	rdb, ctx := server.Client, t.Context()
	env := []string{"BATCHWRIGHT_REDIS=redis://" + server.Addr, "BATCHWRIGHT_STATE=" + t.TempDir()}
	owner, err := courier.Own(ctx, rdb, "readable", 0, courier.OwnerOptions{Terms: courier.Terms{BaseURL: "http://api"}})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(ctx)
	for run, keys := range map[string]map[string]string{
		"later":   {"terms": `{"version":99}`, "owner": "1:x", "status": `{"version":"ninety"}`},
		"damaged": {"terms": `{`, "owner": "1:x"},
		"mixed":   {"terms": rdb.Get(ctx, "bw:{readable}:terms").Val(), "owner": "1:x", "status": `{"version":99,"done":"all"}`},
	} {
		for key, value := range keys {
			if err := rdb.Set(ctx, "bw:{"+run+"}:"+key, value, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := rdb.ZAdd(ctx, "bw:runs", redis.Z{Score: float64(time.Now().Unix()), Member: run}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := commandIn(t, env, "status")
	if err != nil || strings.Count(text, "another version of batchwright") != 3 || !strings.Contains(text, "readable") {
		t.Errorf("status: %v\n%s", err, text)
	}
	for _, run := range []string{"later", "damaged", "mixed"} {
		if line := seenStatus(t, env, run); line == nil || line.State != "unreadable" || line.RunID != run {
			t.Errorf("status of %s: %+v", run, line)
		}
		if out, err := commandIn(t, env, "pause", run); err == nil || !strings.Contains(err.Error(), "another version") {
			t.Errorf("pause %s: %v %s", run, err, out)
		}
		if rdb.Exists(ctx, "bw:{"+run+"}:control").Val() != 0 {
			t.Errorf("%s was told something", run)
		}
	}
}

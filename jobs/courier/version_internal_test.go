package courier

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// later is a version that this build does not know.
const later = formatVersion + 6

// What another version put into Redis is left as it is, neither taken nor failed nor deleted, while the run's own work
// passes it by.
func TestOtherVersionsAreLeft(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t)
	ctx, k := t.Context(), keys{"r1"}
	owner, err := Own(ctx, rdb, k.run, 0, OwnerOptions{Terms: Terms{BaseURL: "http://api", MaxAttempts: 8}})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(ctx)
	foreign := owner.Next()
	planted := map[string]any{
		k.handouts(): map[string]string{foreign.String(): "9 0-3\nwhat only a later version reads"},
		k.workers():  map[string]string{"w9": `{"version":9,"count":1,"held":[1]}`},
	}
	for key, fields := range planted {
		if err := rdb.HSet(ctx, key, fields).Err(); err != nil {
			t.Fatal(err)
		}
	}
	entry, err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: k.results(), Values: []any{batchField, "\x09results"}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	client := asynq.NewClientFromRedisClient(rdb)
	otherTask := asynq.NewTask(taskType, binary.BigEndian.AppendUint64([]byte{later}, 77))
	for id, task := range map[string]*asynq.Task{"foreign hand-out": newTask(foreign), "foreign task": otherTask} {
		if _, err := client.EnqueueContext(ctx, task, asynq.Queue(k.queue()), asynq.TaskID(id)); err != nil {
			t.Fatal(err)
		}
	}

	claimed := make(chan HandOut, 1)
	session, err := Join(ctx, rdb, k.run, SessionOptions{Worker: "w1", Poll: 5 * time.Millisecond, Serve: func(h HandOut) { claimed <- h }})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(ctx)
	// Asynq has tried both before the hand-out that comes after them is claimed.
	body := []byte(`{"record":4}`)
	own := owner.Next()
	request := jobs.Request{Record: 4, Digest: jobs.DigestOf(body), Body: body}
	if err := owner.HandOut(ctx, own, []jobs.Request{request}, New); err != nil {
		t.Fatal(err)
	}
	if h := <-claimed; h.Number != own {
		t.Fatalf("hand-out %d was claimed", h.Number)
	}
	session.Deliver(Delivery{Handout: own, Returned: &Returned{Record: 4, Digest: request.Digest}})
	for got := 0; got == 0; {
		batch, err := owner.Read(ctx, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		got += len(batch.Deliveries)
		if err := owner.Ack(ctx, &batch, []Number{own}); err != nil {
			t.Fatal(err)
		}
	}

	inspector := asynq.NewInspectorFromRedisClient(rdb)
	for id, payload := range map[string][]byte{"foreign hand-out": newTask(foreign).Payload(), "foreign task": otherTask.Payload()} {
		task, err := inspector.GetTaskInfo(k.queue(), id)
		switch {
		case err != nil:
			t.Errorf("%s: %v", id, err)
		case task.LastErr == "":
			t.Errorf("%s was not tried", id)
		case task.Retried != 0 || task.State == asynq.TaskStateArchived || task.State == asynq.TaskStateCompleted:
			t.Errorf("%s: %d tries count as failed, state %s", id, task.Retried, task.State)
		case string(task.Payload) != string(payload):
			t.Errorf("%s: its payload is %q", id, task.Payload)
		}
	}
	for key, fields := range planted {
		for field, want := range fields.(map[string]string) {
			if got := rdb.HGet(ctx, key, field).Val(); got != want {
				t.Errorf("%s of %s is %q, want %q", field, key, got, want)
			}
		}
	}
	if entries := rdb.XRange(ctx, k.results(), "-", "+").Val(); len(entries) != 1 || entries[0].ID != entry {
		t.Errorf("the stream of results holds %v, want the entry %s alone", entries, entry)
	}
	survey, err := owner.Survey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, there := survey.Workers["w9"]; there || len(survey.Claims) > 0 {
		t.Errorf("workers %v, claims %v", survey.Workers, survey.Claims)
	}
}

// Who meets a run of another version is told so, and changes nothing.
func TestOtherVersionsRun(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t)
	ctx, k := t.Context(), keys{"r1"}
	terms, err := json.Marshal(Terms{Version: later, BaseURL: "http://api"})
	if err != nil {
		t.Fatal(err)
	}
	planted := map[string]string{k.terms(): string(terms), k.owner(): "1:somebody", k.status(): `{"version":9,"at":3}`}
	for key, value := range planted {
		if err := rdb.Set(ctx, key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Join(ctx, rdb, k.run, SessionOptions{Worker: "w1", Serve: func(HandOut) {}}); !errors.Is(err, ErrFormat) {
		t.Errorf("join: %v", err)
	}
	if _, err := Look(ctx, rdb, k.run); !errors.Is(err, ErrFormat) {
		t.Errorf("look: %v", err)
	}
	left := make(map[string]string)
	for _, key := range rdb.Keys(ctx, "*").Val() {
		left[key] = rdb.Get(ctx, key).Val()
	}
	if diff := cmp.Diff(planted, left); diff != "" {
		t.Errorf("Redis (-planted +left):\n%s", diff)
	}
}

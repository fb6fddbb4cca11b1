package courier_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// goThrough does with a run all that is done with one: hand out, withdraw, hand out again, claim, deliver, survey, read,
// acknowledge, answer, pause, erase. It calls look when Redis holds what was handed out, what was claimed, an answer, and
// nothing any more.
func goThrough(t *testing.T, rdb redis.UniversalClient, run string, cipher *courier.Cipher, look func(moment string)) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	owner, err := courier.Own(ctx, rdb, run, 0, courier.OwnerOptions{Terms: courier.Terms{BaseURL: "http://api"}, Cipher: cipher})
	must(err)
	var numbers []courier.Number
	for i, mode := range []courier.Mode{courier.New, courier.New, courier.Again} {
		n := owner.Next()
		must(owner.HandOut(ctx, n, []jobs.Request{request(int64(i))}, mode))
		numbers = append(numbers, n)
	}
	if got, err := owner.Withdraw(ctx, numbers[:1]); err != nil || len(got) != 1 {
		t.Fatalf("withdrew %v, %v", got, err)
	}
	look("handed out")

	if runs, err := courier.Runs(ctx, rdb); err != nil || !slices.Contains(runs, run) {
		t.Errorf("runs %q, %v; want %q among them", runs, err, run)
	}
	claimed := make(chan courier.HandOut, 3)
	session, err := courier.Join(ctx, rdb, run, courier.SessionOptions{
		Worker: "w1", Poll: 5 * time.Millisecond, Cipher: cipher, Serve: func(h courier.HandOut) { claimed <- h },
	})
	must(err)
	first, second := <-claimed, <-claimed
	if want := []courier.Number{numbers[2], numbers[1]}; !cmp.Equal([]courier.Number{first.Number, second.Number}, want) {
		t.Errorf("claimed %d and %d, want what is urgent and then what is new: %d", first.Number, second.Number, want)
	}
	for _, h := range []courier.HandOut{first, second} {
		session.Deliver(courier.Delivery{Handout: h.Number, Result: &jobs.Result{Record: h.Requests[0].Record, Status: jobs.Succeeded}})
	}
	must(session.Flushed(ctx))
	survey, err := owner.Survey(ctx)
	must(err)
	if len(survey.Claims) != 2 || len(survey.Workers) != 1 || len(survey.Unclaimed) != 0 {
		t.Errorf("survey %+v, want two claims of one worker", survey)
	}
	look("claimed")

	askAndAnswer(t, rdb, owner, run, cipher, func() { look("answered") })

	must(courier.Want(ctx, rdb, run, courier.Pause))
	if want := <-owner.Wants(); want != courier.Pause {
		t.Errorf("the coordinator learned of %q, want pause", want)
	}
	var batch courier.Batch
	for records := 0; records < 2; {
		more, err := owner.Read(ctx, time.Second)
		must(err)
		records += len(more.Deliveries)
		if !more.Empty() {
			batch.Join(&more)
		}
	}
	must(owner.Ack(ctx, &batch, numbers[1:]))
	session.Close(ctx)
	must(owner.Erase(ctx))
	look("erased")
}

// In a cluster a run works as anywhere, and all that is kept of it lies in one hash slot, so that scripts may use it
// together; only the lists of all runs and queues lie elsewhere.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	rdb := connect(t, courier.Address{URL: cluster.URL})
	nodes := make(map[string]bool)
	// Hash slots of three nodes.
	for _, run := range []string{"run-1", "run-2", "run-4"} {
		slot, err := rdb.ClusterKeySlot(t.Context(), run).Result()
		if err != nil {
			t.Fatal(err)
		}
		goThrough(t, rdb, run, nil, func(moment string) {
			held := 0
			for _, node := range cluster.Nodes {
				for _, key := range node.Client.Keys(t.Context(), "*").Val() {
					switch {
					case isRegistry(key):
					case !strings.Contains(key, run):
						t.Errorf("%s: the key %q is not of the run", moment, key)
					case node.Client.ClusterKeySlot(t.Context(), key).Val() != slot:
						t.Errorf("%s: the key %q is not in the run's slot", moment, key)
					default:
						held++
						nodes[node.Addr] = true
					}
				}
			}
			if moment == "erased" && held > 0 || moment != "erased" && held < 8 {
				t.Errorf("%s: the cluster holds %d keys of %s", moment, held, run)
			}
		})
	}
	if len(nodes) != 3 {
		t.Errorf("the runs lay on %d nodes, want 3", len(nodes))
	}
}

// isRegistry reports whether a key lists runs, queues or workers and nothing of their work.
func isRegistry(key string) bool {
	return key == "bw:runs" || key == "bw:ended" || key == "asynq:queues" || key == "asynq:servers" || key == "asynq:workers" ||
		strings.HasPrefix(key, "asynq:servers:{") || strings.HasPrefix(key, "asynq:workers:{")
}

// A user with the rights that are asked for can do all that a run needs; one without INFO is told which they are.
func TestUserRights(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{AOF: "everysec"})
	allow := func(rights string) {
		rule := []any{"acl", "setuser", "app", "reset", "on", ">secret"}
		for right := range strings.FieldsSeq(rights) {
			rule = append(rule, right)
		}
		if err := server.Client.Do(t.Context(), rule...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	address := courier.Address{URL: "redis://app:secret@" + server.Addr}
	allow(strings.ReplaceAll(courier.UserRights, "+info", ""))
	if _, err := courier.Check(t.Context(), connect(t, address)); err == nil || !strings.Contains(err.Error(), courier.UserRights) {
		t.Errorf("error %v of a user without INFO, want the rights that are needed", err)
	}
	if err := server.Client.Do(t.Context(), "acl", "log", "reset").Err(); err != nil {
		t.Fatal(err)
	}
	allow(courier.UserRights)
	rdb := connect(t, address)
	if warnings, err := courier.Check(t.Context(), rdb); err != nil || len(warnings) > 0 {
		t.Fatalf("check: %q, %v", warnings, err)
	}
	goThrough(t, rdb, "run", nil, func(string) {})
	// What Asynq does beside is only logged when it fails.
	denied, err := server.Client.ACLLog(t.Context(), 10).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range denied {
		t.Errorf("the user was denied %s %s", d.Reason, d.Object)
	}
}

// With a key nothing in Redis shows a prompt or an answer, and a run works as without.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	cipher, err := courier.NewCipher("a secret of enough bytes")
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.StartServer(t, redistest.Options{})
	goThrough(t, server.Client, "run", cipher, func(moment string) {
		held := server.Client.HVals(t.Context(), "bw:{run}:handouts").Val()
		for _, entry := range server.Client.XRange(t.Context(), "bw:{run}:results", "-", "+").Val() {
			text, _ := entry.Values["b"].(string)
			held = append(held, text)
		}
		for _, key := range server.Client.Keys(t.Context(), "bw:{run}:answer:*").Val() {
			held = append(held, server.Client.LRange(t.Context(), key, 0, -1).Val()...)
		}
		if len(held) == 0 && moment != "erased" {
			t.Errorf("%s: nothing was looked at", moment)
		}
		for _, text := range held {
			if strings.Contains(text, "record") || strings.Contains(text, "succeeded") {
				t.Errorf("%s: Redis shows %q", moment, text)
			}
		}
	})
}

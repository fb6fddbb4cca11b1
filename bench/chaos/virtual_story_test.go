package chaos

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Single faults, one by one, and what each may cost: nothing, as a rule.
func TestProtocolStories(t *testing.T) {
	t.Parallel()
	const records, workers = 240, 3
	second, minute := time.Second, time.Minute
	strike := func(f fault) func(*virtualFleet) {
		f.soon = 5 * second
		return func(v *virtualFleet) { v.play([]fault{f}) }
	}
	// aside lets a reply to a command be lost now and then, on each of some links.
	aside := func(links func(*virtualFleet) []*virtualLink, matches func([]byte) bool) func(*virtualFleet) {
		return func(v *virtualFleet) {
			time.Sleep(second)
			for i := range 8 {
				for _, link := range links(v) {
					link.lose(matches, 1+3*(i%2)) // with 4 the client gives up
				}
				time.Sleep(2 * second)
			}
			for _, link := range links(v) {
				link.lose(nil, 0)
			}
			if !slices.ContainsFunc(links(v), (*virtualLink).lostSome) {
				v.errorf("no reply was lost")
			}
		}
	}
	ofWorker := func(v *virtualFleet) []*virtualLink {
		return []*virtualLink{v.workers[0].link, v.workers[1].link, v.workers[2].link}
	}
	ofCoordinator := func(v *virtualFleet) []*virtualLink { return []*virtualLink{v.coordinator.link} }
	deliver := func(command []byte) bool {
		return bytes.Contains(command, []byte("xadd")) && touching("results")(command)
	}
	done := func(command []byte) bool { // Asynq's, when a task is over
		return bytes.Contains(command, []byte("}:active")) && bytes.Contains(command, []byte("}:processed"))
	}
	for name, story := range map[string]struct {
		happens func(*virtualFleet)
		// most is how many answers may be paid again.
		most int
	}{
		"nothing": {func(*virtualFleet) {}, 0},

		"a worker killed":                           {strike(fault{kind: workerKilled, lasts: minute}), virtualSlots},
		"a worker drained":                          {strike(fault{kind: workerDrained}), 0},
		"a worker cut off for 5 s":                  {strike(fault{kind: workerCut, lasts: 5 * second, cut: linkReset}), 0},
		"a worker cut off for 60 s":                 {strike(fault{kind: workerCut, lasts: minute, cut: linkReset}), 9 * virtualSlots},
		"a worker cut off for 10 min":               {strike(fault{kind: workerCut, lasts: 10 * minute, cut: linkReset}), 9 * virtualSlots},
		"the reply to a claim lost":                 {aside(ofWorker, touching("handouts", "claims")), 0},
		"the reply to a delivery lost":              {aside(ofWorker, deliver), 0},
		"the reply to the end of a task lost":       {aside(ofWorker, done), 0},
		"the reply to a worker's renewal lost":      {aside(ofWorker, touching("terms", "workers")), 0},
		"the reply to an acknowledgement lost":      {aside(ofCoordinator, touching("owner", "results")), 0},
		"the reply to the owner's renewal lost":     {aside(ofCoordinator, touching("owner", "beat", "status")), 0},
		"the reply to a hand-out lost":              {aside(ofCoordinator, touching("handouts")), 0},
		"the coordinator killed":                    {strike(fault{kind: coordinatorKilled, lasts: second}), 0},
		"the coordinator killed, back after 10 min": {strike(fault{kind: coordinatorKilled, lasts: 10 * minute}), 0},
		"the coordinator cut off past its lease":    {strike(fault{kind: coordinatorCut, lasts: 20 * second, cut: linkReset}), 0},
		"Redis' clock an hour ahead":                {func(v *virtualFleet) { time.Sleep(5 * second); v.redis.server.FastForward(time.Hour) }, 0},
		"Redis away for 10 min":                     {strike(fault{kind: redisKilled, lasts: 10 * minute}), 0},
		"Redis set back by 2 s":                     {strike(fault{kind: redisRolled, lasts: second, age: 2 * second}), workers * virtualSlots},
		"Redis set back by 20 s":                    {strike(fault{kind: redisRolled, lasts: second, age: 20 * second}), workers * virtualSlots},
		"Redis emptied":                             {strike(fault{kind: redisFlushed}), workers * virtualSlots},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				f := startVirtualFleet(t, dir, records, workers)
				story.happens(f)
				f.finish()
				repeats := f.repeats()
				f.calledAgain(longestCall)
				for _, wrong := range f.wrong {
					t.Error(wrong)
				}
				calls := f.api.all()
				if repeats > story.most || len(calls) != records+repeats {
					t.Errorf("%d calls for %d records, %d paid again, want %d at most", len(calls), records, repeats, story.most)
				}
			})
		})
	}
}

// With Redis away for 10 minutes no call starts after 9 s, and what was in flight is not lost.
func TestNoCallWithoutRedis(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := startVirtualFleet(t, dir, 240, 3)
		time.Sleep(5 * time.Second)
		away := time.Now()
		f.redis.away(true)
		time.Sleep(10 * time.Minute)
		back := time.Now()
		f.redis.away(false)
		f.finish()
		late, before := 0, 0
		for _, c := range f.api.all() {
			switch {
			case c.began.After(away.Add(9*time.Second)) && c.began.Before(back):
				late++
			case c.began.Before(back):
				before++
			}
		}
		if late > 0 || before == 0 {
			t.Errorf("%d calls began more than 9 s after Redis was gone, %d before", late, before)
		}
		if calls := len(f.api.all()); calls != 240 {
			t.Errorf("%d calls for 240 records", calls)
		}
		for _, wrong := range f.wrong {
			t.Error(wrong)
		}
	})
}

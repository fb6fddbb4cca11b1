package main

import (
	"strings"
	"testing"
)

// Each case feeds the events of one go test and names what the report must and must not say.
func TestReport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		events []string
		want   []string
		never  []string
	}{
		{
			name: "passing tests stay silent",
			events: []string{
				`{"Action":"output","Package":"m/a","Test":"TestOne","Output":"chatter\n"}`,
				`{"Action":"pass","Package":"m/a","Test":"TestOne"}`,
				`{"Action":"pass","Package":"m/a","Elapsed":0.5}`,
			},
			want:  []string{"ok    m/a  0.5s\n", "1 passed, 0 failed, 0 skipped"},
			never: []string{"chatter", "SKIPPED", "FAILED"},
		},
		{
			name: "skips are listed under their reason",
			events: []string{
				`{"Action":"output","Package":"m/a","Test":"TestOne","Output":"    redis_test.go:12: no redis-server\n"}`,
				`{"Action":"output","Package":"m/a","Test":"TestOne","Output":"--- SKIP: TestOne (0.00s)\n"}`,
				`{"Action":"skip","Package":"m/a","Test":"TestOne"}`,
				`{"Action":"output","Package":"m/b","Test":"TestTwo/sub","Output":"    x_test.go:3: no redis-server\n"}`,
				`{"Action":"skip","Package":"m/b","Test":"TestTwo/sub"}`,
			},
			want: []string{"0 passed, 0 failed, 2 skipped\nSKIPPED  no redis-server\n         m/a TestOne\n         m/b TestTwo/sub\n"},
		},
		{
			name: "a skip without a reason is listed too",
			events: []string{
				`{"Action":"output","Package":"m/a","Test":"TestOne","Output":"--- SKIP: TestOne (0.00s)\n"}`,
				`{"Action":"skip","Package":"m/a","Test":"TestOne"}`,
			},
			want: []string{"SKIPPED  no reason given\n         m/a TestOne\n"},
		},
		{
			name: "a package without tests is no skip",
			events: []string{
				`{"Action":"output","Package":"m/a","Output":"?   \tm/a\t[no test files]\n"}`,
				`{"Action":"skip","Package":"m/a"}`,
			},
			want:  []string{"0 passed, 0 failed, 0 skipped"},
			never: []string{"no test files"},
		},
		{
			name: "a failure shows its output and its name",
			events: []string{
				`{"Action":"output","Package":"m/a","Test":"TestOne","Output":"    a_test.go:3: got 1, want 2\n"}`,
				`{"Action":"fail","Package":"m/a","Test":"TestOne"}`,
				`{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.1s\n"}`,
				`{"Action":"fail","Package":"m/a"}`,
			},
			want: []string{"got 1, want 2", "FAIL\tm/a\t0.1s", "0 passed, 1 failed", "FAILED   m/a TestOne\n"},
		},
		{
			name: "a panic shows the test that was open",
			events: []string{
				`{"Action":"output","Package":"m/a","Test":"TestOne","Output":"panic: boom\n"}`,
				`{"Action":"fail","Package":"m/a"}`,
			},
			want: []string{"panic: boom", "FAILED   m/a TestOne\n"},
		},
		{
			name: "a package that does not compile shows the compiler's words",
			events: []string{
				`{"Action":"build-output","ImportPath":"m/a","Output":"a.go:1: syntax error\n"}`,
				`{"Action":"build-fail","ImportPath":"m/a"}`,
				`{"Action":"fail","Package":"m/a"}`,
			},
			want: []string{"a.go:1: syntax error", "FAILED   m/a\n"},
		},
		{
			name:   "what is no event is passed on",
			events: []string{`pattern ./nowhere: no such directory`},
			want:   []string{"pattern ./nowhere: no such directory\n"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got strings.Builder
			if err := report(strings.NewReader(strings.Join(test.events, "\n")+"\n"), &got); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(got.String(), want) {
					t.Errorf("report lacks %q:\n%s", want, got.String())
				}
			}
			for _, never := range test.never {
				if strings.Contains(got.String(), never) {
					t.Errorf("report says %q:\n%s", never, got.String())
				}
			}
		})
	}
}

package courier

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every form of address leads to the place that it names.
func TestParseURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		want location
	}{
		{"redis://h", location{kind: single, network: "tcp", hosts: []string{"h:6379"}}},
		{"redis://h:1/", location{kind: single, network: "tcp", hosts: []string{"h:1"}}},
		{"redis://u:p@h:1/2", location{kind: single, network: "tcp", hosts: []string{"h:1"}, user: "u", password: "p", db: 2}},
		{"rediss://:p@h", location{kind: single, network: "tcp", tls: true, hosts: []string{"h:6379"}, password: "p"}},
		{"redis://[::1]", location{kind: single, network: "tcp", hosts: []string{"[::1]:6379"}}},
		{"redis://[::1]:1", location{kind: single, network: "tcp", hosts: []string{"[::1]:1"}}},
		{"redis://u%3A:p%40%2f%25@h", location{kind: single, network: "tcp", hosts: []string{"h:6379"}, user: "u:", password: "p@/%"}},
		// Passwords from generators, not encoded: what ends them is clear all the same.
		{"redis://u:a/b?c#d@e:f+g@h:1/2", location{kind: single, network: "tcp", hosts: []string{"h:1"}, user: "u", password: "a/b?c#d@e:f+g", db: 2}},
		{"unix:///run/redis.sock", location{kind: single, network: "unix", hosts: []string{"/run/redis.sock"}}},
		{"unix://u:p@/run/a%40b?db=3", location{kind: single, network: "unix", hosts: []string{"/run/a@b"}, user: "u", password: "p", db: 3}},
		{"redis+sentinel://a,b:1/main", location{kind: sentinel, hosts: []string{"a:26379", "b:1"}, master: "main"}},
		{
			"rediss+sentinel://u:p@a:1,[::1]:2/the%20one/4?sentinel_username=su&sentinel_password=s%26@/p",
			location{
				kind: sentinel, tls: true, hosts: []string{"a:1", "[::1]:2"}, user: "u", password: "p", db: 4, master: "the one",
				sentinelUser: "su", sentinelPassword: "s&@/p",
			},
		},
		{"redis+cluster://u:p@a,b:1,c", location{kind: cluster, hosts: []string{"a:6379", "b:1", "c:6379"}, user: "u", password: "p"}},
		{"rediss+cluster://a/", location{kind: cluster, tls: true, hosts: []string{"a:6379"}}},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			got, err := parseURL(test.url)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(location{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A wrong address is answered with what is wrong and the forms that there are, and never with a part of the password.
func TestParseURLErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ url, want string }{
		{"", "scheme"},
		{"h:6379", "scheme"},
		{"http://h", "scheme"},
		{"hunter2@h", "scheme"},
		{"rediss+unix:///s", "scheme"},
		{"redis://", "it has no name"},
		{"redis://:1", "it has no name"},
		{"redis://h:x", "a port is a number"},
		{"redis://h:0", "a port is a number"},
		{"redis://h:65536", "a port is a number"},
		{"redis://::1", "brackets"},
		{"redis://h?db=1", "after ?"},
		{"redis://h?timeout=1", "write HOST or HOST:PORT"},
		{"redis://h/x", "a database is a number"},
		{"redis://h/-1", "a database is a number"},
		{"redis://h/1/2", "a database is a number"},
		{"redis://h/99999999999", "a database is a number"},
		{"redis://a,b", "several hosts"},
		{"redis://hunter2@h", "user, colon and password"},
		{"redis://u:@h", "was a variable not set?"},
		{"redis://u:hunter2%@h", "%25"},
		{"redis://u%zz:hunter2@h", "%25"},
		{"redis://u:hunter2@", "it has no name"},
		{"redis://u:hunter2@h:hunter2", "a port is a number"},
		{"redis://u:x@hunter2 h", "write HOST or HOST:PORT"},
		{"unix://run/s", "begins with a slash"},
		{"unix://", "begins with a slash"},
		{"unix:///s?db=x", "a database is a number"},
		{"unix:///s?db=1&x=2", "after ?"},
		{"unix:///s%?db=1", "%25"},
		{"redis+sentinel://h", "name by which Sentinel knows the master"},
		{"redis+sentinel://h//1", "name by which Sentinel knows the master"},
		{"redis+sentinel://h/m/x", "a database is a number"},
		{"redis+sentinel://h/m%", "%25"},
		{"redis+sentinel://a,,b/m", "host 2: it has no name"},
		{"redis+sentinel://h/m?sentinel_password=hunter2%", "%25"},
		{"redis+sentinel://h/m?sentinel_password=x&hunter2", "after ?"},
		{"redis+cluster://h/1", "no numbered databases"},
		{"redis+cluster://h?sentinel_password=hunter2", "after ?"},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			got, err := parseURL(test.url)
			if err == nil {
				t.Fatalf("taken as %+v", got)
			}
			text := err.Error()
			if !strings.Contains(text, test.want) || !strings.Contains(text, AddressForms) || strings.Contains(text, "hunter2") {
				t.Errorf("error %q, want words of %q, the forms and no password", text, test.want)
			}
		})
	}
}

// No address makes the parser panic, no error shows a password, whatever stands around it, and what is taken names a place.
func FuzzParseURL(f *testing.F) {
	f.Add("redis://user:", "@h:1/2")
	f.Add("rediss+sentinel://:a/b?c#d", "@a:1,[::1]/m/1?sentinel_password=x")
	f.Add("redis+cluster://u:%", "@a,b,")
	f.Add("unix://u:p", "@/s?db=1")
	f.Add("redis+sentinel://h/m?sentinel_password=", "%")
	f.Fuzz(func(t *testing.T, before, after string) {
		to, err := parseURL(before + "hunter2" + after)
		switch {
		case err == nil && (len(to.hosts) == 0 || to.hosts[0] == ""):
			t.Errorf("no place in %+v", to)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error shows the password: %s", err)
		}
	})
}

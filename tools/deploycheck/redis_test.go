package deploycheck

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

const login = "redis://batchwright:rehearsal-not-a-secret@redis:6379"

// The scripts that start Redis and ask for its health, in the compose file and for Kubernetes, do what they promise on
// a real server.
func TestRedisScripts(t *testing.T) {
	t.Parallel()
	project, err := compose(t, read(t, composeFile), rehearseEnv)
	if err != nil {
		t.Fatal(err)
	}
	service := project.Services["redis"]
	set := decode[appsv1.StatefulSet](t, kubernetesDir+"/redis.yaml", "StatefulSet")
	container := set.Spec.Template.Spec.Containers[0]
	for _, row := range []struct {
		name, secret         string
		start, health, shell []string
	}{
		{
			name: "compose", secret: "/run/secrets/redis_url", shell: service.Entrypoint, start: service.Command,
			health: append([]string{"sh", "-c"}, service.HealthCheck.Test[1:]...),
		},
		{
			name: "kubernetes", secret: "/run/secrets/batchwright/redis_url", shell: container.Command, start: container.Args,
			health: container.ReadinessProbe.Exec.Command,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, row.secret, append(row.shell, row.start...))
			if out, err := s.run(row.health...); err != nil {
				t.Errorf("health check of a healthy server: %v\n%s", err, out)
			}
			if out, _ := s.run("redis-cli", "ping"); !strings.Contains(out, "NOAUTH") {
				t.Errorf("a stranger's PING was answered %q", out)
			}
			info, err := s.run("redis-cli", "--user", "batchwright", "--pass", "rehearsal-not-a-secret", "--no-auth-warning", "info")
			if err != nil {
				t.Fatal(err, info)
			}
			for _, want := range []string{"aof_enabled:1", "maxmemory_policy:noeviction", "maxmemory_human:512.00M"} {
				if !strings.Contains(info, want) {
					t.Errorf("INFO lacks %s", want)
				}
			}
			for _, refused := range [][]string{{"flushall"}, {"keys", "*"}, {"config", "get", "*"}, {"set", "theirs", "x"}, {"publish", "theirs", "x"}} {
				as := []string{"redis-cli", "--user", "batchwright", "--pass", "rehearsal-not-a-secret", "--no-auth-warning"}
				if out, _ := s.run(append(as, refused...)...); !strings.Contains(out, "NOPERM") {
					t.Errorf("batchwright's user may %v: %s", refused, out)
				}
			}
			for _, seen := range []string{"cmdline", "environ"} {
				text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.process.Pid), seen))
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(text, []byte("rehearsal-not-a-secret")) {
					t.Errorf("the password can be seen in /proc/PID/%s", seen)
				}
			}
			// What gets SIGTERM is the server itself, not a shell that would leave it running.
			if err := s.process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := s.wait(); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
			if out, err := s.run(row.health...); err == nil {
				t.Errorf("health check of a server that is gone succeeded: %s", out)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "appendonlydir")); err != nil {
				t.Errorf("no append-only file in /data: %v", err)
			}
		})
	}
}

// scripted is a Redis server that was started by a deployment's script, its paths moved into dir.
type scripted struct {
	dir     string
	moved   *strings.Replacer
	process *os.Process
	wait    func() error
}

func startRedis(t *testing.T, secret string, argv []string) *scripted {
	t.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		if strings.Contains(os.Getenv("BATCHWRIGHT_TEST_REQUIRE"), "redis") {
			t.Fatal("redis-server is not in PATH")
		}
		t.Skip("redis-server is not in PATH")
	}
	dir, err := os.MkdirTemp("", "bwdeploy") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	for name, text := range map[string]string{
		"redis_url":     login + "\n",
		"valkey-server": "#!/bin/sh\nexec " + server + " \"$@\"\n",
		"valkey-cli":    "#!/bin/sh\nexec redis-cli -s " + socket + " \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := &scripted{dir: dir, moved: strings.NewReplacer(
		secret, filepath.Join(dir, "redis_url"), "$$", "$",
		// A user of the test's own sees what was refused to batchwright's.
		"dir /data\n", "dir "+dir+"\nport 0\nunixsocket "+socket+"\nuser witness on nopass +acl\n",
	)}
	command := s.command(t.Context(), argv...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = command.Process
	ended := make(chan struct{})
	var waited error
	go func() { waited = command.Wait(); close(ended) }()
	s.wait = func() error { <-ended; return waited }
	t.Cleanup(func() { _ = s.process.Kill(); <-ended })
	for {
		if _, err := os.Stat(socket); err == nil {
			return s
		}
		select {
		case <-ended:
			t.Fatalf("redis ended: %v\n%s", waited, out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// command is argv with its paths moved into s.dir; redis-cli finds the server.
func (s *scripted) command(ctx context.Context, argv ...string) *exec.Cmd {
	var args []string
	for _, arg := range argv[1:] {
		args = append(args, s.moved.Replace(arg))
	}
	if argv[0] == "redis-cli" {
		args = append([]string{"-s", filepath.Join(s.dir, "socket")}, args...)
	}
	command := exec.CommandContext(ctx, argv[0], args...)
	command.Env = []string{"PATH=" + s.dir + ":" + os.Getenv("PATH")}
	return command
}

func (s *scripted) run(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := s.command(ctx, argv...).CombinedOutput()
	return string(out), err
}

// The program's advice on the rights of its user, the page for operators, and both deployments say the same.
func TestRightsAgree(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(read(t, root+"/jobs/courier/check.go"), "const UserRights = \"")
	rights, _, ended := strings.Cut(rest, "\"")
	if !found || !ended {
		t.Fatal("jobs/courier/check.go has no UserRights")
	}
	for _, path := range []string{composeFile, kubernetesDir + "/redis.yaml", root + "/docs/operations.md"} {
		if !strings.Contains(read(t, path), " "+rights+"\n") {
			t.Errorf("%s does not give Redis' user the rights %s", path, rights)
		}
	}
}

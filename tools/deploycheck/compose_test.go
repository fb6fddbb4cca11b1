package deploycheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const (
	root        = "../.."
	composeFile = root + "/docker-compose.yml"
	rehearseEnv = root + "/examples/compose/rehearse.env"
	// longestCall is the default of api.timeout.
	longestCall = 10 * time.Minute
)

// compose loads the file's text as `docker compose` does, with the variables of the env files and no others.
func compose(t *testing.T, text string, envFiles ...string) (*types.Project, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker-compose.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{path}, cli.WithWorkingDirectory(dir), cli.WithEnvFiles(envFiles...),
		cli.WithDotEnv, cli.WithDefaultProfiles())
	if err != nil {
		return nil, fmt.Errorf("choose options: %w", err)
	}
	return options.LoadProject(t.Context())
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The compose file is valid, for real use and for rehearsals, and each of its services is as hardened as promised.
func TestCompose(t *testing.T) {
	t.Parallel()
	text := read(t, composeFile)
	for _, row := range []struct {
		name     string
		envFiles []string
		services []string
		api      string
	}{
		{name: "for real", envFiles: []string{os.DevNull}, services: []string{"redis", "run", "worker"}, api: "https://api.anthropic.com"},
		{name: "rehearsal", envFiles: []string{rehearseEnv}, services: []string{"redis", "run", "simulate", "worker"}, api: "http://simulate:8787"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			project, err := compose(t, text, row.envFiles...)
			if err != nil {
				t.Fatal(err)
			}
			if got := project.ServiceNames(); !slices.Equal(got, row.services) {
				t.Errorf("services %v, want %v", got, row.services)
			}
			for _, problem := range composeProblems(project, row.api) {
				t.Error(problem)
			}
		})
	}
}

// A hardening that somebody takes away is noticed.
func TestComposeNotices(t *testing.T) {
	t.Parallel()
	whole := read(t, composeFile)
	for _, row := range []struct {
		name, old, new string
		want           string
	}{
		{name: "root", old: `user: "${BATCHWRIGHT_UID:-1000}:${BATCHWRIGHT_GID:-1000}"`, new: `user: "0:0"`, want: "user"},
		{name: "named user", old: `user: "${BATCHWRIGHT_UID:-1000}:${BATCHWRIGHT_GID:-1000}"`, new: `user: root`, want: "user"},
		{name: "no user", old: `user: "${BATCHWRIGHT_UID:-1000}:${BATCHWRIGHT_GID:-1000}"`, want: "user"},
		{name: "writable root", old: "read_only: true", want: "read-only"},
		{name: "no tmpfs", old: `tmpfs: ["/tmp:size=256m,mode=1777,noexec,nosuid,nodev"]`, want: "tmpfs"},
		{name: "executable tmpfs", old: ",noexec", want: "tmpfs"},
		{name: "capabilities", old: "cap_drop: [ALL]", want: "capabilities"},
		{name: "capability added", old: "cap_drop: [ALL]", new: "cap_drop: [ALL]\n  cap_add: [SYS_ADMIN]", want: "capabilities"},
		{name: "privileged", old: "cap_drop: [ALL]", new: "cap_drop: [ALL]\n  privileged: true", want: "privileged"},
		{name: "new privileges", old: `security_opt: ["no-new-privileges:true"]`, want: "no-new-privileges"},
		{name: "processes", old: "pids_limit: 512", want: "processes"},
		{name: "logs", old: `options: {max-size: 10m, max-file: "3"}`, want: "log"},
		{name: "published port", old: "stop_grace_period: 1m", new: "ports: [\"6379:6379\"]\n    stop_grace_period: 1m", want: "redis: publishes"},
		{name: "short grace", old: "stop_grace_period: 11m", new: "stop_grace_period: 10m", want: "stop_grace_period"},
		{name: "no grace", old: "stop_grace_period: 11m", want: "stop_grace_period"},
		{name: "worker's grace below a call", old: "--grace, 10m30s", new: "--grace, 1m", want: "--grace"},
		{name: "eviction", old: "maxmemory-policy noeviction", new: "maxmemory-policy allkeys-lru", want: "noeviction"},
		{name: "no append-only file", old: "appendonly yes", new: "appendonly no", want: "appendonly"},
		{name: "no volume", old: `volumes: ["redis:/data"]`, want: "volume"},
		{name: "no login", old: "user default off", want: "default user"},
		{name: "password in the environment", old: "    # No ports", new: "    environment: {PASSWORD: rehearsal-not-a-secret}\n    # No ports", want: "secret"},
		{name: "no health check", old: "| grep -qx PONG", want: "PING"},
		{name: "health check of a worker", old: "healthcheck: {disable: true}", new: "healthcheck: {test: [CMD, /batchwright, status]}", want: "health check"},
		{name: "endless restarts of a run", old: `restart: "no"`, new: "restart: on-failure", want: "run: restarts"},
		{name: "no restart of workers", old: "restart: unless-stopped", new: `restart: "no"`, want: "restart"},
		{name: "coordinator calls", old: ", --no-worker", want: "--no-worker"},
		{name: "coordinator has the key", old: "    secrets: [redis_url]\n    volumes:\n", new: "    secrets: [redis_url, api_key]\n    volumes:\n", want: "run: secrets"},
		{name: "coordinator may go out", old: "networks: [courier]\n    depends_on", new: "networks: [courier, api]\n    depends_on", want: "run: networks"},
		{name: "Redis may go out", old: "courier: {internal: true}", new: "courier: {}", want: "internal"},
		{name: "one worker only", old: "command: [worker,", new: "container_name: one\n    command: [worker,", want: "scale"},
		{name: "starts before Redis", old: "redis: {condition: service_healthy}", new: "redis: {condition: service_started}", want: "healthy"},
		{name: "folder made by root", old: "create_host_path: false", new: "create_host_path: true", want: "folder"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := strings.ReplaceAll(whole, row.old, row.new)
			if text == whole {
				t.Fatalf("the compose file has no %q", row.old)
			}
			project, err := compose(t, text, rehearseEnv)
			if err != nil {
				t.Fatal(err)
			}
			problems := strings.Join(composeProblems(project, "http://simulate:8787"), "\n")
			if !strings.Contains(problems, row.want) {
				t.Errorf("problems\n%s\nlack %q", problems, row.want)
			}
		})
	}
}

// composeProblems says what of the promised hardening a project lacks.
func composeProblems(project *types.Project, api string) []string {
	var problems []string
	say := func(service, format string, args ...any) {
		problems = append(problems, service+": "+fmt.Sprintf(format, args...))
	}
	for name := range project.Services {
		service := project.Services[name]
		hardeningProblems(&service, func(format string, args ...any) { say(name, format, args...) })
		if exposed := exposedSecrets(project, &service); len(exposed) > 0 {
			say(name, "docker inspect shows the secrets %v", exposed)
		}
	}
	redis, run, worker := project.Services["redis"], project.Services["run"], project.Services["worker"]
	script := strings.Join(redis.Command, " ")
	for _, line := range []string{"appendonly yes", "maxmemory-policy noeviction", "dir /data"} {
		if !strings.Contains(script, line+"\n") {
			say("redis", "is not configured with %q", line)
		}
	}
	if !strings.Contains(script, "user default off\n") {
		say("redis", "lets the default user in")
	}
	if check := redis.HealthCheck; check == nil || check.Disable || !strings.Contains(strings.Join(check.Test, " "), "ping | grep -qx PONG") {
		say("redis", "no health check by PING")
	}
	if len(redis.Volumes) != 1 || redis.Volumes[0].Type != "volume" || redis.Volumes[0].Target != "/data" {
		say("redis", "no volume at /data")
	}
	if !project.Networks["courier"].Internal {
		say("redis", "its network is not internal")
	}
	if run.Restart != "no" {
		say("run", "restarts %q, whatever the exit code", run.Restart)
	}
	for name, service := range map[string]types.ServiceConfig{"redis": redis, "worker": worker} {
		if service.Restart != "unless-stopped" {
			say(name, "restart %q", service.Restart)
		}
	}
	if !slices.Contains(run.Command, "--no-worker") {
		say("run", "makes calls itself: no --no-worker")
	}
	if len(run.Volumes) != 1 || run.Volumes[0].Bind == nil || run.Volumes[0].Bind.CreateHostPath {
		say("run", "its folder is not a bind mount that must be there")
	}
	wanted := map[string][2][]string{
		"redis": {{"redis_url"}, {"courier"}}, "run": {{"redis_url"}, {"courier"}}, "worker": {{"api_key", "redis_url"}, {"api", "courier"}},
	}
	for name, want := range wanted {
		service := project.Services[name]
		var secrets []string
		for _, secret := range service.Secrets {
			secrets = append(secrets, secret.Source)
		}
		slices.Sort(secrets)
		if !slices.Equal(secrets, want[0]) {
			say(name, "secrets %v, want %v", secrets, want[0])
		}
		networks := service.NetworksByPriority()
		slices.Sort(networks)
		if !slices.Equal(networks, want[1]) {
			say(name, "networks %v, want %v", networks, want[1])
		}
	}
	for name, service := range map[string]types.ServiceConfig{"run": run, "worker": worker} {
		if service.HealthCheck == nil || !service.HealthCheck.Disable {
			say(name, "has a health check, which says nothing of its health")
		}
		if service.DependsOn["redis"].Condition != types.ServiceConditionHealthy {
			say(name, "does not wait until redis is healthy")
		}
		if url := service.Environment["ANTHROPIC_BASE_URL"]; url == nil || *url != api {
			say(name, "does not call %s", api)
		}
	}
	grace, err := time.ParseDuration(flagOf(worker.Command, "--grace"))
	if err != nil || grace <= longestCall {
		say("worker", "--grace %s is not above the longest call, %s", grace, longestCall)
	}
	for name, service := range map[string]types.ServiceConfig{"run": run, "worker": worker} {
		if stop := service.StopGracePeriod; stop == nil || time.Duration(*stop) <= max(grace, longestCall) {
			say(name, "stop_grace_period is not above --grace, %s", grace)
		}
	}
	return problems
}

// hardeningProblems says what a service lacks of what every service must have.
func hardeningProblems(service *types.ServiceConfig, say func(format string, args ...any)) {
	var uid, gid int
	if n, err := fmt.Sscanf(service.User, "%d:%d", &uid, &gid); n != 2 || err != nil || uid == 0 || gid == 0 {
		say("user %q is not UID:GID of somebody other than root", service.User)
	}
	if !service.ReadOnly {
		say("root file system is not read-only")
	}
	if len(service.Tmpfs) != 1 || !strings.HasPrefix(service.Tmpfs[0], "/tmp:size=") || !strings.Contains(service.Tmpfs[0], "noexec,nosuid,nodev") {
		say("tmpfs %v is not a bounded /tmp without programs", service.Tmpfs)
	}
	if !slices.Equal(service.CapDrop, []string{"ALL"}) || len(service.CapAdd) > 0 {
		say("capabilities are not all dropped")
	}
	if service.Privileged || service.Pid != "" || service.Ipc != "" || service.NetworkMode != "" || len(service.Devices) > 0 {
		say("is privileged")
	}
	if !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		say("lacks no-new-privileges")
	}
	if service.PidsLimit <= 0 {
		say("number of processes is unbounded")
	}
	if service.Logging == nil || service.Logging.Options["max-size"] == "" {
		say("log is unbounded")
	}
	if len(service.Ports) > 0 {
		say("publishes ports")
	}
	if service.ContainerName != "" {
		say("can't scale: its container has a fixed name")
	}
}

// exposedSecrets names the secrets of a project whose text, or the password in it, can be seen in a container's
// configuration.
func exposedSecrets(project *types.Project, service *types.ServiceConfig) []string {
	var exposed []string
	seen := fmt.Sprint(service.Entrypoint, service.Command, service.Environment, service.Labels, service.HealthCheck)
	for _, value := range service.Environment {
		if value != nil {
			seen += " " + *value
		}
	}
	for name, secret := range project.Secrets {
		text, err := os.ReadFile(secret.File)
		if err != nil {
			continue // not there in a fresh checkout; the rehearsal's are
		}
		password := strings.TrimSpace(string(text))
		if _, login, found := strings.Cut(password, "//"); found {
			_, password, _ = strings.Cut(login[:strings.Index(login, "@")], ":")
		}
		if strings.Contains(seen, password) {
			exposed = append(exposed, name)
		}
	}
	return exposed
}

// flagOf is the argument that follows a flag.
func flagOf(command []string, flag string) string {
	if i := slices.Index(command, flag); i >= 0 && i+1 < len(command) {
		return command[i+1]
	}
	return ""
}

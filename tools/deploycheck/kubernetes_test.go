package deploycheck

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const kubernetesDir = root + "/examples/kubernetes"

var betweenDocuments = regexp.MustCompile(`(?m)^---\n`)

// document is one object of a manifest.
type document struct {
	file, kind string
	text       []byte
}

func documents(t *testing.T, file, text string) []document {
	t.Helper()
	var found []document
	for _, part := range betweenDocuments.Split(text, -1) {
		var about metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(part), &about); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found = append(found, document{file: file, kind: about.Kind, text: []byte(part)})
	}
	return found
}

// decode is the one object of a kind in a manifest; a field that its type does not have fails the test.
func decode[T any](t *testing.T, path, kind string) *T {
	t.Helper()
	return decodeText[T](t, path, read(t, path), kind)
}

func decodeText[T any](t *testing.T, path, text, kind string) *T {
	t.Helper()
	var object *T
	for _, d := range documents(t, path, text) {
		if d.kind != kind {
			continue
		}
		if object != nil {
			t.Fatalf("%s has two objects of kind %s", path, kind)
		}
		object = new(T)
		if err := yaml.UnmarshalStrict(d.text, object); err != nil {
			t.Fatalf("%s: %s: %v", path, kind, err)
		}
	}
	if object == nil {
		t.Fatalf("%s has no %s", path, kind)
	}
	return object
}

// Every manifest has only fields that Kubernetes knows, is in the example's namespace, and is either applied with the
// fleet or is a run.
func TestManifests(t *testing.T) {
	t.Parallel()
	var kustomization struct {
		Namespace string   `json:"namespace"`
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal([]byte(read(t, kubernetesDir+"/kustomization.yaml")), &kustomization); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(kubernetesDir + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if name == "kustomization.yaml" {
			continue
		}
		if applied := slices.Contains(kustomization.Resources, name); applied == (name == "run.yaml") {
			t.Errorf("%s is applied with the fleet: %t", name, applied)
		}
		for _, d := range documents(t, path, read(t, path)) {
			object, ok := kinds()[d.kind]
			if !ok {
				t.Errorf("%s: no test knows the kind %q", name, d.kind)
				continue
			}
			if err := yaml.UnmarshalStrict(d.text, object); err != nil {
				t.Errorf("%s: %s: %v", name, d.kind, err)
			}
			if got := object.GetNamespace(); d.kind != "Namespace" && got != kustomization.Namespace {
				t.Errorf("%s: %s %s is in namespace %q, want %q", name, d.kind, object.GetName(), got, kustomization.Namespace)
			}
		}
	}
}

func kinds() map[string]metav1.Object {
	return map[string]metav1.Object{
		"Namespace": &corev1.Namespace{}, "Service": &corev1.Service{}, "PersistentVolumeClaim": &corev1.PersistentVolumeClaim{},
		"StatefulSet": &appsv1.StatefulSet{}, "Deployment": &appsv1.Deployment{}, "Job": &batchv1.Job{},
		"PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "NetworkPolicy": &networkingv1.NetworkPolicy{},
	}
}

// pods are the templates of all pods in the example, by the name of their file.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	found := map[string]corev1.PodTemplateSpec{}
	for _, file := range []string{"redis.yaml", "worker.yaml", "run.yaml"} {
		found[file] = podOf(t, file, read(t, filepath.Join(kubernetesDir, file)))
	}
	return found
}

func podOf(t *testing.T, file, text string) corev1.PodTemplateSpec {
	t.Helper()
	switch file {
	case "redis.yaml":
		return decodeText[appsv1.StatefulSet](t, file, text, "StatefulSet").Spec.Template
	case "worker.yaml":
		return decodeText[appsv1.Deployment](t, file, text, "Deployment").Spec.Template
	}
	return decodeText[batchv1.Job](t, file, text, "Job").Spec.Template
}

// Every pod passes the check by which a cluster enforces its strictest profile, and what goes beyond it.
func TestPods(t *testing.T) {
	t.Parallel()
	for file, pod := range pods(t) {
		for _, problem := range podProblems(t, file, &pod) {
			t.Errorf("%s: %s", file, problem)
		}
	}
}

// A hardening of a pod that somebody takes away is noticed.
func TestPodsNotice(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, old, new, want string }{
		{name: "root", old: "runAsNonRoot: true", new: "runAsNonRoot: false", want: "runAsNonRoot"},
		{name: "user 0", old: "runAsUser: ", new: "runAsUser: 0 # ", want: "runAsUser"},
		{name: "system calls", old: "seccompProfile: {type: RuntimeDefault}", want: "seccomp"},
		{name: "privileges", old: "allowPrivilegeEscalation: false", want: "allowPrivilegeEscalation"},
		{name: "capabilities", old: "capabilities: {drop: [ALL]}", want: "capabilities"},
		{name: "writable root", old: "readOnlyRootFilesystem: true", want: "root file system"},
		{name: "token", old: "automountServiceAccountToken: false", want: "token"},
		{name: "service variables", old: "enableServiceLinks: false", want: "variables"},
		{name: "memory", old: "limits: {memory:", new: "limits: {cpu:", want: "memory"},
		{name: "requests", old: "requests: {cpu:", new: "requests: {ephemeral-storage:", want: "requests"},
		{name: "secret for all", old: "defaultMode: 0440", new: "defaultMode: 0444", want: "secret"},
		{name: "short grace", old: "terminationGracePeriodSeconds: 660", new: "terminationGracePeriodSeconds: 600", want: "terminationGracePeriodSeconds"},
		{name: "no grace", old: "terminationGracePeriodSeconds: 660", want: "terminationGracePeriodSeconds"},
		{name: "worker's grace below a call", old: "--grace, 10m30s", new: "--grace, 1m", want: "--grace"},
		{
			name: "probe", old: "          securityContext:\n",
			new: "          livenessProbe: {exec: {command: [/batchwright, status]}}\n          securityContext:\n", want: "probe",
		},
		{name: "coordinator with a key", old: "items: [{key: redis_url, path: redis_url}]", want: "key"},
		{name: "coordinator calls", old: ", --no-worker", want: "--no-worker"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			changed := 0
			for file := range pods(t) {
				whole := read(t, filepath.Join(kubernetesDir, file))
				text := strings.ReplaceAll(whole, row.old, row.new)
				if text == whole {
					continue
				}
				changed++
				pod := podOf(t, file, text)
				problems := strings.Join(podProblems(t, file, &pod), "\n")
				if !strings.Contains(problems, row.want) && (file != "redis.yaml" || row.name != "probe") {
					t.Errorf("%s: problems\n%s\nlack %q", file, problems, row.want)
				}
			}
			if changed == 0 {
				t.Errorf("no manifest has %q", row.old)
			}
		})
	}
}

// podProblems says what of the promised hardening a pod lacks.
func podProblems(t *testing.T, file string, pod *corev1.PodTemplateSpec) []string {
	t.Helper()
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, check := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		if !check.Allowed {
			say("not restricted: %s: %s", check.ForbiddenReason, check.ForbiddenDetail)
		}
	}
	spec, container := &pod.Spec, &pod.Spec.Containers[0]
	if mount := spec.AutomountServiceAccountToken; mount == nil || *mount {
		say("has a token for the cluster's API")
	}
	if links := spec.EnableServiceLinks; links == nil || *links {
		say("has variables of all services of the namespace")
	}
	if root := container.SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
		say("root file system is not read-only")
	}
	if container.Resources.Limits.Memory().IsZero() {
		say("memory is unbounded")
	}
	if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() {
		say("requests no resources")
	}
	for _, variable := range container.Env {
		if variable.ValueFrom != nil {
			say("%s holds a secret, which its children and describe can see; mount it", variable.Name)
		}
	}
	hasKey := false
	for _, volume := range spec.Volumes {
		if volume.Secret == nil {
			continue
		}
		if mode := volume.Secret.DefaultMode; mode == nil || *mode&0o007 != 0 {
			say("secret %s can be read by everybody in the container", volume.Name)
		}
		hasKey = hasKey || len(volume.Secret.Items) == 0
	}
	if hasKey != (file == "worker.yaml") {
		say("has the API key: %t", hasKey)
	}
	if file == "redis.yaml" {
		return problems
	}
	if container.LivenessProbe != nil || container.ReadinessProbe != nil || container.StartupProbe != nil {
		say("has a probe, which says nothing of its health")
	}
	grace := longestCall
	if file == "worker.yaml" {
		if grace, err = time.ParseDuration(flagOf(container.Args, "--grace")); err != nil || grace <= longestCall {
			say("--grace %s is not above the longest call, %s", grace, longestCall)
		}
	} else if !slices.Contains(container.Args, "--no-worker") {
		say("makes calls itself: no --no-worker")
	}
	if stop := spec.TerminationGracePeriodSeconds; stop == nil || time.Duration(*stop)*time.Second <= grace {
		say("terminationGracePeriodSeconds is not above %s", grace)
	}
	return problems
}

// Selectors find the pods that they are meant for, and everything uses one Redis image and one secret.
func TestSelectors(t *testing.T) {
	t.Parallel()
	all := pods(t)
	set := decode[appsv1.StatefulSet](t, kubernetesDir+"/redis.yaml", "StatefulSet")
	deployment := decode[appsv1.Deployment](t, kubernetesDir+"/worker.yaml", "Deployment")
	service := decode[corev1.Service](t, kubernetesDir+"/redis.yaml", "Service")
	budget := decode[policyv1.PodDisruptionBudget](t, kubernetesDir+"/worker.yaml", "PodDisruptionBudget")
	for _, row := range []struct {
		name string
		from metav1.LabelSelector
		file string
	}{
		{name: "StatefulSet", from: *set.Spec.Selector, file: "redis.yaml"},
		{name: "Service", from: metav1.LabelSelector{MatchLabels: service.Spec.Selector}, file: "redis.yaml"},
		{name: "Deployment", from: *deployment.Spec.Selector, file: "worker.yaml"},
		{name: "PodDisruptionBudget", from: *budget.Spec.Selector, file: "worker.yaml"},
	} {
		selector, err := metav1.LabelSelectorAsSelector(&row.from)
		if err != nil {
			t.Fatal(err)
		}
		for file, pod := range all {
			if matches := selector.Matches(labels.Set(pod.Labels)); matches != (file == row.file) {
				t.Errorf("%s selects the pods of %s: %t", row.name, file, matches)
			}
		}
	}
	url := read(t, root+"/examples/compose/rehearse.redis_url")
	if !strings.Contains(url, "@"+service.Name+":6379") {
		t.Errorf("one secret can't do for compose and Kubernetes: %s has not the host %s", url, service.Name)
	}
	project, err := compose(t, read(t, composeFile), os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if image := set.Spec.Template.Spec.Containers[0].Image; image != project.Services["redis"].Image {
		t.Errorf("Redis is %s here and %s in the compose file", image, project.Services["redis"].Image)
	}
}

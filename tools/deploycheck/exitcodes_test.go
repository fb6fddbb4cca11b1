package deploycheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// exitCodes reads the exit codes from the program's source, so that a new one can't be forgotten here.
func exitCodes(t *testing.T) map[string]int32 {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), root+"/cmd/batchwright/exit.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]int32{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "exit") {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			code, err := strconv.ParseInt(literal.Value, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			codes[spec.Names[0].Name] = int32(code)
		}
		return true
	})
	return codes
}

// decisions says for each exit code whether the same command is worth another try without a person. Count is worth
// it, later each time; Ignore at once; FailJob is not.
var decisions = map[string]batchv1.PodFailurePolicyAction{
	"exitFailed":       batchv1.PodFailurePolicyActionCount,
	"exitUsage":        batchv1.PodFailurePolicyActionFailJob,
	"exitManyFailures": batchv1.PodFailurePolicyActionFailJob,
	"exitBlocked":      batchv1.PodFailurePolicyActionFailJob,
	"exitOwned":        batchv1.PodFailurePolicyActionCount,
	"exitChanged":      batchv1.PodFailurePolicyActionFailJob,
	"exitOutOfTime":    batchv1.PodFailurePolicyActionFailJob,
	"exitInterrupted":  batchv1.PodFailurePolicyActionIgnore,
	"exitTerminated":   batchv1.PodFailurePolicyActionIgnore,
}

// Every exit code of the program is handled by the Kubernetes Job and by the systemd unit as decided, and explained in
// the operator's page.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	job := decode[batchv1.Job](t, kubernetesDir+"/run.yaml", "Job")
	unit := read(t, root+"/examples/systemd/batchwright@.service")
	page := read(t, root+"/docs/operations.md")
	codes := exitCodes(t)
	if len(codes) != len(decisions)+1 || codes["exitComplete"] != 0 {
		t.Errorf("the program has the exit codes %v, and decisions are %v", codes, decisions)
	}
	for name, code := range codes {
		if !regexp.MustCompile(`(?m)^\| (\d+, )?` + strconv.Itoa(int(code)) + `(, \d+)? \|`).MatchString(page) {
			t.Errorf("docs/operations.md has no row for %s, %d", name, code)
		}
		if code == 0 {
			continue
		}
		if got := actionOn(job, code); got != decisions[name] {
			t.Errorf("the Job does %s on %s, %d; decided is %s", got, name, code, decisions[name])
		}
		if prevented := slices.Contains(prevents(unit), strconv.Itoa(int(code))); prevented != (decisions[name] == batchv1.PodFailurePolicyActionFailJob) {
			t.Errorf("systemd starts again after %s, %d: %t; decided is %s", name, code, !prevented, decisions[name])
		}
	}
	if got := actionOn(job, 137); got != batchv1.PodFailurePolicyActionCount {
		t.Errorf("the Job does %s when its pod is killed, want Count", got)
	}
}

// actionOn is what the Job controller does with a pod that exited with the code: the first rule that fits, else Count.
func actionOn(job *batchv1.Job, code int32) batchv1.PodFailurePolicyAction {
	for _, rule := range job.Spec.PodFailurePolicy.Rules {
		if exit := rule.OnExitCodes; exit != nil && slices.Contains(exit.Values, code) == (exit.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
			return rule.Action
		}
	}
	return batchv1.PodFailurePolicyActionCount
}

// prevents lists the exit codes after which a systemd unit is not started again.
func prevents(unit string) []string {
	for line := range strings.Lines(unit) {
		if values, found := strings.CutPrefix(line, "RestartPreventExitStatus="); found {
			return strings.Fields(values)
		}
	}
	return nil
}

// A pod of a run that a drained node stops is replaced, and never by a second one beside it.
func TestJobSurvivesDrain(t *testing.T) {
	t.Parallel()
	spec := decode[batchv1.Job](t, kubernetesDir+"/run.yaml", "Job").Spec
	if spec.PodReplacementPolicy == nil || *spec.PodReplacementPolicy != batchv1.Failed {
		t.Error("a second pod may start while the first still ends: podReplacementPolicy is not Failed")
	}
	if *spec.Completions != 1 || *spec.Parallelism != 1 {
		t.Error("more than one pod may own the run")
	}
	if spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Error("podFailurePolicy needs restartPolicy Never")
	}
	disrupted := slices.IndexFunc(spec.PodFailurePolicy.Rules, func(rule batchv1.PodFailurePolicyRule) bool {
		return rule.Action == batchv1.PodFailurePolicyActionIgnore && len(rule.OnPodConditions) == 1 &&
			rule.OnPodConditions[0].Type == corev1.DisruptionTarget
	})
	if disrupted < 0 {
		t.Error("a drained node counts as a failure of the run")
	}
}

package deploycheck

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// The metrics of coordinators and workers are served, announced and let through at one port, and nobody else's are.
func TestMetricsPort(t *testing.T) {
	t.Parallel()
	var allowed *networkingv1.NetworkPolicy
	path := kubernetesDir + "/network.yaml"
	for _, d := range documents(t, path, read(t, path)) {
		p := new(networkingv1.NetworkPolicy)
		if err := yaml.UnmarshalStrict(d.text, p); err != nil {
			t.Fatal(err)
		}
		if p.Name == "metrics" {
			allowed = p
		}
	}
	if allowed == nil {
		t.Fatalf("%s has no policy for metrics", path)
	}
	selector, err := metav1.LabelSelectorAsSelector(&allowed.Spec.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	port := allowed.Spec.Ingress[0].Ports[0].Port.String()
	if from := allowed.Spec.Ingress[0].From; len(from) != 1 || from[0].NamespaceSelector == nil || len(from[0].NamespaceSelector.MatchLabels) == 0 {
		t.Errorf("metrics can be read from %+v, want one namespace", from)
	}
	for file, pod := range pods(t) {
		tells := file != "redis.yaml"
		if selector.Matches(labels.Set(pod.Labels)) != tells {
			t.Errorf("the policy selects the pods of %s: %t", file, !tells)
		}
		if !tells {
			continue
		}
		container := pod.Spec.Containers[0]
		if got := flagOf(container.Args, "--metrics"); got != ":"+port {
			t.Errorf("%s: --metrics %q, and the policy lets through %s", file, got, port)
		}
		if about := pod.Annotations; about["prometheus.io/scrape"] != "true" || about["prometheus.io/port"] != port {
			t.Errorf("%s: annotations %v, want port %s", file, about, port)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/fleet"
)

// status returns the answer of a node's agent, with changes as pairs of old and new text.
func status(node string, changes ...string) string {
	return strings.NewReplacer(changes...).Replace(`{"apiVersion": "hnsguard.io/v1alpha1", "kind": "NodeReport",
		"time": "2026-03-01T03:00:02Z", "node": "` + node + `", "agent": {"version": "v1.2.3"}, "state": "guarding",
		"mode": "enforce", "kubeProxy": {"version": "v1.37.2", "known": true, "faults": []},
		"pass": {"ended": "2026-03-01T03:00:00Z"}, "counts": {"conflict": 1, "orphan": 2, "held": 4, "in_use": 8}, "findings": []}`)
}

func lacking(title string, pods ...string) string {
	return fmt.Sprintf(`"findings": [{"kind": "pod", "reason": "without-network", "title": "%s without network", "objects": ["%s"]}]`,
		title, strings.Join(pods, `", "`))
}

// Invariants 1 and 3.
func TestRowOf(t *testing.T) {
	const pass = `"pass": {"ended": "2026-03-01T03:00:00Z"}, `
	for name, tc := range map[string]struct {
		status string
		cells  string
	}{
		"all is well": {status("win-1"), "win-1 v1.2.3 enforce guarding v1.37.2 15 3 4 2s ago -"},
		"the version of kube-proxy is unknown": {
			status("win-1", `"known": true, "faults": []`, `"known": false, "faults": ["duplicates"]`),
			"win-1 v1.2.3 enforce guarding - 15 3 4 2s ago -",
		},
		"no pass yet": {
			status("win-1", pass, "", "guarding", "starting"),
			"win-1 v1.2.3 enforce starting v1.37.2 - - - - has not completed a pass yet",
		},
		"idle": {
			status("win-1", pass, "", "guarding", `idle", "message": "no pod network`),
			"win-1 v1.2.3 enforce idle v1.37.2 - - - - -",
		},
		"its pod network is gone": {
			status("win-1", pass, "", "guarding", "network-gone", `"findings": []`, `"findings": [{"kind": "network", "reason": "gone", "title": "no pod network"}]`),
			"win-1 v1.2.3 enforce network-gone v1.37.2 - - - - no pod network",
		},
		"it cannot observe its node": {
			status("win-1", "guarding", `unknown", "message": "HNS is unavailable`),
			"win-1 v1.2.3 enforce unknown v1.37.2 15 3 4 2s ago cannot observe the node: HNS is unavailable",
		},
		"a pod has no network": {
			status("win-1", `"findings": []`, lacking("1 pod", "shop/a")),
			"win-1 v1.2.3 enforce guarding v1.37.2 15 3 4 2s ago 1 pod without network: shop/a",
		},
		"many have none": {
			status("win-1", `"findings": []`, lacking("5 pods", "a/a", "a/b", "a/c", "a/d", "a/e")),
			"win-1 v1.2.3 enforce guarding v1.37.2 15 3 4 2s ago 5 pods without network: a/a, a/b, a/c and 2 others",
		},
		"load balancers are broken": {
			status("win-1", `"findings": []`, `"findings": [`+
				`{"kind": "load_balancer", "reason": "missing", "title": "1 load balancer missing", "objects": ["shop/cart"]},`+
				`{"kind": "endpoint", "reason": "local-leaked", "title": "1 leaked local endpoint", "objects": ["10.0.0.9"]},`+
				`{"kind": "endpoint", "reason": "stale-record", "title": "1 stale remote endpoint held", "objects": ["10.0.0.8"]}]`),
			"win-1 v1.2.3 enforce guarding v1.37.2 15 3 4 2s ago " +
				"1 load balancer missing: shop/cart; 1 leaked local endpoint: 10.0.0.9",
		},
		"a pod had no network when the node was last observed": {
			status("win-1", "guarding", `unknown", "message": "HNS is unavailable`, `"findings": []`, lacking("1 pod", "shop/a")),
			"win-1 v1.2.3 enforce unknown v1.37.2 15 3 4 2s ago cannot observe the node: HNS is unavailable",
		},
		"its passes have stopped": {
			status("win-1", "03:00:02", "03:10:00"),
			"win-1 v1.2.3 enforce guarding v1.37.2 15 3 4 10m0s ago the last pass ended 10m0s ago",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			row, err := fleet.RowOf("win-1", []byte(tc.status))
			g.Expect(err).NotTo(HaveOccurred())
			var out strings.Builder
			g.Expect(fleet.Report{Nodes: []fleet.Row{row}}.PrintWide(&out)).To(Succeed())
			_, line, _ := strings.Cut(out.String(), "\n")
			g.Expect(strings.Join(strings.Fields(line), " ")).To(Equal(tc.cells))
		})
	}
	for text, complaint := range map[string]string{
		"hello":                              "reading the agent's report: invalid character",
		"":                                   "unexpected end of JSON",
		status("win-2"):                      `the agent answers for node "win-2", not for "win-1"`,
		status("win-1", "NodeReport", "Pod"): `found "hnsguard.io/v1alpha1" "Pod"`,
		status("win-1", "v1alpha1", "v9"):    `found "hnsguard.io/v9" "NodeReport"`,
	} {
		_, err := fleet.RowOf("win-1", []byte(text))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(complaint)), text)
	}
}

// agents are the agents' answers, by the names of their pods.
type agents map[string]string

func (a agents) exec(ctx context.Context, pod client.ObjectKey, command []string, stdout, _ io.Writer) error {
	answer, has := a[pod.Name]
	switch {
	case !slices.Equal(command, fleet.Command()):
		return fmt.Errorf("%q is not the command", command)
	case answer == "hang":
		<-ctx.Done()
		return ctx.Err()
	case !has:
		return errors.New("unable to upgrade\nconnection")
	default:
		_, err := io.WriteString(stdout, answer)
		return err
	}
}

// daemonSet returns the release's DaemonSet.
func daemonSet() *appsv1.DaemonSet {
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{
		Namespace: "hnsguard-system", Name: "hnsguard", UID: "ds", Labels: map[string]string{"app": "hnsguard"},
	}}
	set.Spec.Template.Spec.ServiceAccountName = "hnsguard"
	return set
}

func agent(node, name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "hnsguard-system", Name: name, Labels: map[string]string{"app": "hnsguard"},
		CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 0, 0, len(name), 0, time.UTC)),
		OwnerReferences:   []metav1.OwnerReference{*metav1.NewControllerRef(daemonSet(), appsv1.SchemeGroupVersion.WithKind("DaemonSet"))},
	}}
	p.Spec.NodeName, p.Status.Phase, p.Spec.ServiceAccountName = node, corev1.PodRunning, "hnsguard"
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: new(true)},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func windows(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "windows"}}}
}

func query(t *testing.T, namespace string, exec agents, list func(client.ObjectList) error, objects ...client.Object) (fleet.Report, error) {
	t.Helper()
	api := fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, into client.ObjectList, opts ...client.ListOption) error {
			if err := list(into); err != nil {
				return err
			}
			return c.List(ctx, into, opts...)
		},
	}).Build()
	var answered atomic.Int64
	report, err := fleet.Query(t.Context(), fleet.Options{
		API: api, Exec: exec.exec, Namespace: namespace, Selector: labels.SelectorFromSet(labels.Set{"app": "hnsguard"}),
		Parallel: 2, Timeout: 200 * time.Millisecond,
		Progress: func(done, all int) {
			if done < 1 || done > all {
				t.Errorf("%d of %d nodes", done, all)
			}
			answered.Add(1)
		},
	})
	NewWithT(t).Expect(answered.Load()).To(BeEquivalentTo(len(report.Nodes)))
	return report, err
}

func listed(client.ObjectList) error { return nil }

// Invariant 1.
func TestEveryNodeIsARow(t *testing.T) {
	g := NewWithT(t)
	waiting := func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodPending
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}},
		}}
	}
	ending := func(p *corev1.Pod) {
		p.DeletionTimestamp, p.Finalizers = new(metav1.Now()), []string{"x/y"}
	}
	report, err := query(t, "hnsguard-system", agents{
		"well": status("win-1"), "slow": "hang", "liar": status("win-1"), "longer-running": status("win-7"),
	}, listed, daemonSet(),
		windows("win-1"), windows("win-0"), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "lin-1"}},
		agent("win-1", "well"), agent("win-2", "mute"), agent("win-3", "slow"), agent("win-4", "pending", waiting),
		agent("win-5", "liar"), agent("win-6", "failed", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		agent("win-7", "old-and-being-deleted", ending), agent("win-7", "longer-running"), agent("win-7", "much-newer-but-pending", waiting),
		agent("", "unscheduled"),
		agent("win-9", "another", func(p *corev1.Pod) { p.Labels = nil }),
		agent("win-10", "one"), agent("win-10", "two"), agent("win-11", "leaving", ending),
	)
	g.Expect(err).NotTo(HaveOccurred())
	problems := map[string]string{}
	for _, row := range report.Nodes {
		problems[row.Node] = row.Problem
	}
	g.Expect(problems).To(Equal(map[string]string{
		"win-0":  "no agent runs on it",
		"win-1":  "",
		"win-2":  "does not answer: unable to upgrade connection",
		"win-3":  "does not answer: no answer within 200ms",
		"win-4":  "its agent does not run: pod hnsguard-system/pending is Pending (ImagePullBackOff)",
		"win-5":  `does not answer: the agent answers for node "win-1", not for "win-5"`,
		"win-6":  "its agent does not run: pod hnsguard-system/failed is Failed",
		"win-7":  "",
		"win-10": "2 agents run on it: hnsguard-system/one, hnsguard-system/two",
		"win-11": "its agent does not run: pod hnsguard-system/leaving is Terminating",
	}))
	g.Expect(report.Problems).To(Equal(8))
	g.Expect(report.Notes).To(BeEmpty())
	row := func(node string) fleet.Row {
		return report.Nodes[slices.IndexFunc(report.Nodes, func(r fleet.Row) bool { return r.Node == node })]
	}
	g.Expect(row("win-2").Report).To(BeNil(), "unknown is not zero")
	g.Expect(row("win-7").Pod).To(Equal("hnsguard-system/longer-running"))
}

// Invariant 4: an agent that hangs remains a problem, whatever other pods exist.
func TestAPodThatOnlyLooksLikeAnAgentIsNotQueried(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		fault  string // empty if the namespace is searched only with --all-namespaces
	}{
		"in another namespace": {func(p *corev1.Pod) { p.Namespace = "tenant" }, ""},
		"without owner":        {func(p *corev1.Pod) { p.OwnerReferences = nil }, "no DaemonSet of hnsguard owns it"},
		"of another DaemonSet": {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" }, "no DaemonSet of hnsguard owns it"},
		"of a ReplicaSet":      {func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "ReplicaSet" }, "no DaemonSet of hnsguard owns it"},
		"of another account": {
			func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" },
			`its service account is "default", and that of the DaemonSet "hnsguard"`,
		},
		"on no host": {func(p *corev1.Pod) { p.Spec.SecurityContext = nil }, "it is not a HostProcess pod"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			mallory := agent("win-1", "mallory", tc.change)
			exec := agents{"real": "hang", "mallory": status("win-1")}
			for _, namespace := range []string{"hnsguard-system", ""} {
				report, err := query(t, namespace, exec, listed, daemonSet(), windows("win-1"), agent("win-1", "real"), mallory)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(report.Nodes).To(ConsistOf(fleet.Row{
					Node: "win-1", Pod: "hnsguard-system/real", Problem: "does not answer: no answer within 200ms",
				}))
				g.Expect(report.Problems).To(Equal(1))
				if tc.fault != "" || namespace == "" {
					g.Expect(report.Notes).To(ConsistOf(HavePrefix("ignored pod " + mallory.Namespace + "/mallory, which has the labels of an agent: " + tc.fault)))
				}
			}
		})
	}
}

func TestWithoutARelease(t *testing.T) {
	g := NewWithT(t)
	report, err := query(t, "hnsguard-system", agents{}, listed, windows("win-1"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(report.Nodes).To(ConsistOf(fleet.Row{Node: "win-1", Problem: "no agent runs on it"}))
	g.Expect(report.Notes).To(ConsistOf(ContainSubstring("namespace hnsguard-system has no DaemonSet with the labels app=hnsguard")))
}

func TestWhatCannotBeListed(t *testing.T) {
	g := NewWithT(t)
	refuse := func(err error) func(client.ObjectList) error {
		return func(into client.ObjectList) error {
			if _, is := into.(*corev1.NodeList); is {
				return err
			}
			return nil
		}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("no role"))
	report, err := query(t, "hnsguard-system", agents{"well": status("win-1")}, refuse(forbidden), daemonSet(), windows("win-0"), agent("win-1", "well"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(report.Nodes).To(HaveLen(1))
	g.Expect(report.Notes).To(ConsistOf(ContainSubstring("you may not list nodes")))

	_, err = query(t, "hnsguard-system", agents{}, refuse(errors.New("no route to host")))
	g.Expect(err).To(MatchError("listing the Windows nodes: no route to host"))
	_, err = query(t, "hnsguard-system", agents{}, func(client.ObjectList) error { return errors.New("no route to host") })
	g.Expect(err).To(MatchError("listing the agents' DaemonSets: no route to host"))
}

func TestPrint(t *testing.T) {
	g := NewWithT(t)
	row, err := fleet.RowOf("win-1", []byte(status("win-1", `"faults": []`, `"faults": ["given-up-leak", "builds-on-leaked-locals"]`)))
	g.Expect(err).NotTo(HaveOccurred())
	report := fleet.Report{
		Nodes: []fleet.Row{row, {Node: "win-2", Problem: "no agent runs on it"}}, Notes: []string{"something"},
	}
	for want, show := range map[string]func(io.Writer) error{
		`NODE   STATE     KUBE-PROXY  STALE  HELD  LAST PASS
win-1  guarding  v1.37.2     3      4     2s ago
win-2  -         -           -      -     -
kube-proxy v1.37.2 with given-up-leak, builds-on-leaked-locals.
win-2: no agent runs on it.
Note: something.
`: report.Print,
		`NODE   AGENT   MODE     STATE     KUBE-PROXY  ENDPOINTS  STALE  HELD  LAST PASS  PROBLEM
win-1  v1.2.3  enforce  guarding  v1.37.2     15         3      4     2s ago     -
win-2  -       -        -         -           -          -      -     -          no agent runs on it
kube-proxy v1.37.2 with given-up-leak, builds-on-leaked-locals.
Note: something.
`: report.PrintWide,
	} {
		var out strings.Builder
		g.Expect(show(&out)).To(Succeed())
		g.Expect(out.String()).To(Equal(want))
	}
}

// An agent's answer reaches a terminal as a value: it starts no row, and does not control the terminal.
func TestAHostileAnswerIsShownEscaped(t *testing.T) {
	g := NewWithT(t)
	row, err := fleet.RowOf("win-1", []byte(status("win-1", "v1.37.2", `v1.37.2\u001b]52;c;aGk=\u0007\u001b[31m`,
		`"findings": []`, `"findings": [{"kind": "pod", "title": "1 pod", "objects": ["shop/a\nwin-2  v1.2.3  enforce  guarding"]}]`)))
	g.Expect(err).NotTo(HaveOccurred())
	var out strings.Builder
	g.Expect(fleet.Report{Nodes: []fleet.Row{row}}.PrintWide(&out)).To(Succeed())
	g.Expect(strings.Count(out.String(), "\n")).To(Equal(2), "a heading and a row")
	g.Expect(out.String()).NotTo(ContainSubstring("\x1b"))
	g.Expect(out.String()).To(And(ContainSubstring(`v1.37.2\u001b]52;c;aGk=\u0007\u001b[31m`), ContainSubstring(`shop/a\u000awin-2`)))
}

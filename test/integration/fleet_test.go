// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	utilexec "k8s.io/utils/exec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/fleet"
	"github.com/hnsguard/hnsguard/test/kubelet"
)

// answers are the outputs of commands in the agents' containers. No process runs there.
type answers struct {
	answer func(node string, out, complaints io.Writer) error
	// commands are the commands that were run.
	commands chan []string
	// running counts the running commands, and most is their maximum.
	running, most atomic.Int64
}

// exec implements [kubelet.Exec].
func (a *answers) exec(_ context.Context, pod, container string, command []string, out, complaints io.Writer) error {
	now := a.running.Add(1)
	defer a.running.Add(-1)
	for most := a.most.Load(); now > most && !a.most.CompareAndSwap(most, now); most = a.most.Load() {
	}
	a.commands <- append([]string{container}, command...)
	return a.answer(strings.TrimPrefix(pod, "hnsguard-"), out, complaints)
}

// serveOn serves the answers on a Windows node.
func (a *answers) serveOn(ctx context.Context, cp *controlPlane, node string) {
	GinkgoHelper()
	s := kubelet.Serve(a.exec)
	DeferCleanup(s.Close)
	Expect(kubelet.Register(ctx, cp.client, node, s)).To(Succeed())
}

// runs creates the agent's running pod on a node.
func (i installed) runs(ctx context.Context, node string) {
	GinkgoHelper()
	pod := &corev1.Pod{}
	Expect(i.cp.client.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: "hnsguard-" + node}, pod)).To(Succeed())
	pod.Status.Phase = corev1.PodRunning
	Expect(i.cp.client.Status().Update(ctx, pod)).To(Succeed())
}

// statusOf returns the output of an agent.
func statusOf(node string) string {
	text, err := json.Marshal(map[string]any{
		"apiVersion": "hnsguard.io/v1alpha1", "kind": "NodeReport", "node": node, "mode": "enforce", "state": "guarding",
		"agent": map[string]any{"version": "v1.2.3"}, "time": "2026-03-01T03:00:02Z",
		"kubeProxy": map[string]any{"version": "v1.34.0", "known": true, "faults": []string{"batch-leak"}},
		"pass":      map[string]any{"ended": "2026-03-01T03:00:00Z"}, "counts": map[string]int{"conflict": 1, "held": 2, "in_use": 4},
		// This is more than one frame, as for a node with thousands of endpoints, in a field of a later version.
		"later": strings.Repeat("x", 300<<10),
	})
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// kubeconfig returns the path of a kubeconfig for the control plane.
func (cp *controlPlane) kubeconfig() string {
	GinkgoHelper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: cp.config.Host, CertificateAuthorityData: cp.config.CAData}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: cp.config.CertData, ClientKeyData: cp.config.KeyData, Token: cp.config.BearerToken,
	}
	c.Contexts["k"], c.CurrentContext = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}, "k"
	file := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(clientcmd.WriteToFile(*c, file)).To(Succeed())
	return file
}

// podOn creates a pod on a node, and returns its name.
func (cp *controlPlane) podOn(ctx context.Context, namespace, name, node string) string {
	GinkgoHelper()
	Expect(cp.client.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}}},
	})).To(Succeed())
	return namespace + "/" + name
}

var _ = Describe("The status over all nodes", func() {
	It("is asked through the API server, and has a row for nodes that do not answer too", func(ctx SpecContext) {
		it := install(ctx, shared)
		n := corners.Add(1)
		name := func(what string) string { return fmt.Sprintf("win-%d-%s", n, what) }
		well, broken, slow, pending, bare := name("well"), name("broken"), name("slow"), name("pending"), name("bare")
		hang := make(chan struct{})
		k := &answers{commands: make(chan []string, 100), answer: func(node string, out, complaints io.Writer) error {
			switch node {
			case broken:
				_, _ = io.WriteString(complaints, "hnsguard: reading the status of the agent on this node: connection refused\n")
				return utilexec.CodeExitError{Err: errors.New("exit status 3"), Code: cli.ExitFinding}
			case slow:
				<-hang
			}
			_, err := io.WriteString(out, statusOf(node))
			return err
		}}
		for _, node := range []string{well, broken, slow, pending} {
			it.agentOn(ctx, node)
			k.serveOn(ctx, shared, node)
			if node != pending {
				it.runs(ctx, node)
			}
		}
		Expect(shared.client.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: bare, Labels: map[string]string{corev1.LabelOSStable: "windows"},
		}})).To(Succeed())
		DeferCleanup(func() { close(hang) })

		executor, err := fleet.NewExecutor(shared.config)
		Expect(err).NotTo(HaveOccurred())
		selector := labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "hnsguard"})
		options := fleet.Options{
			API: shared.client, Exec: executor, Namespace: it.namespace, Selector: selector, Parallel: 2, Timeout: 5 * time.Second,
		}
		report, err := fleet.Query(ctx, options)
		Expect(err).NotTo(HaveOccurred())
		rows := map[string]fleet.Row{}
		for _, row := range report.Nodes {
			rows[row.Node] = row
		}
		agent := it.namespace + "/hnsguard-"
		Expect(rows[well]).To(And(HaveField("Pod", agent+well), HaveField("Problem", BeEmpty()), HaveField("Report", And(
			HaveField("Agent.Agent.Version", "v1.2.3"), HaveField("State", BeEquivalentTo("guarding")),
			HaveField("KubeProxy.Faults", ConsistOf("batch-leak")), HaveField("Counts", HaveKeyWithValue(BeEquivalentTo("held"), 2)),
		))))
		Expect(rows[broken].Problem).To(ContainSubstring("does not answer: hnsguard: reading the status of the agent on this node: connection refused"))
		Expect(rows[slow].Problem).To(Equal("does not answer: no answer within 5s"))
		Expect(rows[pending].Problem).To(And(HavePrefix("its agent does not run: pod "), HaveSuffix(" is Pending")))
		Expect(rows[bare]).To(Equal(fleet.Row{Node: bare, Problem: "no agent runs on it"}))
		Expect(report.Problems).To(BeNumerically(">=", 4))
		Expect(k.most.Load()).To(BeNumerically("<=", 2))
		Expect(<-k.commands).To(Equal(append([]string{"hnsguard"}, fleet.Command()...)))

		By("running commands on one of them")
		for len(k.commands) > 0 {
			<-k.commands
		}
		here := func(args ...string) (int, string, string) {
			var out, complaints strings.Builder
			args = append(args, "--namespace", it.namespace, "--kubeconfig", shared.kubeconfig())
			code := cli.Run(ctx, args, cli.Process{
				Name: "kubectl-hnsguard", Out: &out, Err: &complaints, Env: func(string) (string, bool) { return "", false },
			})
			return code, out.String(), complaints.String()
		}
		code, out, complaints := here("explain", "10.0.0.7", "--node", well, "-o", "json")
		Expect(code).To(Equal(cli.ExitOK), complaints)
		Expect(out).To(Equal(statusOf(well)))
		Expect(<-k.commands).To(Equal([]string{"hnsguard", fleet.Program, "explain", "10.0.0.7", "--output=json"}))
		cart := shared.podOn(ctx, it.namespace, "cart", well)
		code, out, complaints = here("explain", cart, "-o", "json")
		Expect(code).To(Equal(cli.ExitOK), complaints)
		Expect(out).To(Equal(statusOf(well)))
		Expect(<-k.commands).To(Equal([]string{"hnsguard", fleet.Program, "explain", cart, "--output=json"}))
		code, _, complaints = here("explain", it.namespace+"/nobody")
		Expect(code).To(Equal(cli.ExitError))
		Expect(complaints).To(ContainSubstring("there is no Pod " + it.namespace + "/nobody; name the node with --node"))
		file := filepath.Join(GinkgoT().TempDir(), "bundle.zip")
		code, out, complaints = here("bundle", "--node", well, "--file", file)
		Expect(code).To(Equal(cli.ExitOK), complaints)
		Expect(out).To(Equal(fmt.Sprintf("Recorded node %s in %s.\n", well, file)))
		Expect(os.ReadFile(file)).To(BeEquivalentTo(statusOf(well)))
		Expect(<-k.commands).To(Equal([]string{"hnsguard", fleet.Program, "bundle", "--file=-"}))
		code, _, complaints = here("scan", "--node", broken, "--ip", "10.0.0.7,10.0.0.8")
		Expect(code).To(Equal(cli.ExitFinding), complaints)
		Expect(complaints).To(Equal("hnsguard: reading the status of the agent on this node: connection refused\n"))
		Expect(<-k.commands).To(Equal([]string{"hnsguard", fleet.Program, "scan", "--ip=10.0.0.7", "--ip=10.0.0.8"}))
		code, _, complaints = here("doctor", "--node", bare)
		Expect(code).To(Equal(cli.ExitError))
		Expect(complaints).To(And(
			ContainSubstring(fmt.Sprintf("looking for the agent on node %q: no agent runs on it", bare)),
			MatchRegexp(`What the API server alone says:\n  - kube-proxy unknown is taken to have every fault: `),
			ContainSubstring("hnsguard.exe doctor --node-name "+bare),
		))
		code, _, complaints = here("bundle", "--node", broken, "--file", file)
		Expect(code).To(Equal(cli.ExitFinding), complaints)
		Expect(file).NotTo(BeAnExistingFile(), "what was not written whole does not stay")
		for len(k.commands) > 0 {
			<-k.commands
		}

		By("ignoring a tenant's pod that looks like the agent of the slow node")
		tenant := shared.namespace(ctx)
		forged := &corev1.Pod{}
		Expect(shared.client.Get(ctx, client.ObjectKey{Namespace: it.namespace, Name: "hnsguard-" + slow}, forged)).To(Succeed())
		owners := forged.OwnerReferences
		for _, namespace := range []string{tenant, it.namespace} {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mallory-" + slow, Labels: forged.Labels}, Spec: forged.Spec}
			if namespace == tenant {
				pod.OwnerReferences = owners
			}
			pod.Spec.Containers[0].Command = []string{`c:\mallory.exe`}
			Expect(shared.client.Create(ctx, pod)).To(Succeed())
			pod.Status.Phase = corev1.PodRunning
			Expect(shared.client.Status().Update(ctx, pod)).To(Succeed())
		}
		for _, namespace := range []string{it.namespace, ""} {
			options := options
			options.Namespace, options.Timeout = namespace, time.Second
			report, err := fleet.Query(ctx, options)
			Expect(err).NotTo(HaveOccurred())
			Expect(report.Nodes).To(ContainElement(fleet.Row{
				Node: slow, Pod: agent + slow, Problem: "does not answer: no answer within 1s",
			}))
			Expect(report.Notes).To(ContainElement(ContainSubstring(it.namespace + "/mallory-" + slow)))
			Expect(slices.ContainsFunc(report.Notes, func(note string) bool {
				return strings.Contains(note, tenant+"/mallory-"+slow)
			})).To(Equal(namespace == ""))
		}
		Consistently(k.commands).WithTimeout(time.Millisecond).ShouldNot(Receive(ContainElement(ContainSubstring("mallory"))))

		By("asking with an account that may not")
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: it.namespace, Name: "person"}}
		Expect(shared.client.Create(ctx, account)).To(Succeed())
		config := shared.as(ctx, account, nil)
		_, err = fleet.Query(ctx, fleet.Options{
			API: clientOf(config), Exec: executor, Namespace: it.namespace, Selector: selector, Parallel: 2, Timeout: time.Second,
		})
		Expect(err).To(MatchError(ContainSubstring("listing the agents' DaemonSets: ")))
		role := &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: it.namespace, Name: "person"},
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
				{APIGroups: []string{"apps"}, Resources: []string{"daemonsets"}, Verbs: []string{"list"}},
			},
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: it.namespace, Name: account.Name}},
		}
		Expect(shared.client.Create(ctx, role)).To(Succeed())
		Expect(shared.client.Create(ctx, binding)).To(Succeed())
		options.API = clientOf(config)
		options.Exec, err = fleet.NewExecutor(config)
		Expect(err).NotTo(HaveOccurred())
		ask := func(g Gomega) fleet.Report {
			report, err := fleet.Query(ctx, options)
			g.Expect(err).NotTo(HaveOccurred())
			return report
		}
		Eventually(func(g Gomega) {
			report := ask(g)
			g.Expect(report.Notes).To(ContainElement(ContainSubstring("you may not list nodes")))
			g.Expect(report.Nodes).To(HaveLen(4), "those that have an agent")
			g.Expect(report.Nodes).To(ContainElement(And(HaveField("Node", well), HaveField("Problem", ContainSubstring("forbidden")))))
		}).Should(Succeed())

		role.Rules = append(role.Rules, rbacv1.PolicyRule{
			APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create", "get"},
		})
		Expect(shared.client.Update(ctx, role)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(ask(g).Nodes).To(ContainElement(And(HaveField("Node", well), HaveField("Report.Agent.Agent.Version", "v1.2.3"))))
		}).Should(Succeed(), "with what the help says is needed")
	})
})

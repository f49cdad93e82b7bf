// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Row is what is known of one node. Fields that are unknown are empty or missing.
type Row struct {
	Node string `json:"node"`
	// Pod is the agent's pod, as namespace/name.
	Pod     string `json:"pod,omitempty"`
	Version string `json:"version,omitempty"`
	Mode    string `json:"mode,omitempty"`
	// State is what the agent says of its node: starting, guarding, idle or unknown.
	State string `json:"state,omitempty"`
	// Message is what the agent says about the state.
	Message         string   `json:"message,omitempty"`
	KubeProxy       string   `json:"kubeProxyVersion,omitempty"`
	KubeProxyFaults []string `json:"kubeProxyFaults,omitempty"`
	// Endpoints, Stale and Held count the endpoints of the last complete pass, those of them that are to be removed, and
	// those that wait for kube-proxy.
	Endpoints *int `json:"endpoints,omitempty"`
	Stale     *int `json:"stale,omitempty"`
	Held      *int `json:"held,omitempty"`
	// Victims are the pods, as namespace/name, that had lost their endpoint in that pass, and with it their network.
	Victims []string `json:"podsWithoutNetwork,omitempty"`
	// PassAge is how long ago that pass ended, in seconds on the clock of the node.
	PassAge *float64 `json:"lastPassAgeSeconds,omitempty"`
	// Problem is why the node does not answer, or what a person should look at.
	Problem string `json:"problem,omitempty"`
}

// Report is the status of all nodes. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	Nodes []Row `json:"nodes"`
	// Problems counts the nodes that have one.
	Problems int      `json:"problems"`
	Notes    []string `json:"notes,omitempty"`
}

// Executor runs a command in a container of a pod and returns what it writes to stdout. The error of a command that
// fails has what it wrote to stderr.
type Executor interface {
	Exec(ctx context.Context, pod client.ObjectKey, container string, command []string) ([]byte, error)
}

// Options say whom to ask. All fields but Namespace are required.
type Options struct {
	API  client.Reader
	Exec Executor
	// Namespace limits the agents to one namespace. Empty means all.
	Namespace string
	// Selector selects the agents' pods.
	Selector labels.Selector
	// Parallel is how many agents are asked at one time, and Timeout how long each may take.
	Parallel int
	Timeout  time.Duration
}

// Ask asks all agents. Only if they cannot be listed it returns an error.
func Ask(ctx context.Context, o Options) (Report, error) {
	var pods corev1.PodList
	selection := &client.ListOptions{Namespace: o.Namespace, LabelSelector: o.Selector}
	if err := o.API.List(ctx, &pods, selection); err != nil {
		return Report{}, fmt.Errorf("listing the agents' pods: %w", err)
	}
	agents := byNode(pods.Items)
	nodes, note, err := o.windowsNodes(ctx)
	if err != nil {
		return Report{}, err
	}
	for node := range agents {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	report := Report{Nodes: make([]Row, len(nodes))}
	if note != "" {
		report.Notes = append(report.Notes, note)
	}
	var asking errgroup.Group
	asking.SetLimit(o.Parallel)
	for i, node := range nodes {
		asking.Go(func() error {
			report.Nodes[i] = o.row(ctx, node, agents[node])
			return nil
		})
	}
	_ = asking.Wait() // a node that does not answer is a row
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("asking the agents: %w", err)
	}
	for _, row := range report.Nodes {
		if row.Problem != "" {
			report.Problems++
		}
	}
	return report, nil
}

// windowsNodes lists the nodes that should have an agent. Somebody who may not list nodes sees those that have one.
func (o Options) windowsNodes(ctx context.Context) (names []string, note string, err error) {
	var nodes corev1.NodeList
	err = o.API.List(ctx, &nodes, client.MatchingLabels{corev1.LabelOSStable: string(corev1.Windows)})
	if apierrors.IsForbidden(err) {
		return nil, "you may not list nodes: Windows nodes without an agent are not shown", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("listing the Windows nodes: %w", err)
	}
	for _, n := range nodes.Items {
		names = append(names, n.Name)
	}
	return names, "", nil
}

// byNode returns the agent of each node. While an agent is replaced, there are two: the one that runs counts, or else
// the newer one.
func byNode(pods []corev1.Pod) map[string]*corev1.Pod {
	rank := func(p *corev1.Pod) int {
		switch {
		case p.Status.Phase != corev1.PodRunning:
			return 0
		case p.DeletionTimestamp != nil:
			return 1
		default:
			return 2
		}
	}
	agents := map[string]*corev1.Pod{}
	for i := range pods {
		p := &pods[i]
		other := agents[p.Spec.NodeName]
		if p.Spec.NodeName == "" {
			continue
		}
		if other == nil || cmp.Or(cmp.Compare(rank(p), rank(other)),
			p.CreationTimestamp.Compare(other.CreationTimestamp.Time)) > 0 {
			agents[p.Spec.NodeName] = p
		}
	}
	return agents
}

// row asks the agent of a node (invariant 1).
func (o Options) row(ctx context.Context, node string, agent *corev1.Pod) Row {
	if agent == nil {
		return Row{Node: node, Problem: "no agent runs on it"}
	}
	key := client.ObjectKeyFromObject(agent)
	failed := Row{Node: node, Pod: key.String()}
	if agent.Status.Phase != corev1.PodRunning {
		failed.Problem = fmt.Sprintf("its agent does not run: the pod is %s", describePod(agent))
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	container := agentContainer(agent)
	status, err := o.Exec.Exec(ctx, key, container.Name, localStatus(container))
	if ctxErr := ctx.Err(); err != nil && ctxErr != nil {
		err = fmt.Errorf("no answer within %s", o.Timeout)
	}
	var row Row
	if err == nil {
		row, err = RowOf(node, status)
	}
	if err != nil {
		failed.Problem = "does not answer: " + strings.Join(strings.Fields(err.Error()), " ")
		return failed
	}
	row.Pod = failed.Pod
	return row
}

// describePod says why a pod does not run.
func describePod(p *corev1.Pod) string {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return fmt.Sprintf("%s (%s)", p.Status.Phase, w.Reason)
		}
	}
	if p.Status.Phase == "" {
		return "of unknown phase"
	}
	return string(p.Status.Phase)
}

// agentContainer returns the container that runs the agent.
func agentContainer(p *corev1.Pod) corev1.Container {
	for _, c := range p.Spec.Containers {
		if len(c.Args) > 0 && c.Args[0] == "run" {
			return c
		}
	}
	if len(p.Spec.Containers) > 0 {
		return p.Spec.Containers[0]
	}
	return corev1.Container{}
}

// localStatus is the command that prints the status of the agent in the container. The path of the program is that of
// the container's own command: with containerd 1.6 it is not in the search path.
func localStatus(c corev1.Container) []string {
	program := "hnsguard.exe"
	if len(c.Command) > 0 {
		program = c.Command[0]
	}
	return []string{program, "status", "--local", "--output=json"}
}

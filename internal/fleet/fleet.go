// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Row is the status of one node. Fields that are unknown are empty or missing.
type Row struct {
	Node string `json:"node"`
	// Pod is the agent's pod, as namespace/name.
	Pod     string `json:"pod,omitempty"`
	Version string `json:"version,omitempty"`
	Mode    string `json:"mode,omitempty"`
	// State is the agent's view of its node: starting, guarding, idle or unknown.
	State string `json:"state,omitempty"`
	// Message explains the state.
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
	// Problem is why the node does not answer, or what needs attention.
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

// Options say which agents are queried. All fields but Namespace are required.
type Options struct {
	API  client.Reader
	Exec Executor
	// Namespace is the namespace of the release. Empty means that all namespaces may have one.
	Namespace string
	// Selector selects the DaemonSet and its pods.
	Selector labels.Selector
	// Parallel is how many agents are queried at the same time, and Timeout how long each may take.
	Parallel int
	Timeout  time.Duration
}

// Query reads the status of all agents. It returns an error only if they cannot be listed.
func Query(ctx context.Context, o Options) (Report, error) {
	agents, notes, err := o.agents(ctx)
	if err != nil {
		return Report{}, err
	}
	nodes, note, err := o.windowsNodes(ctx)
	if err != nil {
		return Report{}, err
	}
	if note != "" {
		notes = append(notes, note)
	}
	nodes = slices.AppendSeq(nodes, maps.Keys(agents))
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	report := Report{Nodes: make([]Row, len(nodes)), Notes: notes}
	var queries errgroup.Group
	queries.SetLimit(o.Parallel)
	for i, node := range nodes {
		queries.Go(func() error {
			report.Nodes[i] = o.row(ctx, node, agents[node])
			return nil
		})
	}
	_ = queries.Wait() // a node that does not answer is a row
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("querying the agents: %w", err)
	}
	for _, row := range report.Nodes {
		if row.Problem != "" {
			report.Problems++
		}
	}
	return report, nil
}

// windowsNodes lists the nodes that should have an agent. Without the right to list nodes, the report shows those that
// have one.
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

// row queries the agent of a node (invariant 1).
func (o Options) row(ctx context.Context, node string, agents []*corev1.Pod) Row {
	if len(agents) == 0 {
		return Row{Node: node, Problem: "no agent runs on it"}
	}
	alive := running(agents)
	switch len(alive) {
	case 0:
		pod := newest(agents)
		return Row{
			Node: node, Pod: client.ObjectKeyFromObject(pod).String(),
			Problem: "its agent does not run: the pod is " + describePod(pod),
		}
	case 1:
		return o.query(ctx, node, client.ObjectKeyFromObject(alive[0]))
	default:
		var names []string
		for _, p := range alive {
			names = append(names, client.ObjectKeyFromObject(p).String())
		}
		return Row{Node: node, Problem: fmt.Sprintf("%d agents run on it: %s", len(alive), strings.Join(names, ", "))}
	}
}

func (o Options) query(ctx context.Context, node string, pod client.ObjectKey) Row {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	status, err := o.Exec.Exec(ctx, pod, Container, Command())
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer within %s", o.Timeout)
	}
	var row Row
	if err == nil {
		row, err = RowOf(node, status)
	}
	if err != nil {
		row = Row{Node: node, Problem: "does not answer: " + strings.Join(strings.Fields(err.Error()), " ")}
	}
	row.Pod = pod.String()
	return row
}

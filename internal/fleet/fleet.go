// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/terminal"
)

// Report is the status of all nodes. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	Nodes []Row `json:"nodes"`
	// Problems counts the nodes with a problem.
	Problems int      `json:"problems"`
	Notes    []string `json:"notes,omitempty"`
}

// Executor runs a command in the [Container] of a pod, and copies its stdout and stderr. A failed command returns a
// [k8s.io/client-go/util/exec.ExitError].
type Executor func(ctx context.Context, pod client.ObjectKey, command []string, stdout, stderr io.Writer) error

// Options say which agents to query. All fields but Namespace and Progress are required.
type Options struct {
	API  client.Reader
	Exec Executor
	// Namespace is the namespace of the release. If empty, any namespace may have one.
	Namespace string
	// Selector selects the DaemonSet and its pods.
	Selector labels.Selector
	// Parallel is the number of agents queried in parallel, and Timeout the timeout of each query.
	Parallel int
	Timeout  time.Duration
	// Progress is called after each query, with the number of finished queries and of all. Optional.
	Progress func(done, all int)
}

// Query reads the status of all agents. It returns an error only if they cannot be listed.
func Query(ctx context.Context, o Options) (Report, error) {
	agents, notes, err := o.agents(ctx)
	if err != nil {
		return Report{}, err
	}
	nodes, err := o.windowsNodes(ctx)
	if apierrors.IsForbidden(err) {
		notes, err = append(notes, "you may not list nodes: Windows nodes without an agent are not shown"), nil
	}
	if err != nil {
		return Report{}, err
	}
	nodes = slices.AppendSeq(nodes, maps.Keys(agents))
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	if len(nodes) == 0 {
		notes = append(notes, "there is no Windows node, and no agent")
	}
	report := Report{Nodes: make([]Row, len(nodes)), Notes: notes}
	var done atomic.Int64
	var queries errgroup.Group
	queries.SetLimit(o.Parallel)
	for i, node := range nodes {
		queries.Go(func() error {
			report.Nodes[i] = o.row(ctx, node, agents[node])
			if n := done.Add(1); o.Progress != nil {
				o.Progress(int(n), len(nodes))
			}
			return nil
		})
	}
	_ = queries.Wait() // a node that does not answer has a row too
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

// windowsNodes lists the nodes that should have an agent.
func (o Options) windowsNodes(ctx context.Context) (names []string, err error) {
	var nodes corev1.NodeList
	if err := o.API.List(ctx, &nodes, client.MatchingLabels{corev1.LabelOSStable: string(corev1.Windows)}); err != nil {
		return nil, fmt.Errorf("listing the Windows nodes: %w", err)
	}
	for _, n := range nodes.Items {
		names = append(names, n.Name)
	}
	return names, nil
}

// Agent returns the pod of the agent on a node. It does not use Exec, Parallel and Timeout.
func (o Options) Agent(ctx context.Context, node string) (client.ObjectKey, error) {
	agents, notes, err := o.agents(ctx)
	if err != nil {
		return client.ObjectKey{}, err
	}
	agent, problem := running(agents[node])
	if problem != "" {
		return agent, fmt.Errorf("looking for the agent on node %q: %s", node,
			strings.Join(append([]string{problem}, notes...), "; "))
	}
	return agent, nil
}

// row queries the agent on a node (invariant 1).
func (o Options) row(ctx context.Context, node string, agents []*corev1.Pod) Row {
	agent, problem := running(agents)
	if problem != "" {
		return Row{Node: node, Problem: problem}
	}
	return o.query(ctx, node, agent)
}

// running returns the running agent, or why there is not exactly one. While an agent is being replaced, there are two
// pods, but only one is running.
func running(agents []*corev1.Pod) (agent client.ObjectKey, problem string) {
	var running, others []string
	for _, p := range agents {
		pod := client.ObjectKeyFromObject(p)
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			agent, running = pod, append(running, pod.String())
		} else {
			others = append(others, fmt.Sprintf("pod %s is %s", pod, describePod(p)))
		}
	}
	switch {
	case len(running) == 1:
		return agent, ""
	case len(running) > 1:
		return agent, fmt.Sprintf("%d agents run on it: %s", len(running), strings.Join(running, ", "))
	case len(others) > 0:
		return agent, "its agent does not run: " + strings.Join(others, ", ")
	default:
		return agent, "no agent runs on it"
	}
}

func (o Options) query(ctx context.Context, node string, pod client.ObjectKey) Row {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	status, err := o.ask(ctx, pod)
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

// Print writes the report as a table, with the problems below it.
func (r Report) Print(w io.Writer) error { return r.print(w, false) }

// PrintWide writes the report as a table with all columns.
func (r Report) PrintWide(w io.Writer) error { return r.print(w, true) }

func (r Report) print(w io.Writer, wide bool) error {
	page := terminal.NewPage(w)
	rows := make([]terminal.Row, 0, len(r.Nodes))
	versions := sets.New[string]()
	for _, n := range r.Nodes {
		rows = append(rows, n.row(wide))
		if n.Report != nil && n.Report.KubeProxy.Known && len(n.Report.KubeProxy.Faults) > 0 {
			versions.Insert(n.Report.KubeProxy.String())
		}
	}
	page.Table(headings(wide), rows)
	for _, version := range sets.List(versions) {
		page.Paragraph("kube-proxy ", version+".")
	}
	for _, n := range r.Nodes {
		if n.Problem != "" && !wide {
			page.Heading(terminal.Red, n.Node+": "+n.Problem+".")
		}
	}
	for _, note := range r.Notes {
		page.Paragraph("Note: ", note+".")
	}
	return page.Flush()
}

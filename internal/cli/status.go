// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/hnsguard/hnsguard/internal/fleet"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/internal/terminal"
)

// statusOptions are the flags of status.
type statusOptions struct {
	kubeconfig, context string
	namespace, selector string
	allNamespaces       bool
	timeout             time.Duration
	output              format
}

const statusHelp = `Show the agent's status for every Windows node: version, mode, kube-proxy,
endpoints, stale and held ones, and when the last pass ended. Nodes that do not
answer, Windows nodes without an agent, and nodes with two are shown too.

An agent is a HostProcess pod that the release's DaemonSet owns, with the
DaemonSet's service account. hnsguard runs a fixed command in it. You need the
rights to list nodes, and in the release's namespace to list DaemonSets and
pods, and to create and get pods/exec. The kubeconfig is that of kubectl; in a
pod, its ServiceAccount.

Exit status:
  0  every node answers, and none has a problem
  1  an error
  2  a wrong command line
  3  a node does not answer or has a problem`

func newStatus(p Process) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the agent's status for every Windows node",
		Long:    statusHelp,
		Example: "  kubectl hnsguard status\n  kubectl hnsguard status --namespace hnsguard -o json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), p, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", kubeconfigOfPerson)
	flags.StringVar(&o.context, "context", "", "context of the kubeconfig; without it, the current one")
	flags.StringVarP(&o.namespace, "namespace", "n", defaultNamespace, "namespace of the release")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false,
		"search all namespaces for agents, including those in which other users may create pods")
	flags.StringVarP(&o.selector, "selector", "l", defaultSelector().String(),
		"labels of the DaemonSet and its pods")
	flags.DurationVar(&o.timeout, "timeout", 15*time.Second, "how long an agent may take to answer")
	o.output.addTo(cmd)
	return cmd
}

func (o *statusOptions) validate() (labels.Selector, error) {
	selector, err := labels.Parse(o.selector)
	if err != nil {
		err = fmt.Errorf("--selector %q: %w", o.selector, err)
	}
	errs := []error{err, o.output.validate()}
	if o.namespace == "" {
		errs = append(errs, errors.New("--namespace: must not be empty; use --all-namespaces for all of them"))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %s: must be greater than zero", o.timeout))
	}
	return selector, usage(errors.Join(errs...))
}

// parallelQueries is the number of agents that are queried in parallel.
const parallelQueries = 16

func runStatus(ctx context.Context, p Process, o statusOptions) error {
	selector, err := o.validate()
	if err != nil {
		return err
	}
	config, err := personConfig(o.kubeconfig, o.context, p.Env)
	if err != nil {
		return err
	}
	config.QPS = -1 // client-go's rate limit is meant for controllers; parallelQueries limits requests
	reader, err := readerOf(config)
	if err != nil {
		return err
	}
	executor, err := fleet.NewExecutor(config)
	if err != nil {
		return err
	}
	if o.allNamespaces {
		o.namespace = ""
	}
	report, err := fleet.Query(ctx, fleet.Options{
		API: reader, Exec: executor, Namespace: o.namespace, Selector: selector,
		Parallel: parallelQueries, Timeout: o.timeout, Progress: progressOn(p.Err),
	})
	if err != nil {
		return err
	}
	if err := o.output.show(p.Out, report); err != nil {
		return err
	}
	return findingIf(report.Problems > 0)
}

// progressOn returns a function that shows on a terminal how many agents were queried. It removes the line at the end.
func progressOn(w io.Writer) func(done, all int) {
	writer, is := w.(*terminal.Writer)
	if !is || !terminal.Is(w) {
		return nil
	}
	var line sync.Mutex
	most := 0
	return func(done, all int) {
		line.Lock()
		defer line.Unlock()
		if most = max(most, done); most < all {
			_, _ = fmt.Fprintf(writer.Unescaped(), "\r%d of %d nodes", most, all)
		} else {
			_, _ = fmt.Fprintf(writer.Unescaped(), "\r%20s\r", "")
		}
	}
}

// newAgentStatus returns the command that status runs in the agents' containers.
func newAgentStatus(p Process) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:    "agent-status",
		Short:  "Print the report of the agent on this node",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkAddress("--page-bind-address", address); err != nil {
				return err
			}
			document, err := askAgent(cmd.Context(), address, server.StatusPath)
			if err != nil {
				return fmt.Errorf("querying the agent on this node: %w\nCheck that the agent runs on this node, "+
					"that page.enabled of the chart is true, and that --page-bind-address is the agent's", err)
			}
			_, err = p.Out.Write(document)
			return err
		},
	}
	addPage(cmd, &address)
	return cmd
}

// askFor is the timeout of a request to the agent.
const askFor = 5 * time.Second

// askAgent requests a path from the agent on this node.
func askAgent(ctx context.Context, address, path string) ([]byte, error) {
	switch {
	case address == nowhere:
		return nil, errors.New("the agent serves no page (--page-bind-address)")
	case !server.IsLoopback(address): // the page then requires a token
		return nil, fmt.Errorf("the agent serves its page at %s, only to users with a token; for this command it has to be "+
			"on loopback: leave page.bindAddress of the chart empty", address)
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	url := "http://" + address + path
	data, err := server.Get(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	return data, nil
}

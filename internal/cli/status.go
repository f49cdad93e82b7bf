// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/hnsguard/hnsguard/internal/fleet"
)

// statusOptions are the flags of status.
type statusOptions struct {
	kubeconfig, context string
	namespace, selector string
	local               bool
	page, node          string
	parallel            int
	timeout             time.Duration
	output              string
}

const statusHelp = `Print how the agents of all nodes fare: version, mode, kube-proxy, endpoints, stale ones and those
that are held, and when the last pass ended. Nodes that do not answer, and Windows nodes without an agent, are shown
too.

Each agent shows its status on its node only. So 'hnsguard status --local' is run in the agent's pods: you need the
rights to list nodes and pods, and to create and get pods/exec in the agents' namespace. The kubeconfig is that of
kubectl: $KUBECONFIG or ~/.kube/config; in a pod, its ServiceAccount.

With --local, the status of the agent on this node is printed, and with -o json all that it shows.

Exit status:
  0  every node answers, and none has a problem
  1  a node does not answer or has a problem, or an error
  2  a command line that is wrong`

func newStatus(p Process) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Print how the agents of all nodes fare",
		Long:    statusHelp,
		Example: "  kubectl hnsguard status\n  kubectl -n hnsguard-system exec POD -- hnsguard.exe status --local -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The namespace of this pod says nothing about where the other agents are.
			if err := fromEnv(cmd.Flags(), p.Env, map[string]string{"node-name": "NODE_NAME"}); err != nil {
				return err
			}
			return runStatus(cmd.Context(), p, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", kubeconfigOfPerson)
	completeFiles(cmd, "kubeconfig")
	flags.StringVar(&o.context, "context", "", "context of the kubeconfig; without it, the current one")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the agents; without it, all namespaces")
	flags.StringVarP(&o.selector, "selector", "l", "app.kubernetes.io/name=hnsguard", "labels of the agents' pods")
	flags.BoolVar(&o.local, "local", false, "print the status of the agent on this node")
	flags.StringVar(&o.node, "node-name", "", "with --local, name of the node that has to answer")
	addPage(cmd, &o.page)
	flags.IntVar(&o.parallel, "parallel", 16, "how many agents are asked at one time")
	flags.DurationVar(&o.timeout, "timeout", 15*time.Second, "how long an agent may take to answer")
	flags.StringVarP(&o.output, "output", "o", "", "print as json or yaml")
	completeOutput(cmd)
	completeNothing(cmd, "context", "namespace", "selector", "node-name", "parallel", "timeout")
	return cmd
}

func (o *statusOptions) validate() (labels.Selector, error) {
	selector, err := labels.Parse(o.selector)
	if err != nil {
		err = fmt.Errorf("--selector %q: %w", o.selector, err)
	}
	errs := []error{err, validateOutput(o.output), checkAddress("--page-bind-address", o.page)}
	if o.parallel < 1 {
		errs = append(errs, fmt.Errorf("--parallel %d: must be greater than zero", o.parallel))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout %s: must be greater than zero", o.timeout))
	}
	if o.local && o.node == "" {
		errs = append(errs, errors.New("--node-name or $NODE_NAME is required with --local"))
	}
	return selector, usage(errors.Join(errs...))
}

func runStatus(ctx context.Context, p Process, o statusOptions) error {
	selector, err := o.validate()
	if err != nil {
		return err
	}
	if o.local {
		return o.printLocal(ctx, p)
	}
	config, err := personConfig(o.kubeconfig, o.context, p.Env)
	if err != nil {
		return err
	}
	// The limit of client-go is made for agents that run for ever. The number of requests at one time is limited here.
	config.QPS = -1
	reader, err := readerOf(config)
	if err != nil {
		return err
	}
	executor, err := fleet.NewExecutor(config)
	if err != nil {
		return err
	}
	report, err := fleet.Ask(ctx, fleet.Options{
		API: reader, Exec: executor, Namespace: o.namespace, Selector: selector, Parallel: o.parallel, Timeout: o.timeout,
	})
	if err != nil {
		return err
	}
	return o.print(p, report)
}

func (o *statusOptions) print(p Process, report fleet.Report) error {
	var err error
	if o.output == "" {
		err = report.Print(p.Out)
	} else {
		err = printAs(p, o.output, report)
	}
	if err == nil && report.Problems > 0 {
		return errFailed
	}
	return err
}

// printLocal prints the status of the agent on this node.
func (o *statusOptions) printLocal(ctx context.Context, p Process) error {
	status, err := askAgent(ctx, o.page, o.timeout)
	if err != nil {
		return fmt.Errorf("asking the agent on this node: %w\nDoes the agent run on this node? Does it serve its page: is "+
			"page.enabled of the chart true, and --page-bind-address right?", err)
	}
	if o.output == "json" {
		_, err := p.Out.Write(status)
		return err
	}
	row, err := fleet.RowOf(o.node, status)
	if errors.Is(err, fleet.ErrOtherNode) {
		err = fmt.Errorf("%w (--node-name)", err)
	}
	if err != nil {
		return err
	}
	report := fleet.Report{Nodes: []fleet.Row{row}}
	if row.Problem != "" {
		report.Problems = 1
	}
	return o.print(p, report)
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/doctor"
)

// examineOptions are the flags that select the agent to examine, and the timeout of a check.
type examineOptions struct {
	node      nodeOptions
	namespace string
	// metricsSecure is set if the agent authorizes the readers of its metrics, for which it needs rights.
	metricsSecure bool
	timeout       time.Duration
}

func (o *examineOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.node.addTo(cmd)
	addNamespace(cmd, &o.namespace)
	addMetricsSecure(cmd, &o.metricsSecure)
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long one check may take")
}

func (o *examineOptions) validate() error { return errors.Join(o.node.validate(), o.validateTimeout()) }

func (o *examineOptions) validateTimeout() error {
	if o.timeout > 0 {
		return nil
	}
	return usageError{fmt.Errorf("--timeout %s: must be greater than zero", o.timeout)}
}

const doctorHelp = `Without a node: say which Windows nodes of the cluster are affected, and whether
hnsguard can be installed: which kube-proxy each node runs and which faults that
version has, whether addresses move between nodes, and whether the chart's
objects and HostProcess pods would be admitted. hnsguard need not be installed.

With --node, or in the agent's pod, whose environment has the agent's settings:
check that the node can be guarded, that HNS answers and the pod network is
found, and that the API server can be reached and grants every right that the
agent needs.

Nothing is changed.

Exit status:
  0  every check has passed, warned, or was skipped because it does not apply
  1  an error
  2  a wrong command line
  3  a check has failed`

func newDoctor(p Process) *cobra.Command {
	var o examineOptions
	var output format
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a cluster or one of its nodes, and say what to do",
		Long:  doctorHelp,
		Example: "  kubectl hnsguard doctor\n" +
			"  kubectl hnsguard doctor --node win-1\n" +
			"  hnsguard doctor --node-name win-1 --kubeconfig kubeconfig -o json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.node.name == "" {
				return runClusterDoctor(cmd, p, o, output)
			}
			return runDoctor(cmd.Context(), p, o, output)
		},
	}
	o.addTo(cmd)
	output.addTo(cmd)
	addRemote(cmd, p, noPod)
	flags := cmd.Flags()
	flags.Lookup("node-name").Usage = "name of this Windows node; without it, $NODE_NAME, and without both, the cluster " +
		"is checked"
	flags.Lookup("context").Usage = "context of the kubeconfig; without it, the current one"
	flags.Lookup("selector").Usage = "labels of the release's DaemonSet and its pods"
	flags.Lookup("namespace").Usage = "namespace of the release; without it, that of this pod, and " +
		"elsewhere " + defaultNamespace
	return cmd
}

// runClusterDoctor examines the cluster. It rejects flags for one node, because their user means a node.
func runClusterDoctor(cmd *cobra.Command, p Process, o examineOptions, output format) error {
	flags, about := cmd.Flags(), []error{}
	for _, name := range []string{"config", "mode", "network", "kube-proxy-version", "kube-proxy-metrics-url"} {
		if flags.Changed(name) {
			about = append(about, fmt.Errorf("--%s is about one node: name it with --node-name or $NODE_NAME", name))
		}
	}
	where, errSelector := releaseOf(flags)
	err := errors.Join(usage(errors.Join(about...)), o.validateTimeout(), output.validate(), errSelector)
	if err != nil {
		return err
	}
	config, err := personConfig(where.kubeconfig, where.context, p.Env)
	if err != nil {
		return err
	}
	report, err := doctor.RunCluster(cmd.Context(), doctor.ClusterOptions{
		API: config, Namespace: where.namespace, Selector: where.selector, Timeout: o.timeout, Clock: clock.RealClock{},
	})
	if err != nil {
		return err
	}
	if err := output.show(p.Out, report); err != nil {
		return err
	}
	return findingIf(report.Failed > 0)
}

func runDoctor(ctx context.Context, p Process, o examineOptions, output format) error {
	options, err := o.options(p)
	if err := errors.Join(o.validate(), output.validate(), err); err != nil {
		return err
	}
	report, err := doctor.Run(ctx, options)
	if err != nil {
		return err
	}
	if err := output.show(p.Out, report); err != nil {
		return err
	}
	return findingIf(report.Failed > 0)
}

// options returns the inputs of the checks. Only a wrong command line is an error: the checks report everything else.
func (o *examineOptions) options(p Process) (doctor.Options, error) {
	policy, errPolicy := o.node.policy(p.Env)
	var wrong usageError
	if errors.As(errPolicy, &wrong) {
		return doctor.Options{}, errPolicy
	}
	options := doctor.Options{
		Node: o.node.name, Namespace: o.namespace, Config: policy, ConfigFile: o.node.configFile, ConfigErr: errPolicy,
		KubeProxyVersion: o.node.kubeProxyVersion, MetricsURL: o.node.kubeProxyMetricsURL,
		MetricsSecure: o.metricsSecure,
		Timeout:       o.timeout, Clock: clock.RealClock{},
	}
	if options.Namespace == "" {
		options.Namespace = podNamespace(p.Env)
	}
	options.HNS, options.HNSErr = p.HNS()
	options.API, options.APIErr = personConfig(o.node.kubeconfig, "", p.Env)
	return options, nil
}

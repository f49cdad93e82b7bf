// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/version"
)

// runOptions are the flags of run.
type runOptions struct {
	node      nodeOptions
	namespace string
	serve     serveOptions
	log       logOptions
	memory    int64
}

func newRun(p Process) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Guard this node",
		Long:  "Guard this node until stopped.\n\n" + variablesHelp(),
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), p, o)
		},
	}
	o.node.addTo(cmd)
	cmd.Flags().Lookup("kubeconfig").Usage = "kubeconfig file; without it, the ServiceAccount of this pod, " +
		"never $KUBECONFIG"
	addNamespace(cmd, &o.namespace)
	cmd.Flags().Int64Var(&o.memory, "memory-limit", 0,
		"memory limit of the container in bytes, of which hnsguard keeps a tenth free; $GOMEMLIMIT wins")
	o.serve.addTo(cmd)
	o.log.addTo(cmd)
	return cmd
}

func addNamespace(cmd *cobra.Command, namespace *string) {
	cmd.Flags().StringVarP(namespace, "namespace", "n", "",
		"namespace for the EndpointSlices that hnsguard writes; without it, the namespace of this pod")
}

func run(ctx context.Context, p Process, o runOptions) error {
	log, errLog := o.log.logger(p.Err)
	policy, errPolicy := o.node.policy(p.Env)
	api, errAPI := agentConfig(o.node.kubeconfig, p.Env)
	namespace, errNamespace := o.ownNamespace(p, policy)
	certificate, errServe := o.serve.certificate(o.node.name, p.Env)
	if err := errors.Join(o.node.validate(), errLog, errPolicy, errNamespace, errAPI, errServe); err != nil {
		return err
	}
	// HNS is opened last, so that the faults above are reported on every system.
	service, err := p.HNS()
	if err != nil {
		return fmt.Errorf("run needs a Windows node: %w\n"+
			"use 'hnsguard scan --hns-dump' to judge a recorded node", err)
	}
	setGlobal(log)
	saveMemory(o.memory, p.Env)
	o.announce(log, p, namespace, policy, api)
	options := agent.Options{
		Node: o.node.name, Namespace: namespace, Config: policy, HNS: service,
		KubeProxy: detect.Options{
			Version: o.node.kubeProxyVersion, URL: o.node.kubeProxyMetricsURL, Every: detect.Every,
		},
		MetricsAddress: o.serve.metrics, MetricsTLS: certificate, ProbeAddress: o.serve.probes,
		PageAddress: o.serve.page, Logger: log, Clock: clock.RealClock{},
	}
	if err := guardNode(ctx, api, options); err != nil {
		return fmt.Errorf("running: %w", explainListening(err))
	}
	log.Info("Stopped")
	return nil
}

// saveMemory makes the garbage collector keep the process small and below the memory limit of its container. The rest
// of the limit is for memory that the runtime does not count, such as the program itself and allocations of HNS's
// libraries.
func saveMemory(container int64, env func(string) (string, bool)) {
	if _, set := env("GOGC"); !set {
		debug.SetGCPercent(agent.GCPercent)
	}
	if _, set := env("GOMEMLIMIT"); !set && container > 0 {
		debug.SetMemoryLimit(container / 10 * 9)
	}
}

func guardNode(ctx context.Context, api *rest.Config, o agent.Options) error {
	deps, err := agent.FromCluster(api, o)
	if err != nil {
		return err
	}
	a, err := agent.New(o, deps)
	if err != nil {
		return err
	}
	return a.Start(ctx)
}

// ownNamespace returns the namespace of the EndpointSlices that flush kube-proxy's record: that of the flag, or else of
// this pod.
func (o *runOptions) ownNamespace(p Process, c config.Config) (string, error) {
	if o.namespace != "" {
		return o.namespace, nil
	}
	if name := podNamespace(p.Env); name != "" {
		return name, nil
	}
	if c.Enforces(c.Flush.Mode) {
		return "", usageError{errors.New("--namespace or $POD_NAMESPACE is required for the EndpointSlices that flush " +
			"kube-proxy's record of terminated addresses; or set flush.mode to observe")}
	}
	return "", nil
}

// podNamespace returns the namespace of this pod, or an empty string.
func podNamespace(env func(string) (string, bool)) string {
	name, _ := os.ReadFile(filepath.Join(mounted(serviceAccountDir, env), "namespace"))
	return string(name)
}

// announce logs what readers of the log need to know first.
func (o *runOptions) announce(log logr.Logger, p Process, namespace string, c config.Config, api *rest.Config) {
	log.Info("Starting", "version", version.Get(), "node", o.node.name, "namespace", namespace, "apiServer", api.Host,
		"mode", c.Mode, "config", c)
	if path, set := p.Env("KUBECONFIG"); set && path != "" && o.node.kubeconfig == "" {
		log.Info("Ignoring $KUBECONFIG, which a HostProcess container inherits from the host; use --kubeconfig to set one",
			"path", path)
	}
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/version"
)

// runOptions are the flags of run.
type runOptions struct {
	node      nodeOptions
	namespace string
	serve     serveOptions
	log       logOptions
}

func newRun(p Process) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Guard this node",
		Long: "Guard this node until stopped.\n\n" +
			"Every flag can be given as an environment variable: --config is $HNSGUARD_CONFIG, and so on; --node-name is\n" +
			"$NODE_NAME, --namespace $POD_NAMESPACE and --network $KUBE_NETWORK. A flag wins over its variable, and that\n" +
			"over the configuration file.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), p.Env, nodeVariables()); err != nil {
				return err
			}
			return run(cmd.Context(), p, o)
		},
	}
	flags := cmd.Flags()
	o.node.addTo(flags)
	flags.StringVar(&o.namespace, "namespace", "", "namespace that hnsguard runs in")
	o.serve.addTo(flags)
	o.log.addTo(flags, "info", "json")
	return cmd
}

func run(ctx context.Context, p Process, o runOptions) error {
	log, errLog := o.log.logger(p.Err)
	policy, errPolicy := o.node.policy(p.Env)
	api, errAPI := apiConfig(o.node.kubeconfig, p.Env)
	namespace, errNamespace := o.ownNamespace(p, policy)
	certificate, errServe := o.serve.certificate(o.node.name, p.Env)
	if err := errors.Join(o.node.validate(), errLog, errPolicy, errNamespace, errAPI, errServe); err != nil {
		return err
	}
	// HNS comes last: the faults above are worth knowing on any system.
	service, err := hcnclient.New()
	if err != nil {
		return fmt.Errorf("run needs a Windows node: %w\n"+
			"To look at a recorded node use scan --hns-dump; to see hnsguard work anywhere use demo", err)
	}
	setGlobal(log)
	o.announce(log, p, namespace, policy, api)
	a, err := agent.New(agent.Options{
		Node: o.node.name, Namespace: namespace, Config: policy, API: api, HNS: service,
		KubeProxy: detect.Options{
			Version: o.node.kubeProxyVersion, URL: o.node.kubeProxyMetricsURL, Every: detect.Every,
		},
		MetricsAddress: o.serve.metrics, MetricsTLS: certificate, ProbeAddress: o.serve.probes,
		Logger: log, Clock: clock.RealClock{},
	})
	if err != nil {
		return explainListening(err)
	}
	if err := a.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", explainListening(err))
	}
	log.Info("Stopped")
	return nil
}

// ownNamespace is where hnsguard writes the EndpointSlices that flush kube-proxy's record: the one that is given, or
// that of the pod that this is.
func (o runOptions) ownNamespace(p Process, c config.Config) (string, error) {
	if o.namespace != "" {
		return o.namespace, nil
	}
	for _, dir := range mounted(serviceAccountDir, p.Env) {
		if name, err := os.ReadFile(filepath.Join(dir, "namespace")); err == nil && len(name) > 0 {
			return string(name), nil
		}
	}
	if c.Mode != config.Observe && c.Flush.Mode != config.Observe {
		return "", errors.New("--namespace or $POD_NAMESPACE is required: the EndpointSlices that flush kube-proxy's " +
			"record of terminated addresses are written there (or set flush.mode to observe)")
	}
	return "", nil
}

// announce says at the start what is needed to understand everything after it.
func (o runOptions) announce(log logr.Logger, p Process, namespace string, c config.Config, api *rest.Config) {
	log.Info("Starting", "version", version.Get(), "node", o.node.name, "namespace", namespace, "apiServer", api.Host,
		"mode", c.Mode, "config", c)
	if path, set := p.Env("KUBECONFIG"); set && path != "" && o.node.kubeconfig == "" {
		log.Info("Ignoring $KUBECONFIG of the host; name one with --kubeconfig if it is meant", "path", path)
	}
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
)

// nodeOptions are the flags that say which node is meant and what may be done there.
type nodeOptions struct {
	name, kubeconfig    string
	configFile          string
	mode, network       string
	kubeProxyVersion    string
	kubeProxyMetricsURL string
}

// nodeVariables are the environment variables that have a name of their own.
func nodeVariables() map[string]string {
	return map[string]string{"node-name": "NODE_NAME", "namespace": "POD_NAMESPACE", "network": "KUBE_NETWORK"}
}

func (o *nodeOptions) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&o.name, "node-name", "", "name of the Windows node; required, it is never guessed")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server; without it, as the pod that this is")
	flags.StringVar(&o.configFile, "config", "", "configuration file; without it, the defaults. "+
		"In a container, a path below its root if there is one")
	flags.StringVar(&o.mode, "mode", "", "enforce or observe; observe changes nothing, whatever the file says")
	flags.StringVar(&o.network, "network", "", "HNS network of the pods; without it, found by its type")
	flags.StringVar(&o.kubeProxyVersion, "kube-proxy-version", "", "kube-proxy's version; without it, it is asked for")
	flags.StringVar(&o.kubeProxyMetricsURL, "kube-proxy-metrics-url", detect.MetricsURL, "where to ask kube-proxy")
}

func (o *nodeOptions) validate() error {
	if o.name == "" {
		return errors.New("--node-name or $NODE_NAME is required: what deletes endpoints does not guess where it is")
	}
	return nil
}

// policy reads the configuration file and lets the flags win over it.
func (o *nodeOptions) policy(env func(string) (string, bool)) (config.Config, error) {
	c := config.Default()
	var errs []error
	if o.configFile != "" {
		name, data, err := readMounted(o.configFile, env)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the configuration: %w", err))
		} else if c, err = config.Decode(name, data); err != nil {
			errs = append(errs, err)
		}
	}
	if o.mode != "" {
		mode, err := config.ParseMode(o.mode)
		if err != nil {
			errs = append(errs, fmt.Errorf("--mode: %w", err))
		}
		c.Mode = mode
	}
	if o.network != "" {
		c.Network = o.network
	}
	return c, errors.Join(errs...)
}

// readMounted reads a file that may be mounted, and says which one it was.
func readMounted(path string, env func(string) (string, bool)) (string, []byte, error) {
	var tried []error
	for _, name := range mounted(path, env) {
		data, err := os.ReadFile(name)
		if err == nil {
			return name, data, nil
		}
		tried = append(tried, err)
		if !errors.Is(err, fs.ErrNotExist) {
			break // what is there and cannot be read is not replaced by what happens to be elsewhere
		}
	}
	return "", nil, errors.Join(tried...)
}

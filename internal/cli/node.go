// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
)

// nodeOptions are the flags for the node and its configuration.
type nodeOptions struct {
	name, kubeconfig    string
	configFile          string
	mode, network       string
	kubeProxyVersion    string
	kubeProxyMetricsURL string
}

func (o *nodeOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.name, "node-name", "", "name of the Windows node; required, here or as $NODE_NAME")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", kubeconfigOfPerson)
	flags.StringVar(&o.configFile, "config", "", "configuration file; without it, all fields have their defaults")
	flags.StringVar(&o.mode, "mode", "", "enforce or observe (change nothing); replaces mode in the configuration file")
	flags.StringVar(&o.network, "network", "",
		"HNS network of the pods; replaces network in the configuration file")
	flags.StringVar(&o.kubeProxyVersion, "kube-proxy-version", "",
		"version of the node's kube-proxy, such as v1.32.3; without it, from kube-proxy's metrics or the image of its pod")
	flags.StringVar(&o.kubeProxyMetricsURL, "kube-proxy-metrics-url", detect.MetricsURL,
		"where kube-proxy serves its metrics")
}

func (o *nodeOptions) validate() error {
	return errors.Join(o.validateName(), o.validateFlags())
}

func (o *nodeOptions) validateName() error {
	if o.name != "" {
		return nil
	}
	return usageError{errors.New("--node-name or $NODE_NAME is required: hnsguard does not guess which node it is on")}
}

// validateFlags validates all flags but the name.
func (o *nodeOptions) validateFlags() error {
	var errs []error
	if o.kubeProxyVersion != "" {
		if err := kubeproxy.CheckVersion(o.kubeProxyVersion); err != nil {
			errs = append(errs, fmt.Errorf("--kube-proxy-version %q: %w", o.kubeProxyVersion, err))
		}
	}
	u, err := url.Parse(o.kubeProxyMetricsURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("--kube-proxy-metrics-url %q: must be a URL such as %s",
			o.kubeProxyMetricsURL, detect.MetricsURL))
	}
	return usage(errors.Join(errs...))
}

// policy reads the configuration file, and overrides it with the flags.
func (o *nodeOptions) policy(env func(string) (string, bool)) (config.Config, error) {
	return o.policyOver(config.Default(), env)
}

// policyOver is policy with the given configuration instead of the defaults.
func (o *nodeOptions) policyOver(c config.Config, env func(string) (string, bool)) (config.Config, error) {
	var errs []error
	if o.configFile != "" {
		decoded, err := readPolicy(o.configFile, env)
		if err == nil {
			c = decoded
		}
		errs = append(errs, err)
	}
	if o.mode != "" {
		mode, err := config.ParseMode(o.mode)
		if err == nil {
			c.Mode = mode
		} else {
			errs = append(errs, usageError{fmt.Errorf("--mode %q: %w", o.mode, err)})
		}
	}
	if o.network != "" {
		c.Network = o.network
	}
	return c, errors.Join(errs...)
}

func readPolicy(path string, env func(string) (string, bool)) (config.Config, error) {
	path = mounted(path, env)
	data, err := os.ReadFile(path)
	if err != nil {
		return config.Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return config.Decode(path, data)
}

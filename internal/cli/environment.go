// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// variables are the environment variables that set flags (invariant 1). The chart sets them in the agent's container,
// so that every command that runs there has the agent's settings.
func variables() map[string]string {
	return map[string]string{
		"node-name":              "NODE_NAME",
		"namespace":              "POD_NAMESPACE",
		"config":                 "HNSGUARD_CONFIG",
		"kube-proxy-version":     "HNSGUARD_KUBE_PROXY_VERSION",
		"kube-proxy-metrics-url": "HNSGUARD_KUBE_PROXY_METRICS_URL",
		"memory-limit":           "HNSGUARD_MEMORY_LIMIT",
		"metrics-bind-address":   "HNSGUARD_METRICS_BIND_ADDRESS",
		"metrics-secure":         "HNSGUARD_METRICS_SECURE",
		"page-bind-address":      "HNSGUARD_PAGE_BIND_ADDRESS",
	}
}

// fromEnvironment sets the flags that are not given from their variables. It reports all invalid values.
func fromEnvironment(flags *pflag.FlagSet, env func(string) (string, bool)) error {
	var errs []error
	for name, variable := range variables() {
		flag := flags.Lookup(name)
		value, _ := env(variable)
		if flag == nil || flag.Changed || value == "" {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			errs = append(errs, usageError{fmt.Errorf("$%s: %w", variable, err)})
		}
	}
	return errors.Join(errs...)
}

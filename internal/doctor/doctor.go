// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Status is the status of a check.
type Status string

// The statuses.
const (
	Pass Status = "pass"
	// Warn means that the agent works, but not as well as it could.
	Warn Status = "warn"
	// Fail means that the agent does not work.
	Fail Status = "fail"
	// Skip means that nothing was checked, because a check that this one needs has failed.
	Skip Status = "skip"
)

// Result is the result of a check.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	// Advice says what to do; empty if nothing.
	Advice string `json:"advice,omitempty"`
}

// Report has the results of all checks on a node. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	Results
}

// Results has the results of all checks.
type Results struct {
	Failed  int      `json:"failed"`
	Warned  int      `json:"warned"`
	Skipped int      `json:"skipped"`
	Checks  []Result `json:"checks"`
}

// Options are the inputs of the checks. An input that could not be created has an error, which its check reports.
type Options struct {
	// Node is the name of the node. Required.
	Node string
	// Namespace is the namespace of the EndpointSlices that the agent writes. Without it, the rights to write them are not
	// checked.
	Namespace string
	// Config is the configuration of the agent, and ConfigFile its file. Required; see [config.Default].
	Config     config.Config
	ConfigFile string
	ConfigErr  error
	// HNS is the client of the Host Networking Service.
	HNS    hns.Client
	HNSErr error
	// API is the agent's configuration for the API server.
	API    *rest.Config
	APIErr error
	// KubeProxyVersion is the configured version, and MetricsURL the URL of kube-proxy's metrics.
	KubeProxyVersion, MetricsURL string
	// MetricsSecure is set if the agent authorizes the readers of its metrics.
	MetricsSecure bool
	// Timeout is the timeout of each check. Required.
	Timeout time.Duration
	Clock   clock.Clock
}

// check is one check. It is skipped if the check that it needs has failed or was skipped.
type check struct {
	name, needs string
	run         func(ctx context.Context) Result
}

func pass(format string, args ...any) Result {
	return Result{Status: Pass, Found: fmt.Sprintf(format, args...)}
}

func warn(advice, format string, args ...any) Result {
	return Result{Status: Warn, Found: fmt.Sprintf(format, args...), Advice: advice}
}

func fail(advice, format string, args ...any) Result {
	return Result{Status: Fail, Found: fmt.Sprintf(format, args...), Advice: advice}
}

// The names of the checks.
const (
	CheckConfiguration = "configuration"
	CheckHNS           = "HNS"
	CheckNetwork       = "pod network"
	CheckKubeProxy     = "kube-proxy"
	CheckAPI           = "API server"
	CheckPermissions   = "permissions"
)

// checks lists all checks, in the order of the report. A check comes after the one that it needs.
func (o Options) checks() []check {
	return []check{
		{CheckConfiguration, "", o.configuration},
		{CheckHNS, "", o.hns},
		{CheckNetwork, CheckHNS, o.network},
		{CheckKubeProxy, "", o.kubeProxy},
		{CheckAPI, "", o.apiServer},
		{CheckPermissions, CheckAPI, o.permissions},
	}
}

// BoundedHNS returns HNS with the timeout for each call, because calls can hang.
func (o Options) BoundedHNS() hns.Client {
	return hns.WithDeadline(o.HNS, hns.DeadlineOptions{Call: o.Timeout, List: o.Timeout, MaxHung: 1, Clock: o.Clock})
}

// Run runs all checks, one after the other (invariant 2). It returns an error only if the context ends.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.HNSErr == nil {
		o.HNS = o.BoundedHNS()
	}
	report := Report{Node: o.Node, Version: version.Get().Version, Results: run(ctx, o.Timeout, o.checks())}
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("checking node %s: %w", o.Node, err)
	}
	return report, nil
}

// run runs checks, one after the other (invariant 2).
func run(ctx context.Context, timeout time.Duration, checks []check) (r Results) {
	statuses := map[string]Status{}
	for _, c := range checks {
		result := Result{Status: Skip, Found: fmt.Sprintf("not checked: it needs the check of %s to succeed", c.needs)}
		if needed := statuses[c.needs]; needed != Fail && needed != Skip {
			checking, cancel := context.WithTimeout(ctx, timeout)
			result = c.run(checking)
			cancel()
		}
		result.Check = c.name
		statuses[c.name] = result.Status
		r.Checks = append(r.Checks, result)
		switch result.Status {
		case Fail:
			r.Failed++
		case Warn:
			r.Warned++
		case Skip:
			r.Skipped++
		case Pass:
		}
	}
	return r
}

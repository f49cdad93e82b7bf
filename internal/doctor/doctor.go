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

// Status is the result of a check.
type Status string

// The results.
const (
	Pass Status = "pass"
	// Warn means that the agent works, but not as well as it could.
	Warn Status = "warn"
	// Fail means that the agent does not work.
	Fail Status = "fail"
	// Skip means that nothing was checked, because a check that it needs has failed.
	Skip Status = "skip"
)

// Result is what a check found.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	// Advice is what to do about it. It is empty if there is nothing to do.
	Advice string `json:"advice,omitempty"`
}

// Report is what all checks found. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	Node    string   `json:"node"`
	Version string   `json:"version"`
	Failed  int      `json:"failed"`
	Warned  int      `json:"warned"`
	Skipped int      `json:"skipped"`
	Checks  []Result `json:"checks"`
}

// Options are what is checked. What could not be created has an error in its place, which its check reports.
type Options struct {
	// Node is the name of the node. Required.
	Node string
	// Namespace is where the agent keeps the EndpointSlices that it writes. Without it the rights to write them are not
	// checked.
	Namespace string
	// Config is the configuration of the agent, and ConfigFile where it was read. Required; see [config.Default].
	Config     config.Config
	ConfigFile string
	ConfigErr  error
	// HNS is the client of the Host Networking Service. If it is an [hns.Versioner], its version is reported.
	HNS    hns.Client
	HNSErr error
	// API is how the agent reaches the API server.
	API    *rest.Config
	APIErr error
	// KubeProxyVersion is the version that is configured, and MetricsURL where kube-proxy serves its metrics.
	KubeProxyVersion, MetricsURL string
	// MetricsSecure says that the agent authorizes who reads its metrics.
	MetricsSecure bool
	// Timeout is how long a check may take. Required.
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

// Run runs all checks, one after the other (invariant 2). It returns an error only if the context ends before.
func Run(ctx context.Context, o Options) (Report, error) {
	report := Report{Node: o.Node, Version: version.Get().Version}
	counts, statuses := map[Status]int{}, map[string]Status{}
	for _, c := range o.checks() {
		result := Result{Status: Skip, Found: fmt.Sprintf("not checked: it needs the check of %s to succeed", c.needs)}
		if needed := statuses[c.needs]; needed != Fail && needed != Skip {
			result = c.within(ctx, o.Timeout)
		}
		result.Check = c.name
		statuses[c.name] = result.Status
		counts[result.Status]++
		report.Checks = append(report.Checks, result)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("checking node %s: %w", o.Node, err)
	}
	report.Failed, report.Warned, report.Skipped = counts[Fail], counts[Warn], counts[Skip]
	return report, nil
}

// within runs a check, and abandons it when its time is over: calls to HNS can hang.
func (c check) within(ctx context.Context, timeout time.Duration) Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan Result, 1)
	go func() { done <- c.run(ctx) }()
	select {
	case result := <-done:
		return result
	case <-ctx.Done():
		return fail("If it is only slow, give it more time with --timeout.", "it did not finish within %s", timeout)
	}
}

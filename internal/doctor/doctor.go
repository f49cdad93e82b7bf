// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"sync"
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
	// Skip means that nothing was checked: the check does not apply, or what it looks through has failed.
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

// Options are what is checked. What could not be made has an error in its place, which is then what the check finds.
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

// check is one check. It is skipped if the check that it needs has not passed with or without a warning.
type check struct {
	name, needs string
	run         func(ctx context.Context) finding
}

// finding is what a check found, without its name.
type finding struct {
	status        Status
	found, advice string
}

func pass(format string, args ...any) finding {
	return finding{status: Pass, found: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) finding {
	return finding{status: Skip, found: fmt.Sprintf(format, args...)}
}

func warn(advice, format string, args ...any) finding {
	return finding{Warn, fmt.Sprintf(format, args...), advice}
}

func fail(advice, format string, args ...any) finding {
	return finding{Fail, fmt.Sprintf(format, args...), advice}
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

// Run runs all checks. It returns an error only if the context ends before they have.
func Run(ctx context.Context, o Options) (Report, error) {
	report := Report{Node: o.Node, Version: version.Get().Version, Checks: runAll(ctx, o.checks(), o.Timeout)}
	if err := ctx.Err(); err != nil {
		return Report{}, fmt.Errorf("checking node %s: %w", o.Node, err)
	}
	for _, r := range report.Checks {
		switch r.Status {
		case Fail:
			report.Failed++
		case Warn:
			report.Warned++
		case Skip:
			report.Skipped++
		case Pass:
		}
	}
	return report, nil
}

// runAll runs the checks side by side, each after the one that it needs (invariant 2).
func runAll(ctx context.Context, checks []check, timeout time.Duration) []Result {
	findings, done := map[string]*finding{}, map[string]chan struct{}{}
	for _, c := range checks {
		findings[c.name], done[c.name] = &finding{}, make(chan struct{})
	}
	var all sync.WaitGroup
	for _, c := range checks {
		all.Go(func() {
			defer close(done[c.name])
			if c.needs != "" {
				<-done[c.needs]
				if s := findings[c.needs].status; s == Fail || s == Skip {
					*findings[c.name] = skip("not checked: it needs the check of %s to succeed", c.needs)
					return
				}
			}
			*findings[c.name] = c.within(ctx, timeout)
		})
	}
	all.Wait()
	results := make([]Result, 0, len(checks))
	for _, c := range checks {
		f := *findings[c.name]
		results = append(results, Result{Check: c.name, Status: f.status, Found: f.found, Advice: f.advice})
	}
	return results
}

// within runs a check, and gives it up when its time is over: calls to HNS can hang.
func (c check) within(ctx context.Context, timeout time.Duration) finding {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result := make(chan finding, 1)
	go func() { result <- c.run(ctx) }()
	select {
	case f := <-result:
		return f
	case <-ctx.Done():
		return fail("If it is only slow, give it more time with --timeout.", "it did not finish within %s", timeout)
	}
}

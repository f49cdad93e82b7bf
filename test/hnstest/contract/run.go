// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Outcome is the outcome of a check.
type Outcome string

// The outcomes.
const (
	Confirmed Outcome = "confirmed"
	Refuted   Outcome = "refuted"
	// NotTried means that HNS did not get as far as the question.
	NotTried Outcome = "not tried"
)

// Result is the outcome of one assumption.
type Result struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	// Saw describes briefly what HNS did. It has no names, and only addresses that the run has chosen.
	Saw string `json:"saw"`
	// Codes are the codes of all HNS errors in Saw.
	Codes []string `json:"codes,omitempty"`
}

// Options describe one run. All fields are required.
type Options struct {
	// Network is the network for endpoints. It must have no other ones.
	Network hns.Network
	// Endpoints is the maximum number of endpoints with which calls are timed.
	Endpoints int
	// CallTimeout is the maximum duration of a call.
	CallTimeout time.Duration
	// LocalSystem is set if the run has the account of Windows services, like the agent.
	LocalSystem bool
	Clock       clock.PassiveClock
	// Report gets each result as soon as it is available.
	Report func(Result)
}

// spare is the number of addresses that a run needs besides those for [Options.Endpoints].
const spare = 300

// first is the first address that is used: CNIs and HNS use the ones before it.
const first = 16

// SubnetOf returns the range of a network for endpoints, or why it cannot be used.
func SubnetOf(n hns.Network, endpoints int) (netip.Prefix, error) {
	for _, subnet := range n.Subnets {
		if !subnet.Addr().Is4() {
			continue
		}
		if room := 1 << (32 - subnet.Bits()); room < endpoints+spare+first {
			return subnet, fmt.Errorf("network %q: its subnet %s has room for %d addresses, and %d are needed",
				n.Name, subnet, room, endpoints+spare+first)
		}
		return subnet, nil
	}
	return netip.Prefix{}, fmt.Errorf("network %q has no IPv4 subnet", n.Name)
}

// Run tries every assumption that has a check. The error says what could not be deleted. If HNS stops or the context
// ends, there are no results.
func Run(ctx context.Context, s Service, o Options) ([]Result, error) {
	subnet, err := SubnetOf(o.Network, o.Endpoints)
	if err != nil {
		return nil, err
	}
	b := &bench{hns: s, network: o.Network, opts: o, address: subnet.Masked().Addr(), vip: frontends().Addr()}
	for range first {
		b.newAddress()
	}
	var results []Result
	var left []error
	for _, a := range Assumptions() {
		if a.try == nil {
			continue
		}
		saw, err := a.try(ctx, b)
		errLeft := b.removeAll(context.WithoutCancel(ctx))
		if errLeft != nil {
			left = append(left, fmt.Errorf("cleaning up after %s: %w", a.ID, errLeft))
		}
		if stopped := errors.Join(err, errLeft); ctx.Err() != nil || errors.Is(stopped, hns.ErrUnavailable) {
			return nil, errors.Join(ctx.Err(), stopped)
		}
		r := resultOf(a.ID, saw, err)
		results = append(results, r)
		o.Report(r)
	}
	return results, errors.Join(left...)
}

// refuted is the error of a check that saw something other than assumed.
type refuted struct{ saw string }

func (r refuted) Error() string { return r.saw }

func refutedf(format string, values ...any) error { return refuted{fmt.Sprintf(format, values...)} }

// resultOf returns the result of a check (invariant 1).
func resultOf(id, saw string, err error) Result {
	r := Result{ID: id, Outcome: Confirmed, Saw: saw}
	if err != nil {
		r.Outcome, r.Saw = NotTried, err.Error()
		if errors.As(err, new(refuted)) {
			r.Outcome = Refuted
		}
	}
	r.Codes = codesIn(r.Saw)
	r.Saw = short(r.Saw)
	return r
}

// codesIn returns the codes of HNS in a text, each once.
func codesIn(text string) (codes []string) {
	seen := map[string]bool{}
	for _, match := range regexp.MustCompile(`\((0x[0-9a-f]+)\)`).FindAllStringSubmatch(text, -1) {
		if !seen[match[1]] {
			codes = append(codes, match[1])
		}
		seen[match[1]] = true
	}
	return codes
}

// short omits the JSON in which HNS repeats its errors.
func short(text string) string {
	text = regexp.MustCompile(`\s*\{"[^{}]*\}`).ReplaceAllString(text, "")
	return strings.Join(strings.Fields(text), " ")
}

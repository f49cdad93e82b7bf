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

// Outcome is what became of an assumption.
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
	// Saw is what HNS did, in a few words. It has no names, and no addresses but those that the run has made up.
	Saw string `json:"saw"`
	// Codes are those of all errors of HNS in Saw.
	Codes []string `json:"codes,omitempty"`
}

// Options describe one run. All fields are required.
type Options struct {
	// Network is where endpoints are made. Nothing else may be on it.
	Network hns.Network
	// Endpoints is how many endpoints the calls are timed with at the most.
	Endpoints int
	// CallTimeout is how long a call may take.
	CallTimeout time.Duration
	// LocalSystem is set if the run has the account of Windows services, as the agent has.
	LocalSystem bool
	Clock       clock.PassiveClock
	// Report gets each result when it is there.
	Report func(Result)
}

// spare is how many addresses a run needs besides those of [Options.Endpoints].
const spare = 300

// first is the first address that is used: CNIs and HNS take those before it for themselves.
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

// Run tries every assumption that has a check. The error says what could not be deleted again. If HNS stops or the
// context ends, there are no results.
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

// refuted is the error of a check that saw something else than was assumed.
type refuted struct{ saw string }

func (r refuted) Error() string { return r.saw }

func refutedf(format string, values ...any) error { return refuted{fmt.Sprintf(format, values...)} }

// resultOf judges what a check returned (invariant 1).
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

// short leaves out the JSON that HNS repeats its errors in.
func short(text string) string {
	text = regexp.MustCompile(`\s*\{"[^{}]*\}`).ReplaceAllString(text, "")
	return strings.Join(strings.Fields(text), " ")
}

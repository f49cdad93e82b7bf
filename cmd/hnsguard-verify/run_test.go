// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	verify "github.com/hnsguard/hnsguard/cmd/hnsguard-verify"
	"github.com/hnsguard/hnsguard/cmd/hnsguard-verify/node"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// machine is a Windows node with a pod.
type machine struct {
	node.Machine
	service contract.Service
	// open is the error of opening HNS.
	open error
	in   io.Reader
}

func newMachine(o hnstest.Options) (*machine, *hnstest.HNS) {
	service := hnstest.New(o)
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge, netip.MustParsePrefix("10.240.0.0/16"))
	pod, _ := service.CreateEndpoint(hnstest.EndpointSpec{
		Network: network.ID, Name: "pod", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")},
	})
	_ = service.Attach(pod.ID, service.CreateNamespace())
	_, _ = service.CreateLoadBalancer(hns.LoadBalancer{
		Endpoints: []hns.EndpointID{pod.ID}, FrontendVIPs: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
	})
	return &machine{
		Machine: node.Machine{Windows: "10.0.20348.2340", Build: 20348, Elevated: true, LocalSystem: true},
		service: hnstest.Service{HNS: service}, in: strings.NewReader(""),
	}, service
}

func (m *machine) run(ctx context.Context, args ...string) (code int, out, errs string) {
	var o, e strings.Builder
	code = verify.Run(ctx, args, verify.Process{
		In: m.in, Out: &o, Err: &e,
		Machine: func() (node.Machine, error) { return m.Machine, nil },
		Open:    func(string) (contract.Service, error) { return m.service, m.open },
		Clock:   testclock.NewFakePassiveClock(time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)),
	})
	return code, o.String(), e.String()
}

// The table shows whether HNS confirms each assumption.
func TestThePrintedTable(t *testing.T) {
	g := NewWithT(t)
	m, service := newMachine(hnstest.Options{Duplicates: hnstest.RefuseDuplicates, Version: hnstest.UpdatesInPlace})
	before := service.State()
	code, out, errs := m.run(t.Context(), "--yes", "--endpoints", "10")
	g.Expect(code).To(Equal(verify.ExitOK), errs)
	g.Expect(out).To(And(
		HavePrefix("Windows 10.0.20348.2340, HNS 15.5, a network of type Private\n"),
		ContainSubstring("refuted    HNS creates a remote endpoint with the address of a local one.\n           Seen: refused: "),
		ContainSubstring("What rests on it: Where HNS refuses it, a pod waits"),
		ContainSubstring("not tried  HNS deletes the endpoint whose ID is given"),
		ContainSubstring("23 confirmed, 3 refuted, 1 not tried."),
	))
	g.Expect(out).NotTo(MatchRegexp("[*`]"), "this is no Markdown")
	_, template, found := strings.Cut(strings.TrimSpace(out), "new?template=")
	g.Expect(found).To(BeTrue())
	g.Expect("../../.github/ISSUE_TEMPLATE/" + template).To(BeARegularFile())
	g.Expect(service.State()).To(Equal(before))
}

func TestTheReportCanBeKept(t *testing.T) {
	g := NewWithT(t)
	m, _ := newMachine(hnstest.Options{Version: hnstest.UpdatesInPlace})
	code, out, errs := m.run(t.Context(), "--yes", "-o", "json", "--endpoints", "10")
	g.Expect(code).To(Equal(verify.ExitOK), errs)
	report, err := contract.ReadReport([]byte(out))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(hnstest.Positions()[0].Judge(report.Results)).To(Succeed())
	g.Expect(report.Results).To(ContainElement(And(
		HaveField("ID", "second-local-refused"), HaveField("Codes", ConsistOf("0x803b002f")))))
	g.Expect(report.Date).To(Equal("2026-11-30"))
	g.Expect(json.Valid([]byte(out))).To(BeTrue())
}

func TestAGivenNetworkIsUsed(t *testing.T) {
	g := NewWithT(t)
	m, service := newMachine(hnstest.Options{Version: hnstest.UpdatesInPlace})
	service.CreateNetwork("spare", hns.NetworkL2Bridge, netip.MustParsePrefix("10.9.0.0/16"))
	before := service.State()
	code, out, errs := m.run(t.Context(), "--yes", "--network", "spare", "--endpoints", "10")
	g.Expect(code).To(Equal(verify.ExitOK), errs)
	g.Expect(out).To(ContainSubstring("a network of type L2Bridge"))
	g.Expect(service.State()).To(Equal(before), "the network stays")
}

// Invariants 1 and 2.
func TestBadInputChangesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		bad  func(*machine, *hnstest.HNS)
		code int
		says string
	}{
		"no administrator": {[]string{"--yes"}, func(m *machine, _ *hnstest.HNS) { m.Elevated, m.LocalSystem = false, false }, 1, "only an administrator may write to HNS"},
		"old build": {
			[]string{"--yes"},
			func(m *machine, _ *hnstest.HNS) { m.Build, m.Windows = 14393, "10.0.14393" }, 1,
			"this is Windows 10.0.14393; hnsguard needs Windows Server 2019 (build 17763) or later",
		},
		"no HNS":      {[]string{"--yes"}, func(m *machine, _ *hnstest.HNS) { m.open = hns.ErrUnsupported }, 1, "this system has no HNS"},
		"HNS is down": {[]string{"--yes"}, func(_ *machine, s *hnstest.HNS) { s.SetDown(true) }, 1, "HNS does not answer"},
		"in use":      {[]string{"--yes", "--network", "azure"}, nil, 1, `network "azure" is in use: it has 1 endpoints`},
		"unknown":     {[]string{"--yes", "--network", "x"}, nil, 1, `there are 0 networks with the name "x"`},
		"too small": {[]string{"--yes", "--network", "small"}, func(_ *machine, s *hnstest.HNS) {
			s.CreateNetwork("small", "NAT", netip.MustParsePrefix("10.8.0.0/24"))
		}, 1, "has room for 256 addresses"},
		"IPv6": {[]string{"--yes", "--network", "six"}, func(_ *machine, s *hnstest.HNS) { s.CreateNetwork("six", "NAT") }, 1, "no IPv4 subnet"},
		"overlaps": {[]string{"--yes"}, func(_ *machine, s *hnstest.HNS) {
			s.CreateNetwork("lab", "NAT", netip.MustParsePrefix("198.18.0.0/15"))
		}, 1, `network "lab" has 198.18.0.0/15`},
		"no answer":     {nil, nil, 1, "there is no answer; nothing was changed"},
		"no":            {nil, func(m *machine, _ *hnstest.HNS) { m.in = strings.NewReader("n\n") }, 1, "nothing was changed"},
		"adapter":       {[]string{"--yes", "--type", "l2bridge"}, nil, 2, "takes over a network adapter"},
		"no adapter":    {[]string{"--yes", "--adapter", "x"}, nil, 2, "a network of type Private has none"},
		"type":          {[]string{"--type", "x"}, nil, 2, "must be one of Private, Internal"},
		"all at once":   {[]string{"-o", "xml", "--endpoints", "1", "x"}, nil, 2, "there are no arguments\n-o \"xml\": must be json\n--endpoints 1: must be"},
		"both":          {[]string{"--network", "x", "--type", "NAT"}, nil, 2, "not with --type"},
		"own network":   {[]string{"--network", "hnsguard-verify"}, nil, 2, "this name is reserved for"},
		"unknown flags": {[]string{"--bogus"}, nil, 2, "bogus"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			m, service := newMachine(hnstest.Options{})
			if tc.bad != nil {
				tc.bad(m, service)
			}
			before := service.State()
			code, out, errs := m.run(t.Context(), tc.args...)
			g.Expect(code).To(Equal(tc.code), errs)
			g.Expect(out).To(BeEmpty())
			g.Expect(errs).To(ContainSubstring(tc.says))
			g.Expect(service.State()).To(Equal(before))
		})
	}
}

func TestItSaysWhatItWillDo(t *testing.T) {
	g := NewWithT(t)
	m, _ := newMachine(hnstest.Options{Version: "13.3"})
	m.in = strings.NewReader("Y\n")
	code, _, errs := m.run(t.Context(), "--endpoints", "10")
	g.Expect(code).To(Equal(verify.ExitOK))
	g.Expect(errs).To(And(
		HavePrefix("On this machine (Windows 10.0.20348.2340, HNS 13.3) this will:\n"+
			`- create the network "hnsguard-verify" (Private, 198.18.0.0/16), on no network adapter`+"\n"),
		ContainSubstring("up to 10 endpoints")))
	_, _, errs = m.run(t.Context(), "--type", "L2Bridge", "--adapter", "Ethernet 2")
	g.Expect(errs).To(ContainSubstring("on the network adapter Ethernet 2, whose connections it interrupts"))
}

func TestInterruptedWhileItAsks(t *testing.T) {
	g := NewWithT(t)
	m, service := newMachine(hnstest.Options{})
	before := service.State()
	never, _ := io.Pipe()
	m.in = never
	ctx, interrupt := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer interrupt()
	code, _, errs := m.run(ctx)
	g.Expect(code).To(Equal(verify.ExitInterrupted))
	g.Expect(errs).To(HaveSuffix("interrupted; everything that was created has been deleted\n"))
	g.Expect(service.State()).To(Equal(before))
}

// ending is an HNS on which something happens after a number of writing calls.
type ending struct {
	hnstest.Service
	left *atomic.Int64
	// then is called before each further writing call; if it fails, the call has no effect.
	then func() error
}

func newEnding(service *hnstest.HNS, after int, then func() error) ending {
	e := ending{hnstest.Service{HNS: service}, &atomic.Int64{}, then}
	e.left.Store(int64(after))
	return e
}

func write[T any](e ending, do func() (T, error)) (out T, err error) {
	if e.left.Add(-1) < 0 {
		if err := e.then(); err != nil {
			return out, err
		}
	}
	return do()
}

func (e ending) delete(do func() error) error {
	_, err := write(e, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

func (e ending) CreateNetwork(ctx context.Context, name string, kind hns.NetworkType, subnet netip.Prefix) (hns.Network, error) {
	return write(e, func() (hns.Network, error) { return e.Service.CreateNetwork(ctx, name, kind, subnet) })
}

func (e ending) CreateEndpoint(ctx context.Context, on hns.Network, spec contract.EndpointSpec) (hns.EndpointID, error) {
	return write(e, func() (hns.EndpointID, error) { return e.Service.CreateEndpoint(ctx, on, spec) })
}

func (e ending) CreateNamespace(ctx context.Context, id hns.NamespaceID) (hns.NamespaceID, error) {
	return write(e, func() (hns.NamespaceID, error) { return e.Service.CreateNamespace(ctx, id) })
}

func (e ending) CreateLoadBalancer(ctx context.Context, spec hns.LoadBalancer) (hns.LoadBalancerID, error) {
	return write(e, func() (hns.LoadBalancerID, error) { return e.Service.CreateLoadBalancer(ctx, spec) })
}

func (e ending) DeleteNetwork(ctx context.Context, id hns.NetworkID) error {
	return e.delete(func() error { return e.Service.DeleteNetwork(ctx, id) })
}

func (e ending) DeleteEndpoint(ctx context.Context, id hns.EndpointID) error {
	return e.delete(func() error { return e.Service.DeleteEndpoint(ctx, id) })
}

func (e ending) DeleteNamespace(ctx context.Context, id hns.NamespaceID) error {
	return e.delete(func() error { return e.Service.DeleteNamespace(ctx, id) })
}

func (e ending) DeleteLoadBalancer(ctx context.Context, id hns.LoadBalancerID) error {
	return e.delete(func() error { return e.Service.DeleteLoadBalancer(ctx, id) })
}

// Invariant 3: wherever the run is killed, so that no further call has an effect, --clean deletes what is left.
func TestCleanAfterACrashAnywhere(t *testing.T) {
	g := NewWithT(t)
	left := 0
	for after := 1; ; after += 2 {
		m, service := newMachine(hnstest.Options{})
		before := service.State()
		m.service = newEnding(service, after, func() error { return errors.New("killed") })
		code, _, errs := m.run(t.Context(), "--yes", "--endpoints", "10")
		if code == verify.ExitOK {
			g.Expect(after).To(BeNumerically(">", 400), "it came to its end")
			break
		}
		g.Expect(code).To(Equal(verify.ExitError), "after %d calls: %s", after, errs)
		g.Expect(service.State()).NotTo(Equal(before))
		left += len(service.State().Namespaces) - len(before.Namespaces)

		m.service = hnstest.Service{HNS: service}
		code, _, errs = m.run(t.Context(), "--clean")
		g.Expect(code).To(Equal(verify.ExitOK), errs)
		g.Expect(service.State()).To(Equal(before), "after %d calls", after)
	}
	g.Expect(left).NotTo(BeZero(), "some left a namespace")
}

// Invariant 3.
func TestInterruptedAnywhere(t *testing.T) {
	g := NewWithT(t)
	for after := 1; after < 400; after += 9 {
		m, service := newMachine(hnstest.Options{})
		before := service.State()
		ctx, interrupt := context.WithCancel(t.Context())
		m.service = newEnding(service, after, func() error { interrupt(); return nil })
		code, out, errs := m.run(ctx, "--yes", "--endpoints", "10")
		g.Expect(code).To(Equal(verify.ExitInterrupted), errs)
		g.Expect(out).To(BeEmpty())
		g.Expect(errs).To(HaveSuffix("hnsguard-verify: interrupted; everything that was created has been deleted\n"))
		g.Expect(service.State()).To(Equal(before), "after %d calls", after)
	}
}

func TestWhatIsLeftIsSaid(t *testing.T) {
	g := NewWithT(t)
	m, service := newMachine(hnstest.Options{})
	m.service = newEnding(service, 100, func() error { service.SetDown(true); return hns.ErrUnavailable })
	code, _, errs := m.run(t.Context(), "--yes", "--endpoints", "10")
	g.Expect(code).To(Equal(verify.ExitError))
	g.Expect(errs).To(ContainSubstring("something is left; delete it with --clean"))
	code, _, errs = m.run(t.Context(), "--clean")
	g.Expect(code).To(Equal(verify.ExitError))
	g.Expect(errs).To(ContainSubstring("HNS is unavailable"))
	service.SetDown(false)
	m.service = hnstest.Service{HNS: service}
	code, _, errs = m.run(t.Context(), "--yes", "--endpoints", "10")
	g.Expect(code).To(Equal(verify.ExitOK), errs+": a run deletes what another has left")
	code, _, errs = m.run(t.Context(), "--clean")
	g.Expect(code).To(Equal(verify.ExitOK))
	g.Expect(errs).To(Equal("nothing was left\n"))
}

func TestTheCallTimeoutIsTheDefault(t *testing.T) {
	NewWithT(t).Expect(verify.CallTimeout).To(Equal(config.Default().HNS.CallTimeout.Duration))
}

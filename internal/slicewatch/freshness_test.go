// SPDX-License-Identifier: Apache-2.0

package slicewatch_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
)

var errRefused = errors.New("connection refused")

// server is an API server, and a watch of it at some version.
type server struct {
	client.Reader
	version, watch string
	err            error
	// answers runs while a request is answered, if set.
	answers func()
	// pages are the pages of a list of all slices; failAt fails the list of that page. kept is an address of a keep-slice
	// on each page.
	pages  [][]string
	failAt int
	kept   string
	// requests counts requests for the version, and lists those for all slices.
	requests, lists int
	deadlines       []time.Duration
}

func (s *server) Version() string { return s.watch }

func (s *server) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	deadline, _ := ctx.Deadline()
	s.deadlines = append(s.deadlines, time.Until(deadline).Round(time.Second))
	var o client.ListOptions
	o.ApplyOptions(opts)
	if s.answers != nil {
		s.answers()
	}
	slices := list.(*discoveryv1.EndpointSliceList)
	slices.ResourceVersion = s.version
	if o.Limit == 1 {
		s.requests++
		return s.err
	}
	page := s.lists
	s.lists++
	if s.err != nil || s.failAt == s.lists {
		return errors.Join(s.err, errRefused)
	}
	for _, addr := range s.pages[page] {
		slices.Items = append(slices.Items, discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: addr}, AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{addr}}},
		})
	}
	if s.kept != "" {
		keep := cluster.InertSlice("keep", cluster.ManagedByKeep, types.NamespacedName{}, netip.MustParseAddr(s.kept))
		slices.Items = append(slices.Items, *keep)
	}
	if page+1 < len(s.pages) {
		slices.Continue = "more"
	}
	return nil
}

// prover is a freshness with a clock that the test moves.
type prover struct {
	*slicewatch.Freshness
	*server
	t     *testing.T
	clock *testingclock.FakePassiveClock
}

func newProver(t *testing.T) *prover {
	t.Helper()
	p := &prover{t: t, server: &server{version: "100", watch: "100"}, clock: testingclock.NewFakePassiveClock(
		time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))}
	p.Freshness = slicewatch.NewFreshness(slicewatch.FreshnessOptions{Server: p.server, Watch: p.server, Clock: p.clock})
	return p
}

func (p *prover) now() time.Time       { return p.clock.Now() }
func (p *prover) wait(d time.Duration) { p.clock.SetTime(p.now().Add(d)) }

// current reports whether the index is proved complete for a moment.
func (p *prover) current(since time.Time) bool {
	p.t.Helper()
	is, err := p.Current(p.t.Context(), since)
	if err != nil {
		p.t.Fatal(err)
	}
	return is
}

func TestTheWatchHasToReachTheServersVersion(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.version = "105"
	seen := p.now()
	g.Expect(p.current(seen)).To(BeFalse(), "the watch is at 100")
	for _, at := range []string{"101", "99", "104"} {
		p.watch = at
		p.wait(10 * time.Second)
		g.Expect(p.current(seen)).To(BeFalse(), at)
	}
	g.Expect(p.requests).To(Equal(1), "the version was requested, and is waited for")
	p.watch = "105"
	g.Expect(p.current(seen)).To(BeTrue())
	g.Expect(p.requests).To(Equal(1))
}

func TestAWatchThatIsCurrentIsProvedAtOnce(t *testing.T) {
	for name, watch := range map[string]string{"at the version": "100", "beyond it": "1000"} {
		t.Run(name, func(t *testing.T) {
			p := newProver(t)
			p.answers = func() { p.watch = watch }
			NewWithT(t).Expect(p.current(p.now())).To(BeTrue())
		})
	}
}

// Invariant 2. The endpoint was created after the request: slices may list it by now without the watch having seen it.
func TestAProofHoldsForNoLaterMoment(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	early := p.now()
	g.Expect(p.current(early)).To(BeTrue())
	p.wait(time.Minute)
	late := p.now()
	p.version = "500"
	g.Expect(p.current(late)).To(BeFalse(), "the server is at 500, and the watch at 100")
	g.Expect(p.current(early)).To(BeTrue(), "what was proved before stays proved")
	p.watch = "500"
	g.Expect(p.current(late)).To(BeTrue())
}

// Invariant 2. The server may have answered at the beginning of the request.
func TestAProofHoldsForTheTimeBeforeTheRequest(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.answers = func() { p.wait(3 * time.Second) }
	before := p.now()
	g.Expect(p.current(before)).To(BeTrue())
	g.Expect(p.current(before.Add(time.Millisecond))).To(BeTrue(), "another request proves it")
	g.Expect(p.requests).To(Equal(2))
}

// Invariant 4.
func TestARestoredServerProvesNothingUntilTheWatchHasListedAgain(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.version, p.watch = "500", "100000"
	before := p.now()
	for range 3 {
		is, err := p.Current(t.Context(), before)
		g.Expect(is).To(BeFalse())
		g.Expect(err).To(MatchError(ContainSubstring("restored")))
		p.wait(time.Second)
	}
	p.watch = "510"
	g.Expect(func() error { _, err := p.Current(t.Context(), p.now()); return err }()).To(HaveOccurred(), "the server is at 500 yet")
	p.wait(time.Second)
	p.version = "520"
	g.Expect(p.current(p.now())).To(BeFalse(), "the watch is at 510")
	p.watch = "520"
	g.Expect(p.current(p.now().Add(-time.Millisecond))).To(BeTrue())
}

// The watch continues while the server answers.
func TestAWatchThatOvertakesTheAnswerIsNoRollback(t *testing.T) {
	p := newProver(t)
	p.version = "105"
	p.answers = func() { p.watch = "110" }
	NewWithT(t).Expect(p.current(p.now())).To(BeTrue())
}

func TestTheVersionThatWasProved(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	g.Expect(p.ProvenVersion()).To(BeEmpty())
	p.version = "105"
	p.current(p.now())
	g.Expect(p.ProvenVersion()).To(BeEmpty(), "the watch has not reached it")
	p.watch = "107"
	for range 2 {
		g.Expect(p.current(p.now())).To(BeTrue())
		g.Expect(p.ProvenVersion()).To(Equal("105"))
	}
}

// A request that was sent before the moment does not prove it, even if its answer comes later.
func TestAnOlderQuestionIsAskedAgain(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.version = "105"
	g.Expect(p.current(p.now())).To(BeFalse())
	p.wait(time.Minute)
	seen := p.now()
	p.version = "110"
	g.Expect(p.current(seen)).To(BeFalse())
	g.Expect(p.requests).To(Equal(2))
	p.watch = "105"
	g.Expect(p.current(seen)).To(BeFalse(), "105 was the version a minute ago")
	p.watch = "110"
	g.Expect(p.current(seen)).To(BeTrue())
}

// Invariant 3.
func TestTheVersionIsRequestedOnceASecondInTheLongRun(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	for range 100 {
		p.current(p.now())
		p.wait(100 * time.Millisecond)
	}
	g.Expect(p.requests).To(Equal(4 + 9))
	p.current(p.now())
	g.Expect(p.requests).To(Equal(4 + 10))
	g.Expect(p.deadlines).To(HaveEach(5 * time.Second))
}

// Pods get their addresses shortly after each other. The request for the first does not prove the moment of the second.
func TestAFewMomentsAreProvedOneAfterTheOther(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	for range 4 {
		g.Expect(p.current(p.now())).To(BeTrue())
		p.wait(time.Millisecond)
	}
	g.Expect(p.current(p.now())).To(BeFalse(), "the server gets no more requests for now")
	p.wait(time.Second)
	g.Expect(p.current(p.now())).To(BeTrue())
}

func TestWhatCannotBeFoundOutIsAnError(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.err = errRefused
	is, err := p.Current(t.Context(), p.now())
	g.Expect(is).To(BeFalse())
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(err).To(MatchError(ContainSubstring("requesting the API server's resource version")))

	p.err = nil
	p.wait(time.Second)
	p.version = "not a version"
	for range 10 { // also when the server gets no more requests for now
		_, err = p.Current(t.Context(), p.now())
		g.Expect(err).To(MatchError(ContainSubstring("comparing resource versions")))
		p.wait(time.Millisecond)
	}
}

func TestBeforeTheFirstListNothingIsProved(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.watch = ""
	g.Expect(p.current(time.Time{})).To(BeFalse(), "not even for a time that is not known")
	p.wait(time.Second)
	g.Expect(p.current(p.now())).To(BeFalse())
}

func TestAllSlicesAreRead(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.pages = [][]string{{"10.0.0.1", "10.0.0.2"}, {}, {"10.0.0.3"}}
	listed, fresh, err := p.Listed(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(fresh).To(BeTrue())
	g.Expect(listed.UnsortedList()).To(ConsistOf(
		netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")))
	g.Expect(p.deadlines).To(HaveEach(30 * time.Second))

	p.wait(30*time.Second - 1)
	_, fresh, err = p.Listed(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(fresh).To(BeFalse(), "a large cluster has much to read")
	g.Expect(p.lists).To(Equal(3))
	p.wait(1)
	p.lists = 0
	_, fresh, _ = p.Listed(t.Context())
	g.Expect(fresh).To(BeTrue())
}

// Where a view does not show the address of a keep-slice, a list must not do so either: the first orphan would wait for
// ever, and all others behind it.
func TestWhatIsKeptIsNotListed(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.pages, p.kept = [][]string{{"10.0.0.1"}}, "10.0.0.9"
	listed, fresh, err := p.Listed(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(fresh).To(BeTrue())
	g.Expect(listed.UnsortedList()).To(ConsistOf(netip.MustParseAddr("10.0.0.1")))
}

// An incomplete list proves no absence.
func TestAListThatEndsEarlyIsAnError(t *testing.T) {
	g := NewWithT(t)
	p := newProver(t)
	p.pages, p.failAt = [][]string{{"10.0.0.1"}, {"10.0.0.2"}}, 2
	listed, fresh, err := p.Listed(t.Context())
	g.Expect(listed).To(BeNil())
	g.Expect(fresh).To(BeFalse())
	g.Expect(err).To(MatchError(errRefused))
	_, fresh, err = p.Listed(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(fresh).To(BeFalse(), "a failure does not make it come sooner")
}

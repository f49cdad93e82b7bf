// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/server"
)

// Invariants 6 and 8: one answer for each kind of client, which says why and gives nothing away.
func TestWhoIsServed(t *testing.T) {
	for name, tc := range map[string]struct {
		request   request
		status    int
		challenge string
		says      string
		// tokens and access are the reviews that it takes.
		tokens, access int
	}{
		"a scraper": {
			request: with("prometheus-token"), status: http.StatusOK, says: "metrics", tokens: 1, access: 1,
		},
		"a scraper that sends bearer in lower case": {
			request: request{authorization: "bearer  prometheus-token"}, status: http.StatusOK, says: "metrics", tokens: 1, access: 1,
		},
		"a HEAD request": {
			request: request{method: http.MethodHead, authorization: "Bearer prometheus-token"}, status: http.StatusOK,
			tokens: 1, access: 1,
		},
		"no token": {
			request: request{}, status: http.StatusUnauthorized, challenge: "Bearer", says: "a bearer token is required",
		},
		"an empty token": {
			request: request{authorization: "Bearer "}, status: http.StatusUnauthorized, challenge: "Bearer",
		},
		"a password": {
			request: request{authorization: "Basic cHJvbWV0aGV1czp0b2tlbg=="}, status: http.StatusUnauthorized, challenge: "Bearer",
		},
		"a made-up token": {
			request: with("made-up"), status: http.StatusUnauthorized, challenge: `Bearer error="invalid_token"`,
			says: "the API server does not accept the token\n", tokens: 1,
		},
		"an expired token": {
			request: with("expired-token"), status: http.StatusUnauthorized, challenge: `Bearer error="invalid_token"`,
			says: "the API server does not accept the token\n", tokens: 1,
		},
		"an account without rights": {
			request: with("stranger-token"), status: http.StatusForbidden,
			says: `user "stranger" cannot get path "/metrics": no ClusterRole grants it`, tokens: 1, access: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			a := startAPI(t)
			w := guard(t, a, time.Minute).answer(tc.request)
			g.Expect(w.Code).To(Equal(tc.status), w.Body.String())
			g.Expect(w.Header().Get("WWW-Authenticate")).To(Equal(tc.challenge))
			g.Expect(w.Body.String()).To(ContainSubstring(tc.says))
			tokens, access := a.reviews()
			g.Expect([]int{tokens, access}).To(Equal([]int{tc.tokens, tc.access}))
		})
	}
}

// The API server is asked about all that the token says, because any of it may be what a right is granted to.
func TestTheWholeIdentityIsReviewed(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	g.Expect(guard(t, a, time.Minute).status(with("prometheus-token"))).To(Equal(http.StatusOK))
	g.Expect(a.last).To(Equal(authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:monitoring:prometheus", UID: "42",
		Groups: []string{"system:serviceaccounts", "system:authenticated"},
		Extra:  map[string]authorizationv1.ExtraValue{"authentication.kubernetes.io/pod-name": {"prometheus-0"}},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{
			Path: "/metrics", Verb: "get",
		},
	}))
}

// Invariant 6.
func TestAnswersAreReusedForTheirTime(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	expect := func(token string, status, tokens, access int) {
		t.Helper()
		g.Expect(m.status(with(token))).To(Equal(status))
		gotTokens, gotAccess := a.reviews()
		g.Expect([]int{gotTokens, gotAccess}).To(Equal([]int{tokens, access}), "reviews of tokens, and of access")
	}
	for range 20 {
		expect("prometheus-token", http.StatusOK, 1, 1)
	}
	m.pass(server.AllowTTL - time.Second)
	expect("prometheus-token", http.StatusOK, 1, 1)
	m.pass(2 * time.Second)
	expect("prometheus-token", http.StatusOK, 2, 2)

	expect("made-up", http.StatusUnauthorized, 3, 2)
	expect("stranger-token", http.StatusForbidden, 4, 3)
	for range 20 {
		expect("made-up", http.StatusUnauthorized, 4, 3)
		expect("stranger-token", http.StatusForbidden, 4, 3)
	}
	m.pass(server.RefuseTTL + time.Second)
	a.change(func(a *api) { a.may["stranger"] = true })
	expect("stranger-token", http.StatusOK, 5, 4)
	expect("made-up", http.StatusUnauthorized, 6, 4)
}

// Invariant 6: whose token is revoked, or whose right is taken away, is served for as long as is said and no longer.
func TestWhatWasTakenAway(t *testing.T) {
	t.Run("the token", func(t *testing.T) {
		g := NewWithT(t)
		a := startAPI(t)
		m := guard(t, a, time.Minute)
		g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
		a.change(func(a *api) { delete(a.users, "prometheus-token") })
		m.pass(server.AllowTTL + time.Second)
		g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusUnauthorized))
	})
	t.Run("the right", func(t *testing.T) {
		g := NewWithT(t)
		a := startAPI(t)
		m := guard(t, a, time.Minute)
		g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
		a.change(func(a *api) { clear(a.may) })
		m.pass(server.AllowTTL + time.Second)
		g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusForbidden))
	})
	t.Run("a group", func(t *testing.T) { // another identity is another question
		g := NewWithT(t)
		a := startAPI(t)
		m := guard(t, a, time.Minute)
		g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
		a.change(func(a *api) {
			clear(a.may)
			user := a.users["prometheus-token"]
			user.Groups = nil
			a.users["prometheus-token"] = user
		})
		m.pass(server.AllowTTL + time.Second)
		g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusForbidden))
	})
}

// Invariant 7: unknown is neither a yes nor a no.
func TestTheAPIServerIsAway(t *testing.T) {
	for name, away := range map[string]func(*api){
		"it fails":                    func(a *api) { a.broken[tokenReviews] = http.StatusInternalServerError },
		"it forbids to review tokens": func(a *api) { a.broken[tokenReviews] = http.StatusForbidden },
		"it forbids to review access": func(a *api) { a.broken[accessReviews] = http.StatusForbidden },
		"it is not there":             func(a *api) { a.Listener.Close(); a.CloseClientConnections() },
		"it hangs":                    func(a *api) { a.hold = make(chan struct{}) },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			a := startAPI(t)
			m := guard(t, a, 2*time.Second)
			g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
			a.change(away)
			g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK), "what was answered holds for its time")

			m.pass(server.AllowTTL + time.Second)
			for range 2 {
				w := m.answer(with("prometheus-token"))
				g.Expect(w.Code).To(Equal(http.StatusServiceUnavailable))
				g.Expect(w.Header().Get("Retry-After")).NotTo(BeEmpty())
				g.Expect(w.Body.String()).To(Equal("the API server cannot be reached to check the token\n"), "without details")
			}
			if name == "it is not there" {
				return // it will not come back either
			}
			a.change(func(a *api) { clear(a.broken); a.hold = nil })
			g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK), "the failure is not remembered")
		})
	}
}

// Requests with one token that arrive at one time take one review.
func TestOneReviewAtATime(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	hold := make(chan struct{})
	a.change(func(a *api) { a.hold = hold })
	m := guard(t, a, time.Minute)
	statuses := make(chan int)
	for range 50 {
		go func() { statuses <- m.status(with("prometheus-token")) }()
	}
	g.Eventually(func() int { tokens, _ := a.reviews(); return tokens }).Should(Equal(1))
	g.Consistently(statuses, 100*time.Millisecond).ShouldNot(Receive())
	close(hold)
	for range 50 {
		g.Expect(<-statuses).To(Equal(http.StatusOK))
	}
	tokens, access := a.reviews()
	g.Expect([]int{tokens, access}).To(Equal([]int{1, 1}))
}

// A client that leaves does not take the answer away from those who wait with it.
func TestAClientThatLeaves(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	hold := make(chan struct{})
	a.change(func(a *api) { a.hold = hold })
	m := guard(t, a, time.Minute)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan int)
	go func() {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
		r.Header.Set("Authorization", "Bearer prometheus-token")
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		left <- w.Code
	}()
	g.Eventually(func() int { tokens, _ := a.reviews(); return tokens }).Should(Equal(1))
	stayed := make(chan int)
	go func() { stayed <- m.status(with("prometheus-token")) }()
	leave()
	g.Expect(<-left).To(Equal(http.StatusServiceUnavailable))
	close(hold)
	g.Expect(<-stayed).To(Equal(http.StatusOK))
	tokens, _ := a.reviews()
	g.Expect(tokens).To(Equal(1))
}

// Invariant 9.
func TestAFloodFromOneHost(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	g.Expect(m.status(request{authorization: "Bearer prometheus-token", from: "10.0.0.1:1"})).To(Equal(http.StatusOK))
	before, _ := a.reviews()
	answers := map[int]int{}
	for i := range 1000 {
		answers[m.status(request{authorization: fmt.Sprintf("Bearer made-up-%d", i), from: fmt.Sprintf("10.6.6.6:%d", 1000+i)})]++
	}
	g.Expect(answers).To(Equal(map[int]int{http.StatusUnauthorized: 5, http.StatusTooManyRequests: 995}))
	tokens, _ := a.reviews()
	g.Expect(tokens-before).To(Equal(5), "the burst of one source")

	w := m.answer(request{authorization: "Bearer made-up", from: "10.6.6.6:1"})
	g.Expect(w.Code).To(Equal(http.StatusTooManyRequests))
	g.Expect(w.Header().Get("Retry-After")).NotTo(BeEmpty())
	a.change(func(a *api) { a.users["rotated-token"] = a.users["prometheus-token"] })
	g.Expect(m.status(request{authorization: "Bearer rotated-token", from: "10.0.0.1:1"})).To(Equal(http.StatusOK),
		"another host has an allowance of its own")
	m.pass(5 * time.Second)
	g.Expect(m.status(request{authorization: "Bearer made-up", from: "10.6.6.6:1"})).To(Equal(http.StatusUnauthorized))
}

// Invariant 9.
func TestAFloodFromManyHosts(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	flood := func(seconds int) int {
		before, _ := a.reviews()
		for second := range seconds {
			for host := range 100 {
				m.status(request{
					authorization: fmt.Sprintf("Bearer made-up-%d-%d", second, host), from: fmt.Sprintf("[fd00:0:0:%x::1]:1", host),
				})
			}
			m.pass(time.Second)
		}
		after, _ := a.reviews()
		return after - before
	}
	g.Expect(flood(60)).To(BeNumerically("<=", 60*server.UnknownRate+server.UnknownBurst))
	g.Expect(flood(int(server.AllowTTL.Seconds()))).To(BeNumerically("<=", server.AllowTTL.Seconds()*server.UnknownRate+1))
	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK), "a token that was accepted is renewed all the same")
	a.change(func(a *api) { a.users["rotated-token"] = a.users["prometheus-token"] })
	flood(1)
	m.status(request{authorization: "Bearer made-up", from: "10.6.6.6:1"}) // takes what the budget has got meanwhile
	g.Expect(m.status(with("rotated-token"))).To(Equal(http.StatusOK), "and so is its successor, from the same host")
}

// Invariant 9: addresses of one IPv6 subnet are one source.
func TestAFloodFromASubnet(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	for i := range 100 {
		m.status(request{authorization: fmt.Sprintf("Bearer made-up-%d", i), from: fmt.Sprintf("[fd00::%x]:1", i+1)})
	}
	tokens, _ := a.reviews()
	g.Expect(tokens).To(Equal(5))
}

// Invariant 9.
func TestAFloodWhileTheAPIServerHangs(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	hold := make(chan struct{})
	a.change(func(a *api) { a.hold, a.most = hold, 0 })
	var clients sync.WaitGroup
	for i := range 200 {
		clients.Go(func() {
			m.status(request{authorization: fmt.Sprintf("Bearer made-up-%d", i), from: fmt.Sprintf("10.6.%d.6:1", i)})
		})
	}
	inFlight := func() int { a.mu.Lock(); defer a.mu.Unlock(); return a.inFlight }
	const left = server.UnknownBurst - 1
	g.Eventually(inFlight).Should(Equal(left))
	g.Consistently(inFlight, 100*time.Millisecond).Should(Equal(left))
	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	close(hold)
	clients.Wait()
	g.Expect(a.most).To(Equal(left))
}

// A flood of rejected tokens does not push out what is known about accepted ones.
func TestAFloodDoesNotEvictKnownTokens(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	before, _ := a.reviews()
	for i := range 3000 {
		m.status(request{authorization: fmt.Sprintf("Bearer made-up-%d", i), from: fmt.Sprintf("10.%d.%d.6:1", i/256, i%256)})
		if i%10 == 0 {
			m.pass(time.Millisecond)
		}
	}
	rejected, _ := a.reviews()
	g.Expect(rejected - before).To(BeNumerically("<=", server.UnknownBurst+1))
	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	after, _ := a.reviews()
	g.Expect(after).To(Equal(rejected), "no review was needed")
}

// Invariant 9: ServiceAccounts of the cluster that may not get the metrics have any number of valid tokens.
func TestValidTokensWithoutRightsDoNotDisplaceTheScraper(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	m := guard(t, a, time.Minute)
	scrape := request{authorization: "Bearer prometheus-token", from: "10.0.0.1:1"}
	g.Expect(m.status(scrape)).To(Equal(http.StatusOK))
	const sources = 60
	for n := range 1200 {
		token := fmt.Sprintf("stranger-%d", n)
		a.change(func(a *api) { a.users[token] = a.users["stranger-token"] })
		if n%2 == 0 { // two new tokens take more than the budget gets
			m.pass(time.Second)
		}
		for age := range 6 { // a new token, and older ones again
			m.status(request{
				authorization: fmt.Sprintf("Bearer stranger-%d", max(n-age*sources, 0)), from: fmt.Sprintf("10.6.6.%d:1", n%sources),
			})
		}
		if n%30 == 1 {
			g.Expect(m.status(scrape)).To(Equal(http.StatusOK), "after %d s", n/2)
		}
	}
	before, beforeAccess := a.reviews()
	g.Expect(before).To(BeNumerically("<=", 600*server.UnknownRate+server.UnknownBurst+40), "with those of the scraper")
	for i := range 100 {
		m.status(request{authorization: "Bearer stranger-1199", from: fmt.Sprintf("10.7.7.%d:1", i)})
	}
	tokens, access := a.reviews()
	g.Expect(tokens-before).To(BeNumerically("<=", 1), "a refusal is remembered")
	g.Expect(access - beforeAccess).To(BeNumerically("<=", 1))
}

// Invariants 6 and 9: clients can name any number of paths.
func TestUnknownPathsAreNotReviewed(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	c := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	filter := a.filter(t, server.FilterOptions{Clock: c})
	certificate, err := server.InMemory("win-1")
	g.Expect(err).NotTo(HaveOccurred())
	o := server.Options{Address: ":0", Certificate: certificate, Filter: filter, Clock: c}
	metrics, err := server.NewMetrics(o, prometheus.Gatherers{})
	g.Expect(err).NotTo(HaveOccurred())
	page, err := server.NewPage(o, newBoard(), prometheus.Gatherers{})
	g.Expect(err).NotTo(HaveOccurred())
	for _, handler := range []http.Handler{metrics, page} {
		m := guarded{Handler: handler}
		for i := range 20 {
			for _, path := range []string{"/debug/pprof/%d", "/metrics/%d", "//metrics?%d", "/x/../metrics?%d", "/%%2fmetrics/%d"} {
				status := m.status(request{path: fmt.Sprintf(path, i), authorization: "Bearer stranger-token"})
				g.Expect(status).To(Or(Equal(http.StatusNotFound), Equal(http.StatusMovedPermanently),
					Equal(http.StatusTemporaryRedirect)), path)
			}
		}
		g.Expect(m.status(request{method: http.MethodPost, authorization: "Bearer prometheus-token"})).
			To(Equal(http.StatusMethodNotAllowed))
	}
	tokens, access := a.reviews()
	g.Expect([]int{tokens, access}).To(Equal([]int{0, 0}))

	g.Expect(guarded{Handler: metrics}.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	g.Expect(a.last.NonResourceAttributes.Path).To(Equal("/metrics"))
	g.Expect(guarded{Handler: page}.status(with("prometheus-token"))).To(Equal(http.StatusForbidden))
	g.Expect(a.last.NonResourceAttributes.Path).To(Equal("/hnsguard/metrics"), "every authenticated user may get /api/*")
}

// Invariant 9: metrics and node page have one budget.
func TestServersWithOneFilterKnowTheSameTokens(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	filter := a.filter(t, server.FilterOptions{Clock: clock.RealClock{}})
	first, second := guarded{Handler: filter.Protect("/metrics", metricsHandler)}, guarded{Handler: filter.Protect("/metrics", metricsHandler)}
	g.Expect(first.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	before, _ := a.reviews()
	g.Expect(second.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	after, _ := a.reviews()
	g.Expect(after).To(Equal(before), "the token is known")
}

// Invariant 8: neither tokens nor the reasons of the API server reach the log at the default level, and a failing API
// server does not fill it.
func TestTheLog(t *testing.T) {
	g := NewWithT(t)
	a := startAPI(t)
	var log bytes.Buffer
	logger := funcr.New(func(_, args string) { fmt.Fprintln(&log, args) }, funcr.Options{Verbosity: 1})
	filter := a.filter(t, server.FilterOptions{Logger: logger, Clock: clock.RealClock{}})
	m := guarded{Handler: filter.Protect("/metrics", metricsHandler)}

	g.Expect(m.status(with("prometheus-token"))).To(Equal(http.StatusOK))
	g.Expect(m.status(with("expired-token"))).To(Equal(http.StatusUnauthorized))
	g.Expect(log.String()).To(And(ContainSubstring("token has expired"), ContainSubstring("level\"=1")))
	a.change(func(a *api) {
		a.broken[tokenReviews] = http.StatusInternalServerError
		a.users["another-token"] = authenticationv1.UserInfo{Username: "another"}
	})
	for range 3 {
		g.Expect(m.status(with("another-token"))).To(Equal(http.StatusServiceUnavailable))
	}
	g.Expect(strings.Count(log.String(), "Cannot review the token of a client")).To(Equal(1))
	for _, token := range []string{"prometheus-token", "expired-token", "another-token"} {
		g.Expect(log.String()).NotTo(ContainSubstring(token))
	}
}

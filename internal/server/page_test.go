// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
)

func newBoard() *report.Board {
	return report.NewBoard(report.BoardOptions{
		Node: "win-1", Config: config.Default(), Clock: clock.RealClock{},
		History:   history.NewRing(history.Options{Clock: clock.RealClock{}}),
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf("v1.37.2") },
		HNS:       func() report.HNS { return report.HNS{} },
	})
}

// settings are the options of a page.
type settings struct {
	server.Options
	board   server.Board
	metrics prometheus.Gatherer
}

func tryPage(change ...func(*settings)) (*server.Server, error) {
	o := settings{
		server.Options{Address: "127.0.0.1:0", Logger: logr.Discard(), Clock: clock.RealClock{}},
		newBoard(),
		prometheus.Gatherers{},
	}
	for _, c := range change {
		c(&o)
	}
	return server.NewPage(o.Options, o.board, o.metrics)
}

func newServer(t *testing.T, change ...func(*settings)) *server.Server {
	t.Helper()
	s, err := tryPage(change...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get asks for a path of the page, on loopback unless the request is changed.
func get(t *testing.T, s http.Handler, method, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Host = "127.0.0.1:9473"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// paths are all that is served.
var paths = map[string]string{
	"/": "text/html; charset=utf-8", "/page.css": "text/css; charset=utf-8", "/page.js": "text/javascript; charset=utf-8",
	"/icon.svg": "image/svg+xml", "/api/v1/status": "application/json",
	"/metrics": "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
}

// Invariant 11.
func TestEveryResponseHasTheSecurityHeaders(t *testing.T) {
	s := newServer(t)
	check := func(name string, r *httptest.ResponseRecorder) {
		t.Helper()
		g := NewWithT(t)
		g.Expect(r.Header().Get("Content-Security-Policy")).To(Equal("default-src 'none'; script-src 'self'; style-src 'self'; "+
			"connect-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"), name)
		g.Expect(r.Header().Get("X-Content-Type-Options")).To(Equal("nosniff"), name)
		g.Expect(r.Header().Get("Referrer-Policy")).To(Equal("no-referrer"), name)
		g.Expect(r.Header().Get("Cross-Origin-Resource-Policy")).To(Equal("same-origin"), name)
		g.Expect(r.Header().Get("Cache-Control")).To(Equal("no-store"), name)
		g.Expect(r.Header()).NotTo(HaveKey("Access-Control-Allow-Origin"), name)
	}
	for path, kind := range paths {
		r := get(t, s, http.MethodGet, path)
		if r.Code != http.StatusOK || r.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d, %q", path, r.Code, r.Header().Get("Content-Type"))
		}
		check(path, r)
	}
	check("not found", get(t, s, http.MethodGet, "/nothing"))
	check("refused", get(t, s, http.MethodGet, "/", host("example.com")))
	check("another method", get(t, s, http.MethodPost, "/"))
}

// Invariant 1.
func TestRequestsOnlyRead(t *testing.T) {
	s := newServer(t)
	for path := range paths {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			r := get(t, s, method, path)
			if r.Code != http.StatusMethodNotAllowed || r.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, allowed is %q", method, path, r.Code, r.Header().Get("Allow"))
			}
		}
		r := get(t, s, http.MethodHead, path)
		if r.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, r.Code)
		}
	}
}

// Invariant 10: a name that a website has given the address 127.0.0.1 is not answered.
func TestOnlyRequestsForLoopbackAreAnswered(t *testing.T) {
	s := newServer(t)
	for name, status := range map[string]int{
		"localhost": 200, "LocalHost:9473": 200, "127.0.0.1": 200, "127.0.0.1:9473": 200, "[::1]": 200, "[::1]:1": 200,
		"127.8.9.10:9473": 200, "[::ffff:127.0.0.1]:9473": 200,
		"": 403, "example.com": 403, "localhost.example.com:9473": 403, "127.0.0.1.nip.io": 403, "10.0.0.4:9473": 403,
		"[fe80::1]:9473": 403, "0.0.0.0:9473": 403, "[::]": 403, "win-1:9473": 403, "localhost:9473:1": 403, "2130706433": 403,
	} {
		for path := range paths {
			r := get(t, s, http.MethodGet, path, host(name))
			if r.Code != status {
				t.Errorf("host %q, %s: %d instead of %d", name, path, r.Code, status)
			}
		}
	}
}

// Invariant 10.
func TestScriptsOfOtherSitesAreNotAnswered(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct {
		site, mode string
		status     int
	}{
		{"", "", 200},
		{"none", "navigate", 200},
		{"same-origin", "cors", 200},
		{"cross-site", "navigate", 200},
		{"cross-site", "cors", 403},
		{"cross-site", "no-cors", 403},
		{"same-site", "cors", 403},
		{"cross-site", "", 403},
	} {
		r := get(t, s, http.MethodGet, "/api/v1/status", header("Sec-Fetch-Site", tc.site), header("Sec-Fetch-Mode", tc.mode))
		if r.Code != tc.status {
			t.Errorf("%+v: %d", tc, r.Code)
		}
	}
}

// Invariant 10.
func TestElsewhereThanOnLoopbackThePageHasToBeSecure(t *testing.T) {
	certificate, err := server.InMemory("win-1")
	if err != nil {
		t.Fatal(err)
	}
	a := startAPI(t)
	filter := a.filter(t, server.FilterOptions{Clock: clock.RealClock{}})
	secure := func(o *settings) { o.Certificate, o.Filter = certificate, filter }
	for _, address := range []string{"0.0.0.0:9473", ":9473", "[::]:9473", "10.0.0.4:9473", "win-1:9473", "9473", ""} {
		at := func(o *settings) { o.Address = address }
		for name, change := range map[string]func(*settings){
			"nothing": func(*settings) {}, "TLS only": func(o *settings) { o.Certificate = certificate },
			"a filter only": func(o *settings) { o.Filter = filter },
		} {
			if _, err := tryPage(at, change); err == nil {
				t.Errorf("%q with %s is accepted", address, name)
			}
		}
		s := newServer(t, at, secure)
		for path := range paths {
			r := get(t, s, http.MethodGet, path, host("localhost"))
			if r.Code != http.StatusUnauthorized {
				t.Errorf("%s on %q is served without authorization: %d", path, address, r.Code)
			}
		}
	}
	s := newServer(t, secure)
	for path := range paths {
		a.change(func(a *api) { a.paths = append(a.paths, "/hnsguard"+path) })
		r := get(t, s, http.MethodGet, path, host("win-1"), header("Authorization", "Bearer prometheus-token"))
		if r.Code != http.StatusOK {
			t.Errorf("%s: %d", path, r.Code)
		}
	}
	for _, address := range []string{"127.0.0.1:9473", "[::1]:9473", "localhost:9473"} {
		if _, err := tryPage(func(o *settings) { o.Address = address }); err != nil {
			t.Error(err)
		}
	}
}

func TestTheStatusIsTheDocument(t *testing.T) {
	g := NewWithT(t)
	var d report.Report
	g.Expect(json.Unmarshal(get(t, newServer(t), http.MethodGet, "/api/v1/status").Body.Bytes(), &d)).To(Succeed())
	g.Expect(d.Kind).To(Equal("NodeReport"))
	g.Expect(d.Node).To(Equal("win-1"))
	g.Expect(d.State).To(Equal(report.StateStarting))
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "hnsguard_up"})
	registry.MustRegister(up)
	up.Set(1)
	r := get(t, newServer(t, func(o *settings) { o.metrics = registry }), http.MethodGet, "/metrics")
	NewWithT(t).Expect(r.Body.String()).To(HaveSuffix("hnsguard_up 1\n"))
}

// slow is a board, and a gatherer of metrics, whose readers wait until it is closed.
type slow struct {
	hold    chan struct{}
	reading atomic.Int64
}

func (s *slow) wait() {
	s.reading.Add(1)
	<-s.hold
}

func (s *slow) Report() report.Report                { s.wait(); return report.Report{} }
func (s *slow) Gather() ([]*dto.MetricFamily, error) { s.wait(); return nil, nil }

// Invariant 2: answers that need much memory.
func TestAnswersAtTheSameTimeAreBounded(t *testing.T) {
	for path, most := range map[string]int64{server.StatusPath: 2, server.MetricsPath: 4} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shown := &slow{hold: make(chan struct{})}
				s, err := server.NewPage(server.Options{Address: server.PageAddress}, shown, shown)
				NewWithT(t).Expect(err).NotTo(HaveOccurred())
				for range 10 {
					go get(t, s, http.MethodGet, path)
				}
				synctest.Wait()
				NewWithT(t).Expect(shown.reading.Load()).To(Equal(most))
				close(shown.hold)
				synctest.Wait()
			})
		})
	}
}

// patience is how long a test waits for what takes no time on an idle machine.
const patience = 30 * time.Second

// serve serves the page on a free port until the test ends, and returns its URL.
func serve(t *testing.T) (url string) {
	t.Helper()
	address := freeAddress(t)
	run(t, address, newServer(t, func(o *settings) { o.Address = address }).Run)
	return "http://" + address
}

func freeAddress(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	return free.Addr().String()
}

// run runs a server until the test ends.
func run(t *testing.T, address string, serve func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the server does not end")
		}
	})
	NewWithT(t).Eventually(func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	}, patience, 10*time.Millisecond).Should(Succeed())
}

// Invariant 12: the agent before this one may still be stopping.
func TestAnAddressInUseIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	soon := impatient{clock.RealClock{}, make(chan time.Duration, 100)}
	s := newServer(t, func(o *settings) { o.Address, o.Clock = other.Addr().String(), soon })
	go s.Run(t.Context())
	g.Eventually(soon.waits, patience).Should(Receive(Equal(30 * time.Second)))
	other.Close()
	g.Eventually(func() (int, error) {
		r, err := http.Get("http://" + other.Addr().String() + "/api/v1/status")
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		return r.StatusCode, nil
	}, patience, 20*time.Millisecond).Should(Equal(http.StatusOK))
}

// impatient is a clock on which waiting takes no time.
type impatient struct {
	clock.Clock
	waits chan time.Duration
}

func (c impatient) After(d time.Duration) <-chan time.Time {
	select {
	case c.waits <- d:
	default:
	}
	return c.Clock.After(10 * time.Millisecond)
}

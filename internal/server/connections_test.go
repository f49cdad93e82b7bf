// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
)

// connectFrom connects to an address from another one, and sends something.
func connectFrom(t *testing.T, from, address, text string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// needLoopbacks skips the test where only 127.0.0.1 is a loopback address, as on macOS.
func needLoopbacks(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip(err)
	}
	l.Close()
}

// isOpen reports whether the server has left a connection open.
func isOpen(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func countOpen(connections []net.Conn) (count int) {
	for _, c := range connections {
		if isOpen(c) {
			count++
		}
	}
	return count
}

// Invariant 2: what other processes of the node do with their connections keeps no client from the page.
func TestOtherConnectionsDoNotBlockThePage(t *testing.T) {
	needLoopbacks(t)
	const request = "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, text := range map[string]string{
		"idle":       fmt.Sprintf(request, "/nothing"),
		"silent":     "",
		"unfinished": "GET /nothing HTTP/1.1\r\n",
		"unread":     strings.Repeat(fmt.Sprintf(request, "/page.js"), 100),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			url := serve(t)
			address := strings.TrimPrefix(url, "http://")
			var all []net.Conn
			for i := range 2 * server.MaxConnections {
				all = append(all, connectFrom(t, fmt.Sprintf("127.0.0.%d", 2+i%8), address, text))
			}
			for range 3 {
				began := time.Now()
				_, err := server.Get(t.Context(), url+server.StatusPath)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(time.Since(began)).To(BeNumerically("<", scrapeTimeout))
			}
			if name == "idle" {
				g.Eventually(func() int { return countOpen(all) }, patience).Should(
					BeNumerically("<=", server.MaxConnections))
			}
		})
	}
}

// Invariant 2: a source takes connections from itself first, and from the source with the most if all are taken.
func TestConnectionsAreBoundedPerSource(t *testing.T) {
	needLoopbacks(t)
	g := NewWithT(t)
	url := serve(t)
	address := strings.TrimPrefix(url, "http://")
	connect := func(from string, count int) (all []net.Conn) {
		for range count {
			all = append(all, connectFrom(t, from, address, ""))
		}
		return all
	}
	few := connect("127.0.0.2", 2)
	many := connect("127.0.0.3", 2*server.MaxPerSource)
	g.Eventually(func() int { return countOpen(many) }, patience/10).Should(Equal(server.MaxPerSource))
	g.Expect(isOpen(many[0])).To(BeFalse(), "the oldest")
	g.Expect(isOpen(many[len(many)-1])).To(BeTrue(), "the newest")
	for i := range 10 {
		connect(fmt.Sprintf("127.0.0.%d", 4+i), server.MaxPerSource/2)
	}
	g.Eventually(func() int { return countOpen(many) }, patience/10).Should(BeNumerically("<=", server.MaxPerSource/2))
	g.Expect(countOpen(few)).To(Equal(2))
}

// Invariant 2: the scraper's connection stays, whatever others do from the same address.
func TestAnAuthorizedConnectionIsReplacedLast(t *testing.T) {
	needLoopbacks(t)
	g := NewWithT(t)
	address := startMetrics(t, logr.Discard())
	client := scraper("127.0.0.2", true)
	g.Expect(scrape(t.Context(), client, address)).To(Succeed())
	client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("the connection has not stayed")
	}
	for range 3 * server.MaxConnections {
		connectFrom(t, "127.0.0.2", address, "")
	}
	g.Expect(scrape(t.Context(), client, address)).To(Succeed())
}

// pipes is a listener of connections in memory, which synctest waits for.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Invariant 2.
func TestAConnectionEndsInTime(t *testing.T) {
	for name, tc := range map[string]struct {
		sent string
		// reads is how much of the answers the client reads.
		reads int64
		after time.Duration
	}{
		"no request":            {"", 1 << 20, server.ReadTimeout},
		"an unfinished request": {"GET / HTTP/1.1\r\n", 1 << 20, server.ReadTimeout},
		"an unread answer":      {"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n", 1, 30 * time.Second},
		"no further request":    {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1 << 20, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			synctest.Test(t, func(t *testing.T) {
				listener := make(pipes)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- server.Serve(s, ctx, listener) }()
				client, accepted := net.Pipe()
				ended := make(chan struct{})
				listener <- watched{accepted, sync.OnceFunc(func() { close(ended) })}
				began := time.Now()
				if _, err := io.WriteString(client, tc.sent); err != nil {
					t.Error(err)
				}
				_, _ = io.CopyN(io.Discard, client, tc.reads)
				<-ended
				NewWithT(t).Expect(time.Since(began)).To(Equal(tc.after))
				stop()
				<-done
			})
		})
	}
}

// watched is a connection that says when it is closed.
type watched struct {
	net.Conn
	closed func()
}

func (w watched) Close() error {
	w.closed()
	return w.Conn.Close()
}

// Invariant 2.
func TestALargeHeaderIsRefused(t *testing.T) {
	g := NewWithT(t)
	url := serve(t)
	for size, status := range map[int]int{30 << 10: http.StatusOK, 100 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		c := connectFrom(t, "127.0.0.1", strings.TrimPrefix(url, "http://"),
			"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "+strings.Repeat("x", size)+"\r\n\r\n")
		answer := make([]byte, 12)
		_, err := io.ReadFull(c, answer)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(answer)).To(Equal(fmt.Sprintf("HTTP/1.1 %d", status)))
	}
}

// brokenBoard panics.
type brokenBoard struct{}

func (brokenBoard) Report() report.Report { panic("broken") }

func TestAPanicIsLoggedAsAnError(t *testing.T) {
	g := NewWithT(t)
	var log bytes.Buffer
	s := newServer(t, func(o *settings) {
		o.board = brokenBoard{}
		o.Logger = funcr.New(func(_, args string) { fmt.Fprintln(&log, args) }, funcr.Options{})
	})
	g.Expect(func() { get(t, s, http.MethodGet, server.StatusPath) }).To(PanicWith(http.ErrAbortHandler))
	g.Expect(log.String()).To(And(ContainSubstring("panic: broken"), ContainSubstring("connections_test.go")))
}

// Invariant 3: the log has the record of removals, which must not be rotated away.
func TestClientsCannotFillTheLog(t *testing.T) {
	g := NewWithT(t)
	var mu sync.Mutex
	var log bytes.Buffer
	logger := funcr.New(func(_, args string) { mu.Lock(); defer mu.Unlock(); fmt.Fprintln(&log, args) }, funcr.Options{Verbosity: 1})
	address, began := startMetrics(t, logger), time.Now()
	for range 100 {
		c := connectFrom(t, "127.0.0.1", address, "GET /metrics HTTP/1.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // until the server closes it
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
		g.Expect(err).NotTo(HaveOccurred())
		response, err := (&http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		}}).Do(request)
		g.Expect(err).NotTo(HaveOccurred())
		response.Body.Close()
		g.Expect(response.StatusCode).To(Equal(http.StatusUnauthorized))
	}
	mu.Lock()
	defer mu.Unlock()
	g.Expect(log.String()).To(And(ContainSubstring("TLS handshake error"), ContainSubstring("Refused a request")))
	var caused []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "TLS handshake error") || strings.Contains(line, "Refused a request") {
			caused = append(caused, line)
		}
	}
	g.Expect(caused).To(HaveEach(ContainSubstring(`"level"=1`)))
	// The connections and the filter have a limit each, of ten lines and one per second.
	g.Expect(len(caused)).To(BeNumerically("<=", 2*(11+int(time.Since(began).Seconds()))), "of 200")
}

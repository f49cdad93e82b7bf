// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/server"
)

// scrapeTimeout is Prometheus' default.
const scrapeTimeout = 10 * time.Second

// attackVariable makes the test program attack an address, from as many source addresses as given. The attacker is a
// separate process, so that its memory does not count as the server's.
const attackVariable = "HNSGUARD_TEST_ATTACK"

// attack opens 300 connections and sends 1 MB of a request on each, or as much as the server accepts. It reports when
// it has sent everything, and keeps the connections open.
func attack(target string) {
	address, count, _ := strings.Cut(target, "/")
	sources, err := strconv.Atoi(count)
	if err != nil {
		panic(err)
	}
	part := []byte("X-Part: " + strings.Repeat("a", 1000) + "\r\n")
	var sent sync.WaitGroup
	for i := range 300 {
		sent.Go(func() {
			c, err := dialFrom(context.Background(), address, fmt.Sprintf("127.0.0.%d", 2+i%sources))
			for range []int{1000, 30}[i%2] {
				if err == nil {
					_, err = c.Write(part)
				}
			}
		})
	}
	sent.Wait()
	fmt.Println("sent")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// dialFrom returns a TLS connection with the start of a request.
func dialFrom(ctx context.Context, address, from string) (net.Conn, error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute},
		Config:    &tls.Config{InsecureSkipVerify: true},
	}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		_, err = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: win-1\r\n")
	}
	return c, err
}

// startAttack starts the attacker. The channel is closed when everything is sent.
func startAttack(t *testing.T, address string, sources int) (sent <-chan struct{}) {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	command.Env = append(os.Environ(), fmt.Sprintf("%s=%s/%d", attackVariable, address, sources))
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if line, err := bufio.NewReader(stdout).ReadString('\n'); strings.TrimSpace(line) != "sent" {
			t.Errorf("the attacker said %q: %v", line, err)
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-done
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	return done
}

// startMetrics runs a secured server of metrics, and returns its address.
func startMetrics(t *testing.T, logger logr.Logger) string {
	t.Helper()
	certificate, err := server.InMemory("win-1")
	if err != nil {
		t.Fatal(err)
	}
	filter := startAPI(t).filter(t, server.FilterOptions{Logger: logger, Clock: clock.RealClock{}})
	address := freeAddress(t)
	s, err := server.NewMetrics(server.Options{
		Address: address, Certificate: certificate, Filter: filter, Logger: logger, Clock: clock.RealClock{},
	}, prometheus.Gatherers{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, address, func(ctx context.Context) { _ = s.Start(ctx) })
	return address
}

// scraper returns a client of the metrics with its own address.
func scraper(from string, keepAlive bool) *http.Client {
	return &http.Client{Timeout: scrapeTimeout, Transport: &http.Transport{
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: !keepAlive,
	}}
}

func scrape(ctx context.Context, client *http.Client, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer prometheus-token")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

func inUse() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// Invariant 2: clients without a token neither exhaust the memory nor lock out the scraper, even if they share its
// address.
func TestUnfinishedRequestsCostLittle(t *testing.T) {
	needLoopbacks(t)
	if runtime.GOOS == "windows" {
		t.Skip("under Wine, hundreds of connections at once take longer than the timeout of a scrape")
	}
	for _, sources := range []int{1, 20} {
		t.Run(fmt.Sprintf("from %d addresses", sources), func(t *testing.T) {
			g := NewWithT(t)
			address := startMetrics(t, logr.Discard())
			known := scraper("127.0.0.2", true)
			g.Expect(scrape(t.Context(), known, address)).To(Succeed())
			runtime.GC()
			before, most := inUse(), 0

			sent := startAttack(t, address, sources)
			others := scraper("127.0.0.1", false)
			for attacking, scrapes := true, 0; attacking || scrapes < 10; scrapes++ {
				g.Expect(scrape(t.Context(), others, address)).To(Succeed(), "from another address")
				most = max(most, inUse())
				select {
				case <-sent:
					attacking = false
				case <-time.After(20 * time.Millisecond):
				}
			}
			g.Expect(scrape(t.Context(), scraper("127.0.0.2", false), address)).To(Succeed(), "from an attacker's address")
			g.Expect(scrape(t.Context(), known, address)).To(Succeed(), "on the connection that was there before")
			t.Logf("memory in use grew by %d KiB", (most-before)>>10)
			g.Expect(most - before).To(BeNumerically("<", 32<<20))
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	certutil "k8s.io/client-go/util/cert"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

func TestMain(m *testing.M) {
	if target := os.Getenv(attackVariable); target != "" {
		attack(target)
		return
	}
	logf.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// renew writes another pair for the host into a folder.
func renew(t *testing.T, folder, host string) {
	t.Helper()
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// connect completes a handshake with a server that uses the certificate.
func connect(t *testing.T, c *server.Certificate, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		_ = tls.Server(far, c.TLSConfig()).HandshakeContext(t.Context()) // the client reports the error
	}()
	conn := tls.Client(near, client)
	err := conn.HandshakeContext(t.Context())
	return conn.ConnectionState(), err
}

func shownName(t *testing.T, c *server.Certificate) string {
	t.Helper()
	state, err := connect(t, c, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].DNSNames[0]
}

// Invariant 5.
func TestAFolder(t *testing.T) {
	g := NewWithT(t)
	folder := tempdir.New(t)
	renew(t, folder, "first")
	c, err := server.FromFolder(folder)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(shownName(t, c)).To(Equal("first"))

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	renew(t, folder, "second")
	g.Eventually(func() string { return shownName(t, c) }, 20*time.Second).Should(Equal("second"))
	g.Expect(os.WriteFile(filepath.Join(folder, "tls.key"), []byte("broken"), 0o600)).To(Succeed())
	g.Consistently(func() string { return shownName(t, c) }, time.Second).Should(Equal("second"))
}

func TestAFolderThatWillNotDo(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(folder string) error
		want   string
	}{
		"empty":             {func(string) error { return nil }, "tls.crt"},
		"not there":         {os.RemoveAll, "tls.crt"},
		"no key":            {func(f string) error { renew(t, f, "h"); return os.Remove(filepath.Join(f, "tls.key")) }, "tls.key"},
		"another one's key": {otherKey(t), "private key does not match"},
		"no PEM": {func(f string) error {
			renew(t, f, "h")
			return os.WriteFile(filepath.Join(f, "tls.crt"), []byte("certificate"), 0o600)
		}, "failed to find any PEM data"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			folder := tempdir.New(t)
			g.Expect(tc.change(folder)).To(Succeed())
			_, err := server.FromFolder(folder)
			g.Expect(err).To(MatchError(And(ContainSubstring("reading the serving certificate"),
				ContainSubstring(tc.want), ContainSubstring(folder))))
		})
	}
}

func otherKey(t *testing.T) func(string) error {
	t.Helper()
	return func(folder string) error {
		renew(t, folder, "one")
		first, err := os.ReadFile(filepath.Join(folder, "tls.crt"))
		if err != nil {
			return err
		}
		renew(t, folder, "other")
		return os.WriteFile(filepath.Join(folder, "tls.crt"), first, 0o600)
	}
}

// Invariant 4.
func TestInMemory(t *testing.T) {
	g := NewWithT(t)
	c, err := server.InMemory("win-1")
	g.Expect(err).NotTo(HaveOccurred())
	state, err := connect(t, c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(state.PeerCertificates[0].DNSNames).To(ContainElements("win-1", "localhost"))
	g.Expect(state.PeerCertificates[0].NotAfter).To(BeTemporally(">", time.Now().AddDate(9, 0, 0)))
	g.Expect(state.NegotiatedProtocol).To(Equal("http/1.1"))
	g.Expect(c.Start(t.Context())).To(Succeed(), "there is nothing to follow")

	_, err = connect(t, c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	g.Expect(err).To(MatchError(ContainSubstring("protocol version")))
}

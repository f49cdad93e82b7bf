// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// The files that a folder must contain. They are the keys of a Secret of type kubernetes.io/tls.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// Certificate is what a server presents to its clients.
type Certificate struct {
	get func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// watcher reloads the files when they change. It is nil if there are none.
	watcher *certwatcher.CertWatcher

	mu     sync.Mutex
	filter metricsserver.Filter
}

// FromFolder reads the certificate and key in a folder, and reloads them when they change.
func FromFolder(folder string) (*Certificate, error) {
	watcher, err := certwatcher.New(filepath.Join(folder, certFile), filepath.Join(folder, keyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the serving certificate: %w (the folder %s must contain %s and %s, in PEM)",
			err, folder, certFile, keyFile)
	}
	return &Certificate{get: watcher.GetCertificate, watcher: watcher}, nil
}

// lifetime is longer than any process lives, because a certificate that is only in memory is never renewed.
const lifetime = 10 * 365 * 24 * time.Hour

// InMemory generates a self-signed certificate for a host. Clients cannot verify it.
func InMemory(host string) (*Certificate, error) {
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKeyWithOptions(certutil.SelfSignedCertKeyOptions{
		Host:         host,
		AlternateDNS: []string{"localhost"},
		MaxAge:       lifetime,
	})
	if err != nil {
		return nil, fmt.Errorf("generating a serving certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("generating a serving certificate: %w", err)
	}
	return &Certificate{get: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}, nil
}

// Start reloads the files until the context ends. It is a [sigs.k8s.io/controller-runtime/pkg/manager.Runnable].
func (c *Certificate) Start(ctx context.Context) error {
	if c.watcher == nil {
		return nil
	}
	if err := c.watcher.Start(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watching the serving certificate: %w", err)
	}
	return nil
}

// nowhere is a path that cannot exist. The server gets its certificate from us and reads no folder. Should that ever
// change, it must fail instead of using what it finds in the host's temp folder.
const nowhere = "\x00"

// Secure makes a metrics server present the certificate, and authenticate and authorize every client.
func (c *Certificate) Secure(o *metricsserver.Options) {
	o.SecureServing = true
	o.CertDir = nowhere
	o.FilterProvider = c.Filter
	o.TLSOpts = append(o.TLSOpts, c.configure)
}

// Filter returns the filter for all that is served with the certificate. It is one, so that the bounds on reviews hold
// for all of that together.
func (c *Certificate) Filter(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filter != nil {
		return c.filter, nil
	}
	filter, err := FilterProvider(config, httpClient)
	if err != nil {
		return nil, err
	}
	c.filter = filter
	return filter, nil
}

// TLSConfig returns the configuration of another server that presents the certificate.
func (c *Certificate) TLSConfig() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	c.configure(config)
	return config
}

func (c *Certificate) configure(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	// A scraper sends one request at a time. HTTP/2 has no use here, and it has been a way to exhaust servers.
	config.NextProtos = []string{"http/1.1"}
	config.GetCertificate = c.get
}

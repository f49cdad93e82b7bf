// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// The files of a folder with a certificate. They are the keys of a Secret of type kubernetes.io/tls.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// Certificate is a server's certificate.
type Certificate struct {
	get func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// watcher reloads the files when they change; nil without files.
	watcher *certwatcher.CertWatcher
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

// lifetime is longer than that of any process, because a certificate in memory is never renewed.
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

// TLSConfig returns the configuration of a server that presents the certificate.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: c.get,
		// A scraper sends one request at a time. It has no use for HTTP/2, which has been a way to exhaust servers.
		NextProtos: []string{"http/1.1"},
	}
}

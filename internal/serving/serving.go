// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// The files that a folder has to hold. They are the keys of a Secret of type kubernetes.io/tls.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// Certificate is what a server shows to its clients.
type Certificate struct {
	get func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// watcher follows the files, if there are any.
	watcher *certwatcher.CertWatcher
}

// FromFolder takes the certificate and key that are in a folder, and follows them when they change.
func FromFolder(folder string) (*Certificate, error) {
	watcher, err := certwatcher.New(filepath.Join(folder, certFile), filepath.Join(folder, keyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the serving certificate: %w (the folder %s has to hold %s and %s, in PEM)",
			err, folder, certFile, keyFile)
	}
	return &Certificate{get: watcher.GetCertificate, watcher: watcher}, nil
}

// lifetime is longer than any process lives: nobody renews what is only in memory.
const lifetime = 10 * 365 * 24 * time.Hour

// InMemory makes a certificate that nobody has signed, for the host of the name. Clients cannot tell it from another's.
func InMemory(host string) (*Certificate, error) {
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKeyWithOptions(certutil.SelfSignedCertKeyOptions{
		Host: host, AlternateDNS: []string{"localhost"}, MaxAge: lifetime,
	})
	if err != nil {
		return nil, fmt.Errorf("making a serving certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("making a serving certificate: %w", err)
	}
	return &Certificate{get: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}, nil
}

// Start follows the files until the context ends. It is a [sigs.k8s.io/controller-runtime/pkg/manager.Runnable].
func (c *Certificate) Start(ctx context.Context) error {
	if c.watcher == nil {
		return nil
	}
	if err := c.watcher.Start(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("following the serving certificate: %w", err)
	}
	return nil
}

// nowhere is a path that no file system can hold. The certificate is always given, so that the server looks into no
// folder; should that ever change, it must fail rather than take what it finds in the host's temp folder.
const nowhere = "\x00"

// Secure makes a metrics server show the certificate, and ask the API server about every client.
func (c *Certificate) Secure(o *metricsserver.Options) {
	o.SecureServing = true
	o.CertDir = nowhere
	o.FilterProvider = filters.WithAuthenticationAndAuthorization
	o.TLSOpts = append(o.TLSOpts, c.configure)
}

func (c *Certificate) configure(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	// A scraper has one request at a time; HTTP/2 would bring it nothing, and others its ways to exhaust a server.
	config.NextProtos = []string{"http/1.1"}
	config.GetCertificate = c.get
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/server"
)

// serveOptions are the flags for serving.
type serveOptions struct {
	metrics, probes, page string
	secure                bool
	certDir               string
}

func (o *serveOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.metrics, "metrics-bind-address", "127.0.0.1:10352", `where to serve metrics; "0" serves none`)
	addMetricsSecure(cmd, &o.secure)
	flags.StringVar(&o.certDir, "metrics-cert-dir", "",
		"folder with tls.crt and tls.key, which may change; without it, a self-signed certificate")
	flags.StringVar(&o.probes, "health-probe-bind-address", "127.0.0.1:10353", `where to serve probes; "0" serves none`)
	flags.StringVar(&o.page, "page-bind-address", server.PageAddress,
		`where to serve the node page; "0" serves none, and elsewhere than on loopback it needs --metrics-secure`)
}

func addMetricsSecure(cmd *cobra.Command, secure *bool) {
	cmd.Flags().BoolVar(secure, "metrics-secure", false,
		"serve metrics over HTTPS, and only to clients that the API server authorizes to get /metrics")
}

// certificate validates all of the options. It returns the certificate for metrics, and for a page that is not on
// loopback; nil for plain HTTP.
func (o *serveOptions) certificate(node string, env func(string) (string, bool)) (*server.Certificate, error) {
	errs := []error{
		checkAddress("--metrics-bind-address", o.metrics), checkAddress("--health-probe-bind-address", o.probes),
		checkAddress("--page-bind-address", o.page),
	}
	public := o.page != nowhere && !server.IsLoopback(o.page)
	if public && !o.secure {
		errs = append(errs, usageError{fmt.Errorf("--page-bind-address %q: needs --metrics-secure, since others than the "+
			"node's own processes can connect to it; or use an address such as %s", o.page, server.PageAddress)})
	}
	var certificate *server.Certificate
	var err error
	switch {
	case !o.secure && o.certDir != "":
		err = usageError{errors.New("--metrics-cert-dir needs --metrics-secure: plain HTTP uses no certificate")}
	case o.secure && o.certDir != "":
		if certificate, err = server.FromFolder(mounted(o.certDir, env)); err != nil {
			err = fmt.Errorf("--metrics-cert-dir: %w", err)
		}
	case o.secure && (o.metrics != nowhere || public):
		certificate, err = server.InMemory(node)
	}
	return certificate, errors.Join(append(errs, err)...)
}

// nowhere is the address that disables a server.
const nowhere = "0"

// checkAddress validates a listen address. It rejects the empty address, which controller-runtime takes for port 8080
// on all interfaces.
func checkAddress(flag, address string) error {
	if address == nowhere {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return usageError{fmt.Errorf(`%s %q: must be an address such as "127.0.0.1:10352", or "0"`, flag, address)}
	}
	if _, err := netip.ParseAddr(host); host != "" && host != "localhost" && err != nil {
		return usageError{fmt.Errorf(`%s %q: %q is not an IP address`, flag, address, host)}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return usageError{fmt.Errorf("%s %q: port %q is not between 1 and 65535", flag, address, port)}
	}
	return nil
}

// explainListening adds advice to an error if an address cannot be listened on.
func explainListening(err error) error {
	var failed *net.OpError
	if !errors.As(err, &failed) || failed.Op != "listen" {
		return err
	}
	return fmt.Errorf("%w: the node does not have the address, another process uses the port, or Windows reserves it "+
		"(netsh interface ipv4 show excludedportrange protocol=tcp); choose another one with --metrics-bind-address or "+
		"--health-probe-bind-address", err)
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/hnsguard/hnsguard/internal/serving"
)

// serveOptions are the flags that say what is served where, and to whom.
type serveOptions struct {
	metrics, probes string
	secure          bool
	certDir         string
}

func (o *serveOptions) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&o.metrics, "metrics-bind-address", "127.0.0.1:10352", `where to serve metrics; "0" for nowhere`)
	flags.BoolVar(&o.secure, "metrics-secure", false,
		"serve metrics over HTTPS, and only to tokens that the API server lets get /metrics")
	flags.StringVar(&o.certDir, "metrics-cert-dir", "",
		"folder with tls.crt and tls.key, read again when they change; without it, a certificate that nobody has signed")
	flags.StringVar(&o.probes, "health-probe-bind-address", "127.0.0.1:10353", `where to serve probes; "0" for nowhere`)
}

// certificate checks all of the options, and returns what to serve metrics with; nil for plain HTTP.
func (o *serveOptions) certificate(node string, env func(string) (string, bool)) (*serving.Certificate, error) {
	errs := []error{
		checkAddress("--metrics-bind-address", o.metrics), checkAddress("--health-probe-bind-address", o.probes),
	}
	var certificate *serving.Certificate
	var err error
	switch {
	case !o.secure && o.certDir != "":
		err = errors.New("--metrics-cert-dir is of no use without --metrics-secure: plain HTTP has no certificate")
	case o.secure && o.certDir != "":
		if certificate, err = serving.FromFolder(folder(mounted(o.certDir, env))); err != nil {
			err = fmt.Errorf("--metrics-cert-dir: %w", err)
		}
	case o.secure && o.metrics != nowhere:
		certificate, err = serving.InMemory(node)
	}
	return certificate, errors.Join(append(errs, err)...)
}

// folder is the first of several that is there, or the last.
func folder(places []string) string {
	for _, place := range places {
		if _, err := os.Stat(place); err == nil {
			return place
		}
	}
	return places[len(places)-1]
}

// nowhere is the address of what is not served.
const nowhere = "0"

// checkAddress finds faults of an address before anything listens on it. Above all it may not be empty, which
// controller-runtime takes for port 8080 on all interfaces.
func checkAddress(flag, address string) error {
	if address == nowhere {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf(`%s %q: want an address such as "127.0.0.1:10352", or "0" for nowhere`, flag, address)
	}
	if _, err := netip.ParseAddr(host); host != "" && host != "localhost" && err != nil {
		return fmt.Errorf(`%s %q: %q is not an IP address of this node`, flag, address, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s %q: port %q does not lie between 1 and 65535", flag, address, port)
	}
	return nil
}

// explainListening says what to do if an address is taken.
func explainListening(err error) error {
	var failed *net.OpError
	if !errors.As(err, &failed) || failed.Op != "listen" {
		return err
	}
	return fmt.Errorf("%w: the node has no such address, another process has the port, or Windows keeps it for itself "+
		"(netsh interface ipv4 show excludedportrange protocol=tcp); take another one with --metrics-bind-address or "+
		"--health-probe-bind-address", err)
}

// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	certutil "k8s.io/client-go/util/cert"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// Invariant 2.
func TestWhatCannotBeServed(t *testing.T) {
	empty := tempdir.New(t)
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"all at once": {
			[]string{
				"--metrics-secure", "--metrics-cert-dir", empty, "--metrics-bind-address", "10352",
				"--health-probe-bind-address", "", "--page-bind-address", "nowhere",
			},
			[]string{
				"--metrics-cert-dir: reading the serving certificate", empty, `--metrics-bind-address "10352": must be an address`,
				`--health-probe-bind-address "": must be an address`, `--page-bind-address "nowhere": must be an address`, "--node-name",
			},
		},
		"a certificate without TLS": {[]string{"--metrics-cert-dir", empty}, []string{"needs --metrics-secure"}},
		"a name":                    {[]string{"--metrics-bind-address", "win-1:1"}, []string{`"win-1" is not an IP address`}},
		"a page for everybody":      {[]string{"--page-bind-address", "0.0.0.0:9473"}, []string{`--page-bind-address "0.0.0.0:9473": needs --metrics-secure`}},
		"a page on all addresses":   {[]string{"--page-bind-address", ":9473"}, []string{"needs --metrics-secure"}},
		"no port":                   {[]string{"--metrics-bind-address", "127.0.0.1:0"}, []string{`port "0"`}},
		"port too high":             {[]string{"--metrics-bind-address", "[::1]:65536"}, []string{`port "65536"`}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, append([]string{"run"}, tc.args...)...)
			g.Expect(got.code).To(Equal(cli.ExitUsage))
			for _, want := range tc.want {
				g.Expect(got.err).To(ContainSubstring(want))
			}
		})
	}
}

func TestWhatCanBeServed(t *testing.T) {
	for name, args := range map[string][]string{
		"the defaults":         nil,
		"nothing":              {"--metrics-bind-address", "0", "--health-probe-bind-address", "0"},
		"nothing, but secure":  {"--metrics-bind-address", "0", "--metrics-secure"},
		"in memory":            {"--metrics-bind-address", ":10352", "--metrics-secure"},
		"on an address":        {"--metrics-bind-address", "[::1]:10352"},
		"no page":              {"--page-bind-address", "0"},
		"a page on loopback":   {"--page-bind-address", "[::1]:9473"},
		"a page elsewhere":     {"--page-bind-address", ":9473", "--metrics-secure", "--metrics-bind-address", "0"},
		"on localhost by name": {"--health-probe-bind-address", "localhost:10353"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, append([]string{"run"}, args...)...)
			g.Expect(got.err).NotTo(Or(ContainSubstring("metrics"), ContainSubstring("probe"), ContainSubstring("page")))
		})
	}
}

// With containerd 1.6 a mounted folder is only found below the container's root.
func TestAMountedCertificateIsFound(t *testing.T) {
	g := NewWithT(t)
	root := tempdir.New(t)
	below := filepath.Join(root, "etc", "hnsguard")
	g.Expect(os.MkdirAll(below, 0o700)).To(Succeed())
	certPEM, keyPEM, err := certutil.GenerateSelfSignedCertKey("win-1", nil, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(filepath.Join(below, "tls.crt"), certPEM, 0o600)).To(Succeed())
	g.Expect(os.WriteFile(filepath.Join(below, "tls.key"), keyPEM, 0o600)).To(Succeed())
	run := func(root, folder string) string {
		return invoke(t, map[string]string{"CONTAINER_SANDBOX_MOUNT_POINT": root}, "run", "--metrics-secure",
			"--metrics-cert-dir", folder).err
	}
	g.Expect(run(root, "/etc/hnsguard")).NotTo(ContainSubstring("cert"))
	g.Expect(run(tempdir.New(t), below)).NotTo(ContainSubstring("cert"), "with containerd 1.7 it is at the path itself")
	g.Expect(run(root, "/etc/nowhere")).To(ContainSubstring("--metrics-cert-dir: reading the serving certificate"))
}

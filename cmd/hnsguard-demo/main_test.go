// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	demo "github.com/hnsguard/hnsguard/cmd/hnsguard-demo"
)

func TestMain(m *testing.M) {
	demo.DiscardLogs()
	os.Exit(m.Run())
}

func run(ctx context.Context, args ...string) (code int, out, errs string) {
	var o, e strings.Builder
	code = demo.Run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

// Invariant 3.
func TestTheExitStatusSaysWhatHappened(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help":                {[]string{"--help"}, 0, "nothing else is touched"},
		"scenario":            {[]string{"--scenario", "x"}, demo.ExitUsage, `--scenario "x": must be all, incident`},
		"speed":               {[]string{"--speed", "0"}, demo.ExitUsage, "--speed 0: must be a number greater than zero"},
		"a speed without end": {[]string{"--speed", "Inf"}, demo.ExitUsage, "--speed +Inf: must be a number greater than zero"},
		"all at once": {
			[]string{"--speed", "NaN", "--metrics-bind-address", "foo", "--page-bind-address", "0.0.0.0:80"},
			demo.ExitUsage,
			"--speed NaN: must be a number greater than zero\n" +
				`--metrics-bind-address "foo": must be an IP address and a port, such as "127.0.0.1:10352", or "0"` + "\n" +
				`--page-bind-address "0.0.0.0:80": must be a loopback address and a port, such as "127.0.0.1:9473", or "0"`,
		},
		"unknown flag": {[]string{"--bogus"}, demo.ExitUsage, "-bogus"},
		"argument":     {[]string{"bogus"}, demo.ExitUsage, `"bogus": hnsguard-demo takes no arguments`},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			code, _, errs := run(t.Context(), tc.args...)
			g.Expect(code).To(Equal(tc.code))
			g.Expect(errs).To(ContainSubstring(tc.want))
		})
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	g := NewWithT(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	code, out, errs := run(t.Context(), "--page-bind-address", listener.Addr().String())
	g.Expect(code).To(Equal(demo.ExitError))
	g.Expect(out).To(BeEmpty())
	g.Expect(errs).To(ContainSubstring("looking for a free port: listen tcp " + listener.Addr().String()))
}

// An interrupted demo has not failed.
func TestAnInterruptedDemo(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	code, _, errs := run(ctx, "--metrics-bind-address", "0", "--page-bind-address", "0")
	g.Expect(code).To(Equal(demo.ExitInterrupted))
	g.Expect(errs).To(Equal("hnsguard-demo: interrupted\n"))
}

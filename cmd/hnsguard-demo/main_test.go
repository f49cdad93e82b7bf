// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"context"
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
		"help":         {[]string{"--help"}, 0, "nothing else is touched"},
		"scenario":     {[]string{"--scenario", "x"}, demo.ExitUsage, `--scenario "x": must be all, incident`},
		"speed":        {[]string{"--speed", "0"}, demo.ExitUsage, "--speed 0: must be greater than zero"},
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

// A demo that is interrupted has not failed.
func TestAnInterruptedDemo(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	code, _, errs := run(ctx, "--metrics-bind-address", "0", "--page-bind-address", "0")
	g.Expect(code).To(Equal(demo.ExitInterrupted))
	g.Expect(errs).To(Equal("hnsguard-demo: interrupted\n"))
}

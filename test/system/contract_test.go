// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package system_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
)

// The contract of the seam holds for the real adapter too, all the way through hcsshim and the DLLs.
func TestContractOfTheRealAdapter(t *testing.T) {
	exe := os.Getenv("HNSGUARD_CONTRACT_EXE")
	if exe == "" {
		t.Fatal("HNSGUARD_CONTRACT_EXE is not set; run: make system-test")
	}
	service := hnstest.New(hnstest.Options{})
	service.CreateNetwork("azure", hns.NetworkL2Bridge, netip.MustParsePrefix("10.240.0.0/16"))
	server, err := hnsserver.Start(t.Context(), service, hnsserver.WindowsServer2022)
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	env := []string{"HNS_SERVER_PORT=" + server.Port(), "HNSGUARD_CONTRACT_NETWORK=azure"}
	p := start(t, env, exe, "-test.v", "-test.run", "^TestContract$")
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		t.Fatalf("the suite does not end:\n%s", p.log)
	}
	log := p.log.String()
	if passed := strings.Count(log, "--- PASS: TestContract/"); !p.cmd.ProcessState.Success() || passed != 11 {
		t.Errorf("%d of 11 parts passed:\n%s", passed, log)
	}
}

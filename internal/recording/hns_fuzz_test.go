// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// FuzzHNS holds invariant 4 against any input: what is read without an error has the shape that package hns promises,
// and reading it twice changes nothing.
func FuzzHNS(f *testing.F) {
	fixtures, err := filepath.Glob(filepath.Join("testdata", "hns", "*.[jt]*"))
	if err != nil || len(fixtures) == 0 {
		f.Fatalf("no fixtures to begin with: %v", err)
	}
	for _, name := range fixtures {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if dump, err := recording.ReadHNS(file("fuzz", data)); err == nil {
			checkHNS(t, dump)
			twice, err := recording.ReadHNS(file("fuzz", data), file("again", data))
			if err != nil || len(twice.Endpoints) != len(dump.Endpoints) {
				t.Errorf("reading it twice: %v", err)
			}
		}
	})
}

func checkHNS(t *testing.T, dump recording.HNS) {
	t.Helper()
	for _, e := range dump.Endpoints {
		checkEndpoint(t, e, dump.Incomplete[e.ID])
	}
	for _, n := range dump.Networks {
		checkID(t, n.ID, false)
	}
	for _, lb := range dump.LoadBalancers {
		checkID(t, lb.ID, false)
		for _, id := range lb.Endpoints {
			checkID(t, id, false)
		}
	}
	if !dump.EndpointsRecorded && len(dump.Endpoints) > 0 || !dump.LoadBalancersRecorded && len(dump.LoadBalancers) > 0 {
		t.Error("objects of a kind that was not recorded")
	}
}

func checkEndpoint(t *testing.T, e hns.Endpoint, missing string) {
	t.Helper()
	checkID(t, e.ID, false)
	checkID(t, e.Network, true)
	checkID(t, e.Namespace, true)
	for _, addr := range e.Addresses {
		if again, err := hns.ParseAddr(addr.String()); err != nil || again != addr || addr == (netip.Addr{}) {
			t.Errorf("address %v parses as %v, %v", addr, again, err)
		}
	}
	if missing == "" && (e.Network == "" || e.Remote() && e.MAC == (hns.MAC{})) {
		t.Errorf("the record of endpoint %+v passes for complete", e)
	}
}

func checkID[T hns.EndpointID | hns.NetworkID | hns.NamespaceID | hns.LoadBalancerID](
	t *testing.T, id T, optional bool,
) {
	t.Helper()
	if optional && id == "" {
		return
	}
	if again, err := hns.ParseID[T](string(id)); err != nil || again != id {
		t.Errorf("ID %q parses as %q, %v", id, again, err)
	}
}

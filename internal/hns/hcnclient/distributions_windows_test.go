// SPDX-License-Identifier: Apache-2.0

package hcnclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// The client decodes the nodes of all distributions like package recording.
func TestTheNodesOfAllDistributions(t *testing.T) {
	files, err := filepath.Glob("../../../test/distributions/testdata/*/*.json")
	if err != nil || len(files) < 16 {
		t.Fatalf("%d nodes were found, but there are sixteen or more (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			g := NewWithT(t)
			data, err := os.ReadFile(file)
			g.Expect(err).NotTo(HaveOccurred())
			dump, err := recording.ReadHNS(recording.File{Name: file, Data: data})
			g.Expect(err).NotTo(HaveOccurred())
			lists := listsOf(t, data)

			var networks []hns.Network
			for _, object := range lists[0] {
				network, err := hcnclient.DecodeNetwork(object)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(network.Subnets).NotTo(BeEmpty())
				network.Subnets = nil // a recording has none
				networks = append(networks, network)
			}
			g.Expect(networks).To(Equal(dump.Networks))
			for at, object := range lists[1] {
				endpoint, err := hcnclient.DecodeEndpoint(dump.Endpoints[at].ID, object)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(endpoint).To(Equal(dump.Endpoints[at]))
			}
			if len(lists) < 3 {
				g.Expect(dump.LoadBalancers).To(BeEmpty())
				return
			}
			for at, object := range lists[2] {
				balancer, err := hcnclient.DecodeLoadBalancer(object)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(balancer.Endpoints).To(Equal(dump.LoadBalancers[at].Endpoints))
				g.Expect(balancer.FrontendVIPs).NotTo(BeEmpty())
			}
		})
	}
}

// listsOf splits a file into its lists of objects.
func listsOf(t *testing.T, data []byte) (lists [][]json.RawMessage) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		var list []json.RawMessage
		err := decoder.Decode(&list)
		if errors.Is(err, io.EOF) {
			return lists
		}
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, list)
	}
}

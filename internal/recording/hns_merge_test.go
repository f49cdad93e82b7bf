// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"strconv"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// readHNSFiles reads files with the given contents, which are named by their numbers.
func readHNSFiles(texts ...string) (recording.HNS, error) {
	var files []recording.File
	for i, text := range texts {
		files = append(files, file(strconv.Itoa(i), []byte(text)))
	}
	return recording.ReadHNS(files...)
}

func TestHNSFilesOfNothing(t *testing.T) {
	g := NewWithT(t)
	dump, err := recording.ReadHNS()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.EndpointsRecorded).To(BeFalse())
	g.Expect(dump.LoadBalancersRecorded).To(BeFalse())
}

func TestHNSFilesOfAllKinds(t *testing.T) {
	g := NewWithT(t)
	dump, err := readHNSFiles(
		v1(`"IPAddress":"10.0.0.5"`),
		`{"ID":"`+idC+`","HostComputeEndpoints":["`+idA+`"]}`,
		`{"ID":"`+net+`","Name":"azure","Type":"L2Bridge","Ipams":[]}`,
	)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.EndpointsRecorded).To(BeTrue())
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.LoadBalancersRecorded).To(BeTrue())
	g.Expect(dump.LoadBalancers).To(HaveLen(1))
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "azure", Type: hns.NetworkL2Bridge}}))
}

// Files may overlap, and a network's own record adds to what its endpoints say of it.
func TestHNSFilesOverlap(t *testing.T) {
	g := NewWithT(t)
	for _, text := range []string{
		v1(`"IPAddress":"10.0.0.5"`, `"VirtualNetworkName":"azure"`), `{"ID":"` + idA + `","IPAddress":"10.0.0.5"}`,
		`{"ID":"` + idC + `","HostComputeEndpoints":["` + idA + `"]}`,
	} {
		both, err := readHNSFiles(text, text)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(both).To(Equal(readHNS(t, text)))
	}
}

// Invariant 3: dumps of two moments are not taken for one.
func TestHNSFilesOfContradictions(t *testing.T) {
	for name, pair := range map[string][2]string{
		"a flag":             {v1(`"IsRemoteEndpoint":true`), v1()},
		"an address":         {v1(`"IPAddress":"10.0.0.5"`), v1(`"IPAddress":"10.0.0.6"`)},
		"a network":          {v1(), v2(`"HostComputeNetwork":"` + idB + `"`)},
		"a hardware address": {v1(), v1(`"MacAddress":"00-15-5d-00-00-02"`)},
		"a namespace":        {v2(`"HostComputeNamespace":"` + idB + `"`), v2()},
		"backends": {
			`{"ID":"` + idA + `","HostComputeEndpoints":["` + idA + `"]}`, `{"ID":"` + idA + `","HostComputeEndpoints":[]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := readHNSFiles(pair[0], pair[1])
			g.Expect(err).To(MatchError(And(HavePrefix("1:1:1: "), ContainSubstring(idA+" occurs twice, with different content"),
				ContainSubstring("at one moment"))))
			g.Expect(dump).To(BeZero())
		})
	}
}

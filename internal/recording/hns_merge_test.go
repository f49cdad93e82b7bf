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

func TestHNSFilesCompleteEachOther(t *testing.T) {
	g := NewWithT(t)
	const some = `{"ID":"` + idA + `","IPAddress":"10.0.0.5"}`
	whole := v1(`"IPAddress":"10.0.0.5"`, `"IsRemoteEndpoint":true`, `"Flags":33`)
	g.Expect(readHNS(t, some).Incomplete).To(HaveKey(hns.EndpointID(idA)))
	for _, order := range [][]string{{some, whole}, {whole, some}, {some, whole, some}} {
		every, err := readHNSFiles(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(every.Incomplete).To(BeEmpty())
		g.Expect(every.Endpoints).To(Equal(readHNS(t, whole).Endpoints))
		g.Expect(every.Endpoints[0].Flags).To(Equal(hns.EndpointFlags(33)))
	}
	both, err := readHNSFiles(some, some)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(both).To(Equal(readHNS(t, some)))
}

// The two interfaces of HNS show different signs of use. Any of them counts.
func TestHNSFilesAddUpSignsOfUse(t *testing.T) {
	g := NewWithT(t)
	older := v1(`"State":3`)
	newer := v2(`"HostComputeNamespace":"` + idB + `"`)
	for _, order := range [][]string{{older, newer}, {newer, older}} {
		dump, err := readHNSFiles(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(dump.Endpoints[0].Namespace).To(Equal(hns.NamespaceID(idB)))
		g.Expect(dump.Endpoints[0].SharedContainers).To(Equal(1))
	}
}

// A V1 policy list and a V2 load balancer of one ID are one.
func TestHNSFilesOfLoadBalancers(t *testing.T) {
	g := NewWithT(t)
	const list = `{"ID":"` + idC + `","References":["/endpoints/` + idB + `","/endpoints/` + idA + `"]}`
	const balancer = `{"ID":"` + idC + `","HostComputeEndpoints":["` + idA + `","` + idB + `"]}`
	for _, order := range [][]string{{list, balancer}, {balancer, list}} {
		dump, err := readHNSFiles(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(dump.LoadBalancers).To(HaveLen(1))
		g.Expect(dump.LoadBalancers[0].Endpoints).To(ConsistOf(hns.EndpointID(idA), hns.EndpointID(idB)))
	}
}

// Invariant 3: dumps of two moments are not taken for one.
func TestHNSFilesOfContradictions(t *testing.T) {
	network := func(properties string) string {
		return `{"ID":"` + net + `","CurrentEndpointCount":1,` + properties + `}`
	}
	for want, pair := range map[string][2]string{
		"Flags:1":                                {v1(`"IsRemoteEndpoint":true`), v1()},
		"10.0.0.6":                               {v1(`"IPAddress":"10.0.0.5"`), v1(`"IPAddress":"10.0.0.6"`)},
		"Network:" + idB:                         {v1(), v2(`"HostComputeNetwork":"` + idB + `"`)},
		"00-15-5d-00-00-02":                      {v1(), v1(`"MacAddress":"00-15-5d-00-00-02"`)},
		"Namespace:" + idC:                       {v2(`"HostComputeNamespace":"` + idB + `"`), v2(`"HostComputeNamespace":"` + idC + `"`)},
		`is both "a" () and "b" ()`:              {network(`"Name":"a"`), network(`"Name":"b"`)},
		`is both "" (L2Bridge) and "" (Overlay)`: {network(`"Type":"l2bridge"`), network(`"Type":"Overlay"`)},
		"has the endpoints [" + idA + "] and []": {
			`{"ID":"` + idC + `","HostComputeEndpoints":["` + idA + `"]}`,
			`{"ID":"` + idC + `","HostComputeEndpoints":[]}`,
		},
	} {
		t.Run(want, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := readHNSFiles(pair[0], pair[1])
			g.Expect(err).To(MatchError(And(HavePrefix("1:1:1: "), ContainSubstring(want), ContainSubstring("at one moment"))))
			g.Expect(dump).To(BeZero())
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Write writes HNS, the cluster and the other parts as a bundle, and returns its manifest. Only what keeps a bundle
// from being written is an error (invariant 8).
func (b Bundle) Write(w io.Writer, others ...Part) (Manifest, error) {
	m := b.Manifest
	m.APIVersion, m.Kind, m.Program = config.APIVersion, BundleKind, version.Get()
	z := zip.NewWriter(w)
	var errs []error
	write := func(p Part) {
		file, err := z.CreateHeader(&zip.FileHeader{Name: p.Name, Method: zip.Deflate, Modified: m.Recorded})
		if err == nil {
			_, err = file.Write(p.Data)
		}
		errs = append(errs, err)
	}
	for _, p := range slices.Concat(b.hnsParts(), b.clusterParts(), others) {
		if p.Error == "" {
			write(p)
		}
		m.Files = append(m.Files, Part{Name: p.Name, Error: p.Error})
	}
	data, err := Indented(m)
	write(Part{Name: fileManifest, Data: data})
	if err := errors.Join(append(errs, err, z.Close())...); err != nil {
		return Manifest{}, fmt.Errorf("writing the bundle: %w", err)
	}
	return m, nil
}

func (b Bundle) hnsParts() []Part {
	h := b.HNS
	return []Part{
		listPart(fileEndpoints, h.EndpointsRecorded, b.HNSErr, each(h.Endpoints, endpointObject)),
		listPart(fileBalancers, h.LoadBalancersRecorded, b.HNSErr, each(h.LoadBalancers, balancerObject)),
		listPart(fileNetworks, len(h.Networks) > 0 || b.HNSErr == nil, b.HNSErr, each(h.Networks, networkObject)),
	}
}

func (b Bundle) clusterParts() []Part {
	list := func(apiVersion, kind string, items []any) any {
		return map[string]any{"apiVersion": apiVersion, "kind": kind, "items": items}
	}
	c := b.Cluster
	return []Part{
		listPart(filePods, c.PodsRecorded, b.ClusterErr, list("v1", "PodList", each(c.Pods, trimPod))),
		listPart(fileSlices, c.SlicesRecorded, b.ClusterErr,
			list("discovery.k8s.io/v1", "EndpointSliceList", each(c.Slices, trimSlice))),
		listPart(fileServices, c.ServicesRecorded, b.ClusterErr, list("v1", "ServiceList", each(c.Services, trimService))),
		listPart(fileNodes, c.NodesRecorded, b.ClusterErr, list("v1", "NodeList", each(c.Nodes, trimNode))),
	}
}

// listPart is a file of objects, or says why they could not be recorded.
func listPart(name string, recorded bool, why error, objects any) Part {
	if !recorded {
		return NewPart(name, nil, cmp.Or(why, errors.New("the agent may not read it")))
	}
	data, err := Indented(objects)
	return NewPart(name, data, err)
}

func each[From, To any](all []From, form func(From) To) []any {
	formed := make([]any, 0, len(all))
	for _, one := range all {
		formed = append(formed, form(one))
	}
	return formed
}

// The functions below form objects in the V2 form that [ReadHNS] reads.

// endpointObject forms a whole endpoint.
func endpointObject(e hns.Endpoint) any {
	return map[string]any{
		"ID": e.ID, "Name": e.Name, "HostComputeNetwork": e.Network, "HostComputeNamespace": e.Namespace,
		"MacAddress": e.MAC, "Flags": e.Flags, "Untranslated": e.Untranslated,
		"IpConfigurations": each(e.Addresses, func(a netip.Addr) any { return map[string]any{"IpAddress": a} }),
		"Health":           map[string]any{"Extra": map[string]any{"SharedContainers": make([]struct{}, e.SharedContainers)}},
		"SchemaVersion":    map[string]int{"Major": 2, "Minor": 0},
	}
}

// networkObject forms a network without its subnets, which are not read either.
func networkObject(n hns.Network) any {
	return map[string]any{"ID": n.ID, "Name": n.Name, "Type": n.Type, "Ipams": []any{}}
}

// balancerObject forms a load balancer.
func balancerObject(lb hns.LoadBalancer) any {
	return map[string]any{
		"ID": lb.ID, "HostComputeEndpoints": append([]hns.EndpointID{}, lb.Endpoints...), "FrontendVIPs": lb.FrontendVIPs,
		"PortMappings": lb.Ports,
	}
}

// Indented is a value as JSON for people.
func Indented(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", " ")
	return append(data, '\n'), err
}

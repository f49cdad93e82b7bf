// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/version"
)

// Options are what is recorded.
type Options struct {
	// Node is the name of the node. Required.
	Node string
	// Now is the time of the recording. Required.
	Now time.Time
	// Timeout limits how long it takes to make one file. Required.
	Timeout time.Duration
	// HNS and Cluster read the node. Both are required.
	HNS     func(context.Context) (HNS, error)
	Cluster func(context.Context) (Cluster, error)
	// KubeProxyVersion finds the version of kube-proxy, or returns an empty string. Required.
	KubeProxyVersion func(context.Context, Cluster) string
	// Parts are the other files. They are made after the rest, from what was recorded.
	// Default: none.
	Parts func(Bundle) []Part
	// Progress is told what is recorded next.
	// Default: nobody is.
	Progress func(about string)
}

// Part is a file of a bundle that package recording does not make itself.
type Part struct {
	Name, About string
	Content     func(context.Context) ([]byte, error)
}

// Record writes a bundle and returns its manifest. Only what keeps a bundle from being written is an error (invariant
// 8). A context that ends is.
func Record(ctx context.Context, w io.Writer, o Options) (Manifest, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r := recorder{Options: o}
	r.archive = newArchive(w, Manifest{Node: o.Node, Recorded: o.Now.UTC(), Program: version.Get()}, o.Progress, o.Timeout)
	r.hns(ctx)
	r.cluster(ctx)
	o.Progress("the version of kube-proxy")
	r.archive.manifest.KubeProxyVersion = o.KubeProxyVersion(ctx, r.state)
	r.parts(ctx)
	if err := ctx.Err(); err != nil {
		return Manifest{}, fmt.Errorf("recording node %s: %w", o.Node, err)
	}
	return r.archive.close()
}

// recorder keeps what later files are made of.
type recorder struct {
	Options
	archive *archive

	dump     HNS
	dumpErr  error
	state    Cluster
	stateErr error
}

func (r *recorder) hns(ctx context.Context) {
	r.Progress("HNS")
	type recorded struct {
		dump HNS
		err  error
	}
	got, err := within(ctx, r.Timeout, func(ctx context.Context) (recorded, error) {
		dump, err := r.HNS(ctx)
		return recorded{dump, err}, nil
	})
	r.dump, r.dumpErr = got.dump, errors.Join(err, got.err)
	endpoints, errEndpoints := writeEndpoints(r.dump.Endpoints)
	balancers, errBalancers := writeLoadBalancers(r.dump.LoadBalancers)
	networks, errNetworks := writeNetworks(r.dump.Networks)
	if !r.dump.EndpointsRecorded {
		errEndpoints = r.dumpErr
	}
	if !r.dump.LoadBalancersRecorded {
		errBalancers = r.dumpErr
	}
	if len(r.dump.Networks) == 0 {
		errNetworks = cmp.Or(r.dumpErr, errNetworks)
	}
	r.archive.put(fileEndpoints, "endpoints of HNS", endpoints, errEndpoints)
	r.archive.put(fileBalancers, "load balancers of HNS", balancers, errBalancers)
	r.archive.put(fileNetworks, "networks of HNS", networks, errNetworks)
}

func (r *recorder) cluster(ctx context.Context) {
	r.Progress("pods, EndpointSlices and Services")
	r.state, r.stateErr = within(ctx, r.Timeout, r.Cluster)
	r.list(filePods, "pods of the node, without environment, volumes, annotations and labels", &corev1.PodList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: each(r.state.Pods, trimPod),
	})
	r.list(fileSlices, "EndpointSlices", &discoveryv1.EndpointSliceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"},
		Items:    each(r.state.Slices, trimSlice),
	})
	r.list(fileServices, "Services", &corev1.ServiceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"}, Items: each(r.state.Services, trimService),
	})
	if r.stateErr == nil && !r.state.NodesRecorded {
		r.archive.put(fileNodes, "the Node", nil, errors.New("the agent may not get nodes"))
		return
	}
	r.list(fileNodes, "the Node", &corev1.NodeList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}, Items: each(r.state.Nodes, trimNode),
	})
}

// list writes a list of what was read of the cluster.
func (r *recorder) list(name, about string, list any) {
	if r.stateErr != nil {
		r.archive.put(name, about, nil, r.stateErr)
		return
	}
	data, err := Indented(list)
	r.archive.put(name, about, data, err)
}

func each[From, To any](all []From, trim func(From) To) []To {
	trimmed := make([]To, 0, len(all))
	for _, one := range all {
		trimmed = append(trimmed, trim(one))
	}
	return trimmed
}

func (r *recorder) parts(ctx context.Context) {
	if r.Parts == nil {
		return
	}
	recorded := Bundle{
		Manifest: r.archive.manifest, HNS: r.dump, HNSErr: r.dumpErr, Cluster: r.state, ClusterErr: r.stateErr,
	}
	for _, part := range r.Parts(recorded) {
		r.archive.add(ctx, part.Name, part.About, part.Content)
	}
}

// Indented is a value as JSON for people.
func Indented(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", " ")
	return append(data, '\n'), err
}

// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
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
	// HNS and Cluster read the node. They return when their context ends. Both are required.
	HNS     func(context.Context) (HNS, error)
	Cluster func(context.Context) (Cluster, error)
	// KubeProxyVersion finds the version of kube-proxy, or returns an empty string. Required.
	KubeProxyVersion func(context.Context, Cluster) string
	// Parts are the other files. They are made after the rest, from what was recorded.
	// Default: none.
	Parts func(Bundle) []Part
	// Progress receives the name of what is recorded next.
	// Default: no progress is shown.
	Progress func(about string)
}

// Part is a file of a bundle that is made elsewhere.
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
	r := recorder{Options: o, zip: zip.NewWriter(w)}
	r.bundle.Manifest = Manifest{
		APIVersion: config.APIVersion, Kind: BundleKind, Node: o.Node, Recorded: o.Now.UTC(), Program: version.Get(),
	}
	r.recordHNS(ctx)
	r.recordCluster(ctx)
	o.Progress("the version of kube-proxy")
	r.bundle.Manifest.KubeProxyVersion = o.KubeProxyVersion(ctx, r.bundle.Cluster)
	if o.Parts != nil {
		for _, part := range o.Parts(r.bundle) {
			o.Progress(part.About)
			data, err := within(ctx, o.Timeout, part.Content)
			r.put(part.Name, part.About, data, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return Manifest{}, fmt.Errorf("recording node %s: %w", o.Node, err)
	}
	return r.bundle.Manifest, r.close()
}

// recorder is the zip while it is written, and what was recorded so far.
type recorder struct {
	Options
	zip    *zip.Writer
	bundle Bundle
	// err is the first failure to write. After it nothing is written any more.
	err error
}

func (r *recorder) recordHNS(ctx context.Context) {
	r.Progress("HNS")
	b := &r.bundle
	b.HNS, b.HNSErr = within(ctx, r.Timeout, r.HNS)
	for _, f := range []struct {
		name, about string
		recorded    bool
		objects     []any
	}{
		{fileEndpoints, "endpoints of HNS", b.HNS.EndpointsRecorded, each(b.HNS.Endpoints, endpointObject)},
		{fileBalancers, "load balancers of HNS", b.HNS.LoadBalancersRecorded, each(b.HNS.LoadBalancers, balancerObject)},
		{fileNetworks, "networks of HNS", len(b.HNS.Networks) > 0 || b.HNSErr == nil, each(b.HNS.Networks, networkObject)},
	} {
		data, err := Indented(f.objects)
		if !f.recorded {
			err = cmp.Or(b.HNSErr, errors.New("it was not read"))
		}
		r.put(f.name, f.about, data, err)
	}
}

func (r *recorder) recordCluster(ctx context.Context) {
	r.Progress("pods, EndpointSlices and Services")
	b := &r.bundle
	b.Cluster, b.ClusterErr = within(ctx, r.Timeout, r.Cluster)
	for _, f := range []struct {
		name, about, version, kind string
		recorded                   bool
		objects                    []any
	}{
		{
			filePods, "pods of the node, without environment, volumes, annotations and labels", "v1", "Pod",
			b.Cluster.PodsRecorded, each(b.Cluster.Pods, trimPod),
		},
		{
			fileSlices, "EndpointSlices", "discovery.k8s.io/v1", "EndpointSlice",
			b.Cluster.SlicesRecorded, each(b.Cluster.Slices, trimSlice),
		},
		{fileServices, "Services", "v1", "Service", b.Cluster.ServicesRecorded, each(b.Cluster.Services, trimService)},
		{fileNodes, "the Node", "v1", "Node", b.Cluster.NodesRecorded, each(b.Cluster.Nodes, Node.object)},
	} {
		data, err := Indented(map[string]any{"apiVersion": f.version, "kind": f.kind + "List", "items": f.objects})
		if !f.recorded {
			err = cmp.Or(b.ClusterErr, errors.New("the agent may not read it"))
		}
		r.put(f.name, f.about, data, err)
	}
}

func each[From, To any](all []From, form func(From) To) []any {
	formed := make([]any, 0, len(all))
	for _, one := range all {
		formed = append(formed, form(one))
	}
	return formed
}

// put writes a file that was made, or records why it was not (invariant 8).
func (r *recorder) put(name, about string, data []byte, err error) {
	f := File{Name: name, About: about, Bytes: len(data)}
	if err != nil {
		f.Bytes, f.Error = 0, err.Error()
	} else {
		r.write(name, data)
	}
	r.bundle.Manifest.Files = append(r.bundle.Manifest.Files, f)
}

func (r *recorder) write(name string, data []byte) {
	if r.err != nil {
		return
	}
	into, err := r.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: r.Now})
	if err == nil {
		_, err = io.Copy(into, bytes.NewReader(data))
	}
	r.err = err
}

// close writes the manifest and ends the zip.
func (r *recorder) close() error {
	data, err := Indented(r.bundle.Manifest)
	r.write(fileManifest, data)
	if err := cmp.Or(r.err, err, r.zip.Close()); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	return nil
}

// within runs a function with a timeout. The function returns when its context ends.
func within[T any](ctx context.Context, timeout time.Duration, run func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not finish within %s", timeout))
	defer cancel()
	value, err := run(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return value, err
}

// Indented is a value as JSON for people.
func Indented(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", " ")
	return append(data, '\n'), err
}

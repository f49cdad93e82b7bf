// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/clusterdump"
	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/hnsdump"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Options are what is recorded.
type Options struct {
	// Node is the node and its agent, as the doctor checks them. Required.
	Node doctor.Options
	// Reader reads from the API server. If it could not be made, Node.APIErr says why.
	Reader client.Reader
	// PageURL is where the agent serves its page, without a path. Without it the page is not recorded.
	PageURL string
	// Progress is told what is recorded next.
	// Default: nobody is.
	Progress func(about string)
}

// Record writes a bundle and returns its manifest. Only what keeps a bundle from being written is an error (invariant
// 2). A context that ends is.
func Record(ctx context.Context, w io.Writer, o Options) (Manifest, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	r := recorder{Options: o}
	r.archive = newArchive(w, Manifest{
		Node: o.Node.Node, Recorded: o.Node.Clock.Now().UTC(), Program: version.Get(),
	}, o.Progress, o.Node.Timeout)
	r.archive.add(ctx, fileConfig, "the agent's configuration", r.config)
	r.hns(ctx)
	r.cluster(ctx)
	r.kubeProxy(ctx)
	r.archive.add(ctx, fileScan, "verdicts", r.verdicts)
	r.doctor(ctx)
	r.agent(ctx)
	if err := ctx.Err(); err != nil {
		return Manifest{}, fmt.Errorf("recording node %s: %w", o.Node.Node, err)
	}
	return r.archive.close()
}

// recorder keeps what later files are made of.
type recorder struct {
	Options
	archive *archive

	dump      hnsdump.Dump
	dumpErr   error
	state     clusterdump.Dump
	stateErr  error
	proxyKind kubeproxy.Profile
}

// config is what the program understood of the configuration: comments of the file, where anything may stand, are not.
func (r *recorder) config(context.Context) ([]byte, error) {
	if r.Node.ConfigErr != nil {
		return nil, r.Node.ConfigErr
	}
	return yaml.Marshal(r.Node.Config)
}

func (r *recorder) hns(ctx context.Context) {
	r.Progress("HNS")
	type recorded struct {
		dump hnsdump.Dump
		err  error
	}
	got, err := within(ctx, r.Node.Timeout, func(ctx context.Context) (recorded, error) {
		if r.Node.HNSErr != nil {
			return recorded{}, r.Node.HNSErr
		}
		dump, err := report.RecordHNS(ctx, r.Node.HNS)
		return recorded{dump, err}, nil
	})
	r.dump, r.dumpErr = got.dump, errors.Join(err, got.err)
	endpoints, errEndpoints := hnsdump.WriteEndpoints(r.dump.Endpoints)
	balancers, errBalancers := hnsdump.WriteLoadBalancers(r.dump.LoadBalancers)
	networks, errNetworks := hnsdump.WriteNetworks(r.dump.Networks)
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
	r.state, r.stateErr = within(ctx, r.Node.Timeout, func(ctx context.Context) (clusterdump.Dump, error) {
		if r.Node.APIErr != nil {
			return clusterdump.Dump{}, r.Node.APIErr
		}
		return report.ReadCluster(ctx, r.Reader, r.Node.Node, nil)
	})
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
	data, err := indented(list)
	r.archive.put(name, about, data, err)
}

func each[From, To any](all []From, trim func(From) To) []To {
	trimmed := make([]To, 0, len(all))
	for _, one := range all {
		trimmed = append(trimmed, trim(one))
	}
	return trimmed
}

// kubeProxy finds the version as scan does.
func (r *recorder) kubeProxy(ctx context.Context) {
	r.Progress("the version of kube-proxy")
	found := r.Node.KubeProxyVersion
	if found == "" {
		found = detect.Version(ctx, r.Node.MetricsURL, r.state.Pods, r.Node.Node)
	}
	r.proxyKind = kubeproxy.ProfileOf(found)
	r.archive.manifest.KubeProxyVersion = found
}

func (r *recorder) verdicts(context.Context) ([]byte, error) {
	if err := r.stateErr; err != nil || !r.dump.EndpointsRecorded {
		return nil, errors.Join(r.dumpErr, err)
	}
	found, err := report.Judge(report.Input{
		Node: r.Node.Node, Config: r.Node.Config, KubeProxy: r.proxyKind, HNS: r.dump, Cluster: r.state,
		Now: r.archive.manifest.Recorded,
	})
	if err != nil {
		return nil, err
	}
	return indented(found)
}

// doctor records the checks. Each has a timeout of its own.
func (r *recorder) doctor(ctx context.Context) {
	const about = "checks of the node"
	r.Progress(about)
	found, err := doctor.Run(ctx, r.Node)
	if err != nil {
		r.archive.put(fileDoctor, about, nil, err)
		return
	}
	data, err := indented(found)
	r.archive.put(fileDoctor, about, data, err)
}

// agent records what the agent serves. It may not run, or be of a version that serves less.
func (r *recorder) agent(ctx context.Context) {
	for _, served := range []struct{ name, about, path string }{
		{fileStatus, "the agent's own view of the node", server.StatusPath},
		{fileMetrics, "the agent's metrics", server.MetricsPath},
	} {
		r.archive.add(ctx, served.name, served.about, func(ctx context.Context) ([]byte, error) {
			if r.PageURL == "" {
				return nil, errors.New("the agent serves no page")
			}
			return ask(ctx, r.PageURL+served.path)
		})
	}
}

// ask reads what the agent serves.
func ask(ctx context.Context, url string) ([]byte, error) {
	data, err := server.Get(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("asking the agent at %s: %w", url, err)
	}
	return data, nil
}

func indented(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", " ")
	return append(data, '\n'), err
}

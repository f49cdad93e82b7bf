// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
)

// recorded is a node to record in a bundle.
type recorded struct {
	node doctor.Options
	// reader reads from the API server. If it is nil, node.APIErr says why.
	reader client.Reader
	// page is the address of the agent's page.
	page string
	// proxyLog is a file with kube-proxy's log, if given.
	proxyLog string
}

// write records the node. Parts that cannot be recorded are missing from the bundle, without an error; if the context
// ends, write fails.
func (r recorded) write(ctx context.Context, w io.Writer) (recording.Bundle, error) {
	b := recording.Bundle{Manifest: recording.Manifest{Node: r.node.Node, Recorded: r.node.Clock.Now().UTC()}}
	b.HNS, b.HNSErr = within(ctx, r.node.Timeout, r.hns)
	b.Cluster, b.ClusterErr = within(ctx, r.node.Timeout, r.cluster)
	b.Manifest.KubeProxyVersion = r.node.KubeProxyVersion
	if r.node.KubeProxyVersion == "" {
		b.Manifest.KubeProxyVersion = detect.Version(ctx, r.node.MetricsURL, b.Cluster.Pods, r.node.Node)
	}
	var parts []recording.Part
	for _, part := range []struct {
		name    string
		content func(context.Context) ([]byte, error)
	}{
		{recording.FileConfig, r.config},
		{recording.FileScan, func(context.Context) ([]byte, error) { return r.verdicts(b) }},
		{recording.FileDoctor, r.checks},
		{recording.FileStatus, r.served(server.StatusPath)},
		{recording.FileMetrics, r.served(server.MetricsPath)},
	} {
		data, err := within(ctx, r.node.Timeout, part.content)
		parts = append(parts, recording.NewPart(part.name, data, err))
	}
	if r.proxyLog != "" {
		data, err := readProxyLog(r.proxyLog)
		parts = append(parts, recording.NewPart(recording.FileProxyLog, data, err))
	}
	if err := ctx.Err(); err != nil {
		return recording.Bundle{}, fmt.Errorf("recording node %s: %w", r.node.Node, err)
	}
	var err error
	b.Manifest, err = b.Write(w, parts...)
	return b, err
}

// within runs a function with a timeout. The function must return when its context ends.
func within[T any](ctx context.Context, timeout time.Duration, run func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not finish within %s", timeout))
	defer cancel()
	value, err := run(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return value, err
}

func (r recorded) hns(ctx context.Context) (recording.HNS, error) {
	if r.node.HNSErr != nil {
		return recording.HNS{}, r.node.HNSErr
	}
	return report.ReadHNS(ctx, r.node.BoundedHNS())
}

func (r recorded) cluster(ctx context.Context) (recording.Cluster, error) {
	if r.node.APIErr != nil {
		return recording.Cluster{}, r.node.APIErr
	}
	return report.ReadCluster(ctx, r.reader, r.node.Node, nil)
}

// config returns the decoded configuration, without the comments of the file, which may have anything in them.
func (r recorded) config(context.Context) ([]byte, error) {
	if r.node.ConfigErr != nil {
		return nil, r.node.ConfigErr
	}
	return yaml.Marshal(r.node.Config)
}

func (r recorded) verdicts(b recording.Bundle) ([]byte, error) {
	if b.ClusterErr != nil || !b.HNS.EndpointsRecorded {
		return nil, errors.Join(b.HNSErr, b.ClusterErr)
	}
	return indented(report.Judge(report.Input{
		Node: r.node.Node, Config: r.node.Config, KubeProxy: kubeproxy.ProfileOf(b.Manifest.KubeProxyVersion),
		HNS: b.HNS, Cluster: b.Cluster, Now: b.Manifest.Recorded,
	}))
}

func (r recorded) checks(ctx context.Context) ([]byte, error) {
	return indented(doctor.Run(ctx, r.node))
}

func indented[T any](value T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return recording.Indented(value)
}

// served reads a path that the agent serves. The agent may not run, or its version may not serve the path.
func (r recorded) served(path string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) { return askAgent(ctx, r.page, path) }
}

// readProxyLog reads the lines about HNS from kube-proxy's log.
func readProxyLog(name string) ([]byte, error) {
	file, err := recording.Load(name, nil)
	if err != nil {
		return nil, err
	}
	return recording.TrimProxyLog(file)
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
)

// recorded is a node as bundle records it.
type recorded struct {
	node doctor.Options
	// reader reads from the API server. Without it, node.APIErr says why.
	reader client.Reader
	// pageURL is where the agent serves its page, without a path, or empty.
	pageURL string
}

// options are what is recorded of the node.
func (r recorded) options() recording.Options {
	return recording.Options{
		Node: r.node.Node, Now: r.node.Clock.Now(), Timeout: r.node.Timeout,
		HNS: func(ctx context.Context) (recording.HNS, error) {
			if r.node.HNSErr != nil {
				return recording.HNS{}, r.node.HNSErr
			}
			return report.RecordHNS(ctx, hns.WithDeadline(r.node.HNS, hns.DeadlineOptions{
				Call: r.node.Timeout, List: r.node.Timeout, MaxHung: 1, Clock: r.node.Clock,
			}))
		},
		Cluster: func(ctx context.Context) (recording.Cluster, error) {
			if r.node.APIErr != nil {
				return recording.Cluster{}, r.node.APIErr
			}
			return report.ReadCluster(ctx, r.reader, r.node.Node, nil)
		},
		KubeProxyVersion: func(ctx context.Context, c recording.Cluster) string {
			if r.node.KubeProxyVersion != "" {
				return r.node.KubeProxyVersion
			}
			return detect.Version(ctx, r.node.MetricsURL, c.Pods, r.node.Node)
		},
		Parts: r.parts,
	}
}

// parts are the files besides HNS and the cluster.
func (r recorded) parts(b recording.Bundle) []recording.Part {
	return []recording.Part{
		{Name: recording.FileConfig, About: "the agent's configuration", Content: r.config},
		{
			Name: recording.FileScan, About: "verdicts",
			Content: func(context.Context) ([]byte, error) { return r.verdicts(b) },
		},
		{Name: recording.FileDoctor, About: "checks of the node", Content: r.checks},
		{Name: recording.FileStatus, About: "the agent's own view of the node", Content: r.served(server.StatusPath)},
		{Name: recording.FileMetrics, About: "the agent's metrics", Content: r.served(server.MetricsPath)},
	}
}

// config is what the program understood of the configuration. Comments, where anything may stand, are left out.
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
	found, err := report.Judge(report.Input{
		Node: r.node.Node, Config: r.node.Config, KubeProxy: kubeproxy.ProfileOf(b.Manifest.KubeProxyVersion),
		HNS: b.HNS, Cluster: b.Cluster, Now: b.Manifest.Recorded,
	})
	if err != nil {
		return nil, err
	}
	return recording.Indented(found)
}

func (r recorded) checks(ctx context.Context) ([]byte, error) {
	report, err := doctor.Run(ctx, r.node)
	if err != nil {
		return nil, err
	}
	return recording.Indented(report)
}

// served reads what the agent serves. It may not run, or be of a version that serves less.
func (r recorded) served(path string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		if r.pageURL == "" {
			return nil, errors.New("the agent serves no page")
		}
		data, err := server.Get(ctx, r.pageURL+path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.pageURL+path, err)
		}
		return data, nil
	}
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/clusterdump"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/internal/hnsdump"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/scan"
)

// scanOptions are the flags of scan.
type scanOptions struct {
	node                   nodeOptions
	hnsDumps, clusterDumps []string
	output                 string
}

func newScan(p Process) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Say of every HNS endpoint what would be done about it, and do nothing",
		Long: "Look once at this node, or at what was recorded of one, and print what would be done about every HNS\n" +
			"endpoint, and why. Nothing is changed. The exit status is 0 if nothing would be removed, 3 if something would,\n" +
			"and 1 on an error.\n\n" +
			"Record a node with\n" +
			"  Get-HnsEndpoint | ConvertTo-Json -Depth 20 > endpoints.json\n" +
			"  Get-HnsPolicyList | ConvertTo-Json -Depth 20 > policies.json\n" +
			"and the cluster with\n" +
			"  kubectl get pods,endpointslices,services -A -o json > cluster.json\n" +
			"The files of collectlogs.ps1 (endpoint.txt, policy.txt), hcn's JSON and the text of hnsdiag list are read too.\n" +
			"Where only one side is recorded, the other is read live.",
		Example: "  hnsguard scan --node-name win-1 --hns-dump endpoints.json --hns-dump policies.json \\\n" +
			"    --cluster-dump cluster.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), p.Env, nodeVariables()); err != nil {
				return err
			}
			return runScan(cmd.Context(), p, o)
		},
	}
	flags := cmd.Flags()
	o.node.addTo(cmd)
	flags.StringArrayVar(&o.hnsDumps, "hns-dump", nil, "file recorded of HNS; give it once for each file")
	flags.StringArrayVar(&o.clusterDumps, "cluster-dump", nil,
		"file recorded with kubectl get; give it once for each file")
	flags.StringVarP(&o.output, "output", "o", "", "print as json or yaml")
	completeFiles(cmd, "hns-dump")
	completeFiles(cmd, "cluster-dump")
	completeOutput(cmd)
	return cmd
}

func runScan(ctx context.Context, p Process, o scanOptions) error {
	policy, errPolicy := o.node.policy(p.Env)
	in := scan.Input{Node: o.node.name, Config: policy, Now: time.Now()}
	var errHNS, errCluster error
	in.HNS, errHNS = o.hns(ctx, policy.Network)
	in.Cluster, errCluster = o.cluster(ctx, p)
	if err := errors.Join(o.node.validate(), errPolicy, errHNS, errCluster); err != nil {
		return err
	}
	in.KubeProxy = o.kubeProxy(ctx)
	report, err := scan.Judge(in)
	if err != nil {
		return fmt.Errorf("scanning node %s: %w", o.node.name, err)
	}
	if o.output == "" {
		err = report.Print(p.Out)
	} else {
		err = printAs(p, o.output, report)
	}
	if err == nil && report.Removable > 0 {
		return errFound
	}
	return err
}

// hns reads the recordings, or else this machine.
func (o scanOptions) hns(ctx context.Context, network string) (hnsdump.Dump, error) {
	if len(o.hnsDumps) > 0 {
		return readDumps(o.hnsDumps, hnsdump.Read, hnsdump.Merge)
	}
	service, err := hcnclient.New()
	if err != nil {
		return hnsdump.Dump{}, fmt.Errorf("%w\nTo look at a recorded node use --hns-dump", err)
	}
	return scan.RecordHNS(ctx, service, network)
}

// cluster reads the recordings, or else the API server.
func (o scanOptions) cluster(ctx context.Context, p Process) (clusterdump.Dump, error) {
	if len(o.clusterDumps) > 0 {
		return readDumps(o.clusterDumps, clusterdump.Read, clusterdump.Merge)
	}
	config, err := apiConfig(o.node.kubeconfig, p.Env)
	if err != nil {
		return clusterdump.Dump{}, fmt.Errorf("%w\nTo look at a recorded cluster use --cluster-dump", err)
	}
	scheme, err := agent.Scheme()
	if err != nil {
		return clusterdump.Dump{}, err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return clusterdump.Dump{}, fmt.Errorf("reaching the API server: %w", err)
	}
	return scan.RecordCluster(ctx, api, o.node.name)
}

// kubeProxy asks the kube-proxy of this machine if it is this machine that is looked at. Not to know is no error.
func (o scanOptions) kubeProxy(ctx context.Context) kubeproxy.Profile {
	version := o.node.kubeProxyVersion
	if version == "" && len(o.hnsDumps) == 0 {
		version, _ = detect.FromMetrics(ctx, o.node.kubeProxyMetricsURL)
	}
	return kubeproxy.ProfileOf(version)
}

// readDumps reads all files and puts them together; every file that cannot be read is reported.
func readDumps[T any](names []string, read func(string, []byte) (T, error), merge func(...T) (T, error)) (T, error) {
	var dumps []T
	var errs []error
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		dump, err := read(name, data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		dumps = append(dumps, dump)
	}
	if err := errors.Join(errs...); err != nil {
		var none T
		return none, err
	}
	return merge(dumps...)
}

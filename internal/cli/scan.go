// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/clusterdump"
	"github.com/hnsguard/hnsguard/internal/dumpfile"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/internal/hnsdump"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/scan"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// scanOptions are the flags of scan.
type scanOptions struct {
	inputOptions
	output              string
	ips, pods, verdicts []string
}

// inputOptions are the flags that say which node is judged, and by what.
type inputOptions struct {
	node                   nodeOptions
	hnsDumps, clusterDumps []string
}

func (o *inputOptions) addTo(cmd *cobra.Command) {
	o.node.addTo(cmd)
	cmd.Flags().StringArrayVar(&o.hnsDumps, "hns-dump", nil, "file with JSON recorded of HNS, or - for stdin; repeatable")
	cmd.Flags().StringArrayVar(&o.clusterDumps, "cluster-dump", nil,
		"file recorded with kubectl get, or - for stdin; repeatable")
	completeFiles(cmd, "hns-dump")
	completeFiles(cmd, "cluster-dump")
}

const scanHelp = `Judge every HNS endpoint of a node once, and print what hnsguard would do about it and why. Nothing is
changed.

Without --hns-dump the HNS of this machine is read, without --cluster-dump the API server. To scan a node from
elsewhere, record it in PowerShell:
  Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json
  Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json
  Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json    (only if the pod network is not found)
and the cluster:
  kubectl get nodes,pods,endpointslices,services -A -o json > cluster.json

HNS dumps may also be the V2 objects of hcn, and the files endpoint.txt, network.txt and policy.txt of collectlogs.ps1.
The text of hnsdiag, Format-List and Format-Table is refused: it leaves out what a verdict needs. Cluster dumps may be
YAML too. Files are UTF-8 or UTF-16, and at most 256 MiB large.

Exit status:
  0  every endpoint was judged, and none would be removed
  1  an error: a file that cannot be read, a node that does not exist or runs Linux, an API server that fails
  2  a command line that is wrong
  3  endpoints would be removed
  4  cannot judge: none would be removed, but at least one endpoint could not be judged, or none at all, because
     something was not recorded: endpoints, the cluster, the pod network or the version of kube-proxy
With a filter (--ip, --pod, --verdict) the status is about the endpoints that match.`

func newScan(p Process) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Print what hnsguard would do about every HNS endpoint of a node, and why",
		Long:  scanHelp,
		Example: "  hnsguard scan --node-name win-1 --hns-dump endpoints.json --hns-dump policies.json \\\n" +
			"    --cluster-dump cluster.json --kube-proxy-version v1.32.3\n" +
			"  kubectl get nodes,pods,endpointslices,services -A -o json | \\\n" +
			"    hnsguard scan --node-name win-1 --hns-dump endpoints.json --cluster-dump - --pod shop/cart-0",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), p.Env, nodeVariables()); err != nil {
				return err
			}
			return runScan(cmd.Context(), p, o)
		},
	}
	flags := cmd.Flags()
	o.addTo(cmd)
	flags.StringSliceVar(&o.ips, "ip", nil, "report only endpoints with this IP address; repeatable")
	flags.StringSliceVar(&o.pods, "pod", nil,
		"report only endpoints of this Pod, given as NAMESPACE/NAME; repeatable")
	flags.StringSliceVar(&o.verdicts, "verdict", nil, "report only endpoints with this verdict; repeatable")
	flags.StringVarP(&o.output, "output", "o", "", "print as json or yaml")
	completeNothing(cmd, "ip", "pod")
	completeValues(cmd, "verdict", verdictNames()...)
	completeOutput(cmd)
	return cmd
}

// verdictNames are the values of --verdict.
func verdictNames() []string {
	var names []string
	for _, kind := range scan.Verdicts() {
		names = append(names, string(kind))
	}
	return names
}

func runScan(ctx context.Context, p Process, o scanOptions) error {
	filter, err := o.validate()
	if err != nil {
		return usageError{err}
	}
	report, err := o.judge(ctx, p, filter)
	if err != nil {
		return err
	}
	if o.output == "" {
		err = report.Print(p.Out)
	} else {
		err = printAs(p, o.output, report)
	}
	switch {
	case err != nil:
		return err
	case report.Removable > 0:
		return errFound
	case report.Undecided > 0:
		return errUndecided
	default:
		return nil
	}
}

// judge reads the input and judges the node.
func (o inputOptions) judge(ctx context.Context, p Process, filter scan.Filter) (scan.Report, error) {
	policy, errPolicy := o.node.policy(p.Env)
	in := scan.Input{Node: o.node.name, Config: policy, Filter: filter, Now: time.Now()}
	var errHNS, errCluster error
	in.HNS, errHNS = o.hns(ctx, p, policy.Network)
	in.Cluster, errCluster = o.cluster(ctx, p, filter)
	if err := joinScan(errPolicy, errHNS, errCluster); err != nil {
		return scan.Report{}, err
	}
	in.KubeProxy = o.kubeProxy(ctx)
	report, err := scan.Judge(in)
	if err != nil {
		return scan.Report{}, joinScan(fmt.Errorf("scanning node %s: %w", o.node.name, err))
	}
	return report, nil
}

// joinScan joins errors. They are one of too little evidence only if nothing else went wrong.
func joinScan(errs ...error) error {
	err := errors.Join(errs...)
	usage := func(e error) bool { return e != nil && !errors.Is(e, scan.ErrCannotJudge) }
	if err == nil || slices.ContainsFunc(errs, usage) {
		return err
	}
	return undecidedError{err}
}

// validate reports all that is wrong with the flags.
func (o inputOptions) validate() error {
	errs := []error{o.node.validate()}
	dumps := slices.Concat(o.hnsDumps, o.clusterDumps)
	if len(slices.DeleteFunc(dumps, func(name string) bool { return name != dumpfile.Stdin })) > 1 {
		errs = append(errs, errors.New("--hns-dump and --cluster-dump: stdin (-) can be given once only"))
	}
	return errors.Join(errs...)
}

func validateOutput(format string) error {
	if !slices.Contains([]string{"", "json", "yaml"}, format) {
		return fmt.Errorf("--output %q: must be json or yaml", format)
	}
	return nil
}

// validate parses the flags and reports all that is wrong with them.
func (o scanOptions) validate() (scan.Filter, error) {
	var f scan.Filter
	errs := []error{o.inputOptions.validate(), validateOutput(o.output)}
	for _, text := range o.ips {
		addr, err := hns.ParseAddr(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--ip %q: must be an IP address", text))
		}
		f.Addresses = append(f.Addresses, addr)
	}
	for _, text := range o.pods {
		namespace, name, found := strings.Cut(text, "/")
		if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
			errs = append(errs, fmt.Errorf("--pod %q: must be NAMESPACE/NAME", text))
		}
		f.Pods = append(f.Pods, types.NamespacedName{Namespace: namespace, Name: name})
	}
	for _, text := range o.verdicts {
		if !slices.Contains(verdictNames(), text) {
			errs = append(errs, fmt.Errorf("--verdict %q: must be one of %s", text, strings.Join(verdictNames(), ", ")))
		}
		f.Verdicts = append(f.Verdicts, verdict.Kind(text))
	}
	return f, errors.Join(errs...)
}

// hns reads the dumps, or else this machine.
func (o inputOptions) hns(ctx context.Context, p Process, network string) (hnsdump.Dump, error) {
	if len(o.hnsDumps) > 0 {
		return readDumps(p, o.hnsDumps, hnsdump.Read, hnsdump.Merge)
	}
	service, err := hcnclient.New()
	if err != nil {
		return hnsdump.Dump{}, fmt.Errorf("%w\nTo scan a recorded node, pass --hns-dump", err)
	}
	return scan.ReadHNS(ctx, service, network)
}

// cluster reads the dumps, or else the API server.
func (o inputOptions) cluster(ctx context.Context, p Process, filter scan.Filter) (clusterdump.Dump, error) {
	if len(o.clusterDumps) > 0 {
		return readDumps(p, o.clusterDumps, clusterdump.Read, clusterdump.Merge)
	}
	config, err := apiConfig(o.node.kubeconfig, p.Env)
	if err != nil && o.node.kubeconfig == "" {
		err = fmt.Errorf("%w endpoints without the Pods and EndpointSlices of the cluster: %w", scan.ErrCannotJudge, err)
	}
	if err != nil {
		return clusterdump.Dump{}, fmt.Errorf("%w\nTo scan with a recorded cluster, pass --cluster-dump", err)
	}
	scheme, err := agent.Scheme()
	if err != nil {
		return clusterdump.Dump{}, err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return clusterdump.Dump{}, fmt.Errorf("reaching the API server: %w", err)
	}
	return scan.ReadCluster(ctx, api, o.node.name, filter.Pods)
}

// kubeProxy reads the version of this machine's kube-proxy, unless a recorded node is scanned. An unknown version is no
// error.
func (o inputOptions) kubeProxy(ctx context.Context) kubeproxy.Profile {
	version := o.node.kubeProxyVersion
	if version == "" && len(o.hnsDumps) == 0 {
		version, _ = detect.FromMetrics(ctx, o.node.kubeProxyMetricsURL)
	}
	return kubeproxy.ProfileOf(version)
}

// readDumps reads and merges files. It reports every file that cannot be read.
func readDumps[T any](
	p Process, names []string, read func(string, []byte) (T, error), merge func(...T) (T, error),
) (T, error) {
	var dumps []T
	var errs []error
	for _, name := range names {
		dump, err := readDump(p, name, read)
		dumps, errs = append(dumps, dump), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		var none T
		return none, err
	}
	return merge(dumps...)
}

func readDump[T any](p Process, name string, read func(string, []byte) (T, error)) (T, error) {
	data, err := dumpfile.Load(name, p.In, dumpfile.MaxSize)
	if err != nil {
		var none T
		return none, err
	}
	if name == dumpfile.Stdin {
		name = "stdin"
	}
	return read(name, data)
}

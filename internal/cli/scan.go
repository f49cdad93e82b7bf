// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// scanOptions are the flags of scan.
type scanOptions struct {
	inputOptions
	output              format
	ips, pods, verdicts []string
}

// inputOptions are the flags that select the node to judge, and its recordings.
type inputOptions struct {
	node                   nodeOptions
	hnsDumps, clusterDumps []string
	// recording is a folder or a zip file, and collected its contents.
	recording string
	collected recording.Collected
	bundle    string
	// hnsRecorded and clusterRecorded are the times of the dumps.
	hnsRecorded, clusterRecorded string
}

func (o *inputOptions) addTo(cmd *cobra.Command) {
	o.node.addTo(cmd)
	cmd.Flags().Lookup("node-name").Usage = "name of the Windows node; required, unless $NODE_NAME or --bundle has it"
	cmd.Flags().StringArrayVar(&o.hnsDumps, "hns-dump", nil, "file with JSON recorded of HNS, or - for stdin; repeatable")
	cmd.Flags().StringArrayVar(&o.clusterDumps, "cluster-dump", nil,
		"file recorded with kubectl get, or - for stdin; repeatable")
	cmd.Flags().StringVar(&o.recording, "recording", "",
		"folder or zip file of a collector, such as collectlogs.ps1, or of your own: what it has of HNS and of the cluster "+
			"is read")
	cmd.Flags().StringVar(&o.hnsRecorded, "hns-recorded", "",
		"when the HNS dumps were recorded, such as 2026-03-01T03:00:00Z (default: when the cluster dumps were)")
	cmd.Flags().StringVar(&o.clusterRecorded, "cluster-recorded", "",
		"when the cluster dumps were recorded (default: the last sign of life of a recorded Node, or now)")
	cmd.Flags().StringVar(&o.bundle, "bundle", "",
		"file recorded with 'hnsguard bundle', or - for stdin; it has the node's name, configuration and version of "+
			"kube-proxy too")
}

const scanHelp = `Judge every HNS endpoint of a node once, and print what hnsguard would do about
it and why, and which running pods on the node have no endpoint and so no
network. Nothing is changed.

Without --hns-dump the HNS of this machine is read, without --cluster-dump the
API server. To scan a node from elsewhere, name it with --node: the command
runs in its agent's pod. Or record it with 'hnsguard bundle' and pass --bundle.
Without hnsguard on the node, record it in PowerShell:
  Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json
  Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json
  Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json
and the cluster:
  kubectl get nodes,pods,endpointslices,services -A -o json > cluster.json

Or pass --recording with the folder or zip file of a collector
(collectlogs.ps1, collect-windows-logs.ps1 of AKS, the log collectors of EKS
and Rancher). Of it, endpoint.txt, policy.txt, network.txt and what kubectl has
printed are read. The collectors record no Pods and EndpointSlices: pass these
with --cluster-dump, or let the API server be read.

HNS dumps may also be the V2 objects of hcn. Text around the JSON is skipped,
such as prompts, warnings and the header of a transcript, and lines that a
console has wrapped are joined. The text of hnsdiag, Format-List and
Format-Table is refused: it leaves out what a verdict needs. Cluster dumps may
be YAML too. Files are UTF-8 or UTF-16, and at most 256 MiB large.

Exit status:
  0  every endpoint was judged, none would be removed, and nothing else needs
     attention
  1  an error: a file that cannot be read, a node that does not exist or runs
     Linux, an API server that fails; or nothing wrong was found, but at least
     one endpoint or pod could not be judged, because something was not
     recorded
  2  a wrong command line
  3  something is wrong: endpoints that would be removed, pods without network
     or ending for too long, endpoints that are contested, held, leaked or left
     behind, or an address that several local endpoints have
With a filter (--ip, --pod, --verdict) the status is about the endpoints and
pods that match. A pod without network matches no --verdict.`

func newScan(p Process) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Print what hnsguard would do about every endpoint, and why",
		Long:  scanHelp,
		Example: "  kubectl hnsguard scan --node win-1\n" +
			"  hnsguard scan --node-name win-1 --hns-dump endpoints.json \\\n" +
			"    --hns-dump policies.json --cluster-dump cluster.json \\\n" +
			"    --kube-proxy-version v1.32.3\n" +
			"  kubectl get nodes,pods,endpointslices,services -A -o json | \\\n" +
			"    hnsguard scan --node-name win-1 --hns-dump endpoints.json \\\n" +
			"    --cluster-dump - --pod shop/cart-0\n" +
			"  hnsguard scan --bundle bundle.zip\n" +
			"  hnsguard scan --node-name win-1 --recording win-1-20261129_logs.zip \\\n" +
			"    --cluster-dump cluster.json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runScan(cmd.Context(), p, o)
		},
	}
	flags := cmd.Flags()
	o.addTo(cmd)
	flags.StringSliceVar(&o.ips, "ip", nil, "report only endpoints with this IP address; repeatable")
	flags.StringSliceVar(&o.pods, "pod", nil,
		"report only endpoints of this Pod, given as NAMESPACE/NAME; repeatable")
	flags.StringSliceVar(&o.verdicts, "verdict", nil, "report only endpoints with this verdict; repeatable")
	o.output.addTo(cmd)
	addRemote(cmd, p, noPod)
	return cmd
}

func runScan(ctx context.Context, p Process, o scanOptions) error {
	filter, err := o.validate()
	if err != nil {
		return usageError{err}
	}
	found, _, err := o.judge(ctx, p, filter, "scanning endpoints")
	if err != nil {
		return err
	}
	if err := o.output.show(p.Out, found); err != nil {
		return err
	}
	if found.Wrong() || found.Judged() {
		return findingIf(found.Wrong())
	}
	return result(ExitError)
}

// past is what the agent has decided and done, or why this is unknown.
type past struct {
	entries []history.Entry
	err     error
	// proxyLogs are recorded logs of kube-proxy.
	proxyLogs []recording.File
}

// judge reads the input and judges the node. It also returns the agent's past, as far as the input has it. doing
// describes the operation in errors.
func (o inputOptions) judge(ctx context.Context, p Process, filter report.Filter, doing string) (
	report.Report, past, error,
) {
	err := o.collect()
	if err != nil {
		return report.Report{}, past{}, err
	}
	in, done, err := o.input(ctx, p, filter)
	if err != nil {
		return report.Report{}, past{}, err
	}
	found, err := report.Judge(in)
	if err != nil {
		return report.Report{}, past{}, fmt.Errorf("%s on node %s: %w", doing, in.Node, err)
	}
	if o.collected.Note != "" {
		found.Notes = append(found.Notes, o.collected.Note)
	}
	done.proxyLogs = append(done.proxyLogs, o.collected.ProxyLogs...)
	return found, done, nil
}

// collect opens the recording, if given. Only a recording with a bundle has the node's name.
func (o *inputOptions) collect() (err error) {
	if o.recording == "" {
		return nil
	}
	if o.collected, err = recording.Collect(o.recording); err != nil || o.collected.Bundle != nil {
		return err
	}
	if err := o.node.validateName(); err != nil {
		return usageError{err}
	}
	return nil
}

// elsewhere reports whether the node to judge is not this machine.
func (o inputOptions) elsewhere() bool {
	return o.bundle != "" || o.recording != "" || len(o.hnsDumps) > 0
}

// input reads a bundle, or else dumps or the live node.
func (o inputOptions) input(ctx context.Context, p Process, filter report.Filter) (report.Input, past, error) {
	if o.bundle != "" || o.collected.Bundle != nil {
		return o.bundled(p, filter)
	}
	policy, errPolicy := o.node.policy(p.Env)
	in := report.Input{Node: o.node.name, Config: policy, Filter: filter, Now: time.Now()}
	var errHNS, errCluster error
	in.HNS, errHNS = o.hns(ctx, p)
	in.Cluster, errCluster = o.cluster(ctx, p, filter)
	if err := errors.Join(errPolicy, errHNS, errCluster); err != nil {
		return report.Input{}, past{}, err
	}
	in.KubeProxy = o.kubeProxy(ctx, in.Cluster.Pods)
	if recorded := in.Cluster.Recorded; !recorded.IsZero() {
		in.Now = recorded
	}
	if o.clusterRecorded != "" {
		in.Now, _ = time.Parse(time.RFC3339, o.clusterRecorded) // validated before
	}
	in.HNSRecorded, _ = time.Parse(time.RFC3339, o.hnsRecorded)
	return in, past{}, nil
}

// bundled reads a bundle. Flags override its values.
func (o inputOptions) bundled(p Process, filter report.Filter) (report.Input, past, error) {
	file := o.collected.Bundle
	if file == nil {
		loaded, err := recording.Load(o.bundle, p.In)
		if err != nil {
			return report.Input{}, past{}, err
		}
		file = &loaded
	}
	b, err := recording.ReadBundle(*file)
	if err != nil {
		return report.Input{}, past{}, err
	}
	if err := b.Missing(); err != nil {
		return report.Input{}, past{}, fmt.Errorf("%w node %s: %w", report.ErrCannotJudge, b.Manifest.Node, err)
	}
	policy, err := o.node.policyOver(b.Config, p.Env)
	done := pastOf(b.Status, b.StatusErr)
	done.proxyLogs = b.ProxyLog
	return report.Input{
		Node: cmp.Or(o.node.name, b.Manifest.Node), Config: policy, Filter: filter, Now: b.Manifest.Recorded,
		KubeProxy: kubeproxy.ProfileOf(cmp.Or(o.node.kubeProxyVersion, b.Manifest.KubeProxyVersion)),
		HNS:       b.HNS, Cluster: b.Cluster,
	}, done, err
}

// pastOf returns the agent's past according to its report.
func pastOf(status []byte, err error) past {
	if err != nil {
		return past{err: err}
	}
	said, err := report.Parse(status)
	return past{entries: said.History, err: err}
}

// validate reports all faults of the flags.
func (o inputOptions) validate() error {
	errs := []error{o.node.validateFlags()}
	dumps := slices.Concat(o.hnsDumps, o.clusterDumps)
	switch {
	case o.bundle != "" && (o.recording != "" || len(dumps) > 0):
		errs = append(errs, errors.New("--bundle: cannot be combined with --recording, --hns-dump and --cluster-dump"))
	case o.bundle == "" && o.recording == "":
		errs = append(errs, o.node.validateName())
	}
	for _, f := range []struct {
		name, text string
		dumps      []string
	}{{"--hns-recorded", o.hnsRecorded, o.hnsDumps}, {"--cluster-recorded", o.clusterRecorded, o.clusterDumps}} {
		given := len(f.dumps) > 0 || o.recording != ""
		if _, err := time.Parse(time.RFC3339, f.text); f.text != "" && (err != nil || !given) {
			errs = append(errs, fmt.Errorf("%s %q: must be a time such as 2026-03-01T03:00:00Z, of dumps that are given",
				f.name, f.text))
		}
	}
	if len(slices.DeleteFunc(dumps, func(name string) bool { return name != recording.Stdin })) > 1 {
		errs = append(errs, errors.New("--hns-dump and --cluster-dump: stdin (-) can be given once only"))
	}
	return errors.Join(errs...)
}

// validate parses the flags and reports all their faults.
func (o scanOptions) validate() (report.Filter, error) {
	var f report.Filter
	errs := []error{o.inputOptions.validate(), o.output.validate()}
	for _, text := range o.ips {
		addr, err := hns.ParseAddr(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--ip %q: must be an IP address", text))
		}
		f.Addresses = append(f.Addresses, addr)
	}
	for _, text := range o.pods {
		pod, err := report.ParsePod(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--pod %w", err))
		}
		f.Pods = append(f.Pods, pod)
	}
	for _, text := range o.verdicts {
		kind := verdict.Kind(text)
		if !slices.Contains(report.Verdicts(), kind) {
			errs = append(errs, fmt.Errorf("--verdict %q: must be one of %v", text, report.Verdicts()))
		}
		f.Verdicts = append(f.Verdicts, kind)
	}
	return f, errors.Join(errs...)
}

// hns reads the dumps, or else this machine.
func (o inputOptions) hns(ctx context.Context, p Process) (recording.HNS, error) {
	if len(o.hnsDumps)+len(o.collected.HNS) > 0 {
		return readDumps(p, o.hnsDumps, o.collected.HNS, recording.ReadHNS)
	}
	if o.recording != "" {
		return recording.HNS{}, fmt.Errorf("%w %s: it has no HNS (%s)\nPass that with --hns-dump",
			report.ErrCannotJudge, o.recording, o.collected.Note)
	}
	service, err := p.HNS()
	if err != nil {
		return recording.HNS{}, fmt.Errorf("%w\nTo scan a recorded node, pass --hns-dump", err)
	}
	return report.ReadHNS(ctx, service)
}

// cluster reads the dumps, or else the API server.
func (o inputOptions) cluster(ctx context.Context, p Process, filter report.Filter) (recording.Cluster, error) {
	if len(o.clusterDumps)+len(o.collected.Cluster) > 0 {
		return readDumps(p, o.clusterDumps, o.collected.Cluster, recording.ReadCluster)
	}
	config, err := personConfig(o.node.kubeconfig, "", p.Env)
	if err != nil && o.node.kubeconfig == "" {
		err = fmt.Errorf("%w endpoints without the Pods and EndpointSlices of the cluster: %w", report.ErrCannotJudge, err)
	}
	if err != nil {
		return recording.Cluster{}, fmt.Errorf("%w\nTo scan with a recorded cluster, pass --cluster-dump", err)
	}
	api, err := readerOf(config)
	if err != nil {
		return recording.Cluster{}, err
	}
	return report.ReadCluster(ctx, api, o.node.name, filter.Pods)
}

// kubeProxy finds the version of the node's kube-proxy: from the metrics on this machine, or from its pod. An unknown
// version is not an error.
func (o inputOptions) kubeProxy(ctx context.Context, pods []*corev1.Pod) kubeproxy.Profile {
	version, url := o.node.kubeProxyVersion, o.node.kubeProxyMetricsURL
	if o.elsewhere() {
		url = "" // this machine's kube-proxy is another one
	}
	if version == "" {
		version = detect.Version(ctx, url, pods, o.node.name)
	}
	return kubeproxy.ProfileOf(version)
}

// readDumps reads the named files and the others. It reports every file that cannot be loaded.
func readDumps[T any](
	p Process, names []string, files []recording.File, read func(...recording.File) (T, error),
) (dump T, err error) {
	var errs []error
	for _, name := range names {
		file, err := recording.Load(name, p.In)
		files, errs = append(files, file), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return dump, err
	}
	return read(files...)
}

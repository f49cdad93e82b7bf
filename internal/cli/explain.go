// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	inputOptions
	output    format
	page      string
	proxyLogs []string
}

const explainHelp = `Explain what HNS and the cluster say of an IP address (of a pod or a Service),
an HNS endpoint, a pod or a Service: the verdict and the rule that decided,
what happens next, what you can do, and what the agent has recently done about
it. Nothing is changed.

With --node it is explained on that node, in its agent's pod. A pod that is
named without a node is explained on its own. Otherwise the node is read, or
its recordings are, as for scan: see 'hnsguard scan --help'. What the agent has
done is in a bundle; on a node, the agent shows it. What kube-proxy has done to
endpoints and load balancers, its log at -v=4 says: pass it with
--kube-proxy-log. A recording or a bundle may have it too.

Exit status:
  0  it was explained
  1  an error: a file that cannot be read, a node that does not exist or runs
     Linux, an API server that fails; or an endpoint or pod that cannot be
     judged, because something was not recorded
  2  a wrong command line`

func newExplain(p Process) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain IP|ENDPOINT-ID|NAMESPACE/NAME",
		Short: "Explain an address, an endpoint, a pod or a Service",
		Long:  explainHelp,
		Example: "  hnsguard explain shop/cart-0 --node-name win-1 --hns-dump endpoints.json \\\n" +
			"    --hns-dump policies.json --cluster-dump cluster.json \\\n" +
			"    --kube-proxy-version v1.32.3\n" +
			"  hnsguard explain 10.240.0.11 --bundle bundle.zip \\\n" +
			"    --kube-proxy-log kube-proxy.log\n" +
			"  kubectl hnsguard explain shop/cart-0\n" +
			"  kubectl hnsguard explain 10.240.0.11 --node win-1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("give one IP address, endpoint ID, or pod or Service as NAMESPACE/NAME")}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExplain(cmd.Context(), p, o, args[0])
		},
	}
	o.addTo(cmd)
	o.output.addTo(cmd)
	addPage(cmd, &o.page)
	addProxyLog(cmd, &o.proxyLogs)
	addRemote(cmd, p, o.podOf)
	return cmd
}

// podOf returns the pod to explain if neither a node nor a recording is given.
func (o *explainOptions) podOf(args []string) (types.NamespacedName, bool) {
	target, err := report.ParseTarget(args[0])
	if err != nil || len(target.Pods) == 0 || o.node.name != "" || o.elsewhere() || len(o.clusterDumps) > 0 {
		return types.NamespacedName{}, false
	}
	return target.Pods[0], true
}

func runExplain(ctx context.Context, p Process, o explainOptions, text string) error {
	target, err := report.ParseTarget(text)
	err = errors.Join(err, o.validate(), o.output.validate(), checkAddress("--page-bind-address", o.page))
	if err != nil {
		return usageError{err}
	}
	found, past, err := o.judge(ctx, p, target, "explaining "+text)
	if err != nil {
		return err
	}
	if !o.elsewhere() { // this node
		past = pastOf(askAgent(ctx, o.page, server.StatusPath))
	}
	if err := o.addKubeProxy(p, &past, &found); err != nil {
		return err
	}
	if past.err != nil {
		found.Notes = append(found.Notes, "what the agent has done is not known: "+past.err.Error())
	}
	found = found.Explain(target, past.entries)
	if err := o.output.show(p.Out, found); err != nil {
		return err
	}
	if !found.Judged() {
		return result(ExitError)
	}
	return nil
}

func addProxyLog(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVar(files, "kube-proxy-log", nil,
		"file with the log of this node's kube-proxy at -v=4, or - for stdin; repeatable")
}

// addKubeProxy adds the acts of kube-proxy from its logs. Only the logs that the user names must have something about
// HNS.
func (o explainOptions) addKubeProxy(p Process, done *past, found *report.Report) error {
	add := func(file recording.File) error {
		log, err := recording.ReadProxyLog(file, found.Time)
		if err == nil {
			done.entries = append(done.entries, log.Entries...)
			found.Notes = append(found.Notes, log.Note())
		}
		return err
	}
	for _, name := range o.proxyLogs {
		file, err := recording.Load(name, p.In)
		if err != nil {
			return err
		}
		if err := add(file); err != nil {
			return err
		}
	}
	for _, file := range done.proxyLogs {
		_ = add(file) // a recorded log may have nothing about HNS
	}
	slices.SortStableFunc(done.entries, func(a, b history.Entry) int { return b.Last.Compare(a.Last) })
	return nil
}

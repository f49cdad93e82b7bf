// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/report"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	inputOptions
	output format
	page   string
}

const explainHelp = `Explain what HNS and the cluster say of an IP address, an HNS endpoint or a pod: the verdict
and the rule that decided, what happens next, what you can do, and what the agent has recently done about it. Nothing is
changed.

The node is read, or its recordings are, as for scan: see 'hnsguard scan --help'. What the agent has done is in a
bundle; on a node, the agent shows it.

Exit status:
  0  it was explained
  1  an error: a file that cannot be read, a node that does not exist or runs Linux, an API server that fails; or an
     endpoint that cannot be judged, because something was not recorded
  2  a wrong command line`

func newExplain(p Process) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain IP|ENDPOINT-ID|NAMESPACE/POD",
		Short: "Explain what is known of an address, an HNS endpoint or a pod, and what to do",
		Long:  explainHelp,
		Example: "  hnsguard explain shop/cart-0 --node-name win-1 --hns-dump endpoints.json --hns-dump policies.json \\\n" +
			"    --cluster-dump cluster.json --kube-proxy-version v1.32.3\n" +
			"  kubectl -n hnsguard-system exec POD -- hnsguard.exe explain 10.240.0.11",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("give one IP address, endpoint ID, or pod as NAMESPACE/NAME")}
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
	return cmd
}

func runExplain(ctx context.Context, p Process, o explainOptions, text string) error {
	target, err := report.ParseTarget(text)
	err = errors.Join(err, o.validate(), o.output.validate(), checkAddress("--page-bind-address", o.page))
	if err != nil {
		return usageError{err}
	}
	found, done, err := o.judge(ctx, p, target, "explaining "+text)
	if err != nil {
		return err
	}
	if o.live() {
		done = o.remembered(ctx)
	}
	if done.err != nil {
		found.Notes = append(found.Notes, "what the agent has done is not known: "+done.err.Error())
	}
	e := found.Explain(target, done.entries)
	if err := o.output.show(p.Out, e); err != nil {
		return err
	}
	unknown := func(e report.Row) bool { return e.Verdict == string(report.KindUnknown) }
	if slices.ContainsFunc(e.Endpoints, unknown) {
		return result(ExitError)
	}
	return nil
}

// live reports whether this node is explained, and not one that was recorded.
func (o explainOptions) live() bool { return o.bundle == "" && len(o.hnsDumps) == 0 }

// askFor is how long the agent may take to answer.
const askFor = 5 * time.Second

// remembered reads the history of the agent on this node.
func (o explainOptions) remembered(ctx context.Context) past {
	return remembered(askAgent(ctx, o.page, askFor))
}

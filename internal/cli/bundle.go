// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/internal/terminal"
)

// bundleOptions are the flags of bundle.
type bundleOptions struct {
	examineOptions
	file, page string
	proxyLog   string
}

const bundleHelp = `Record this node in one zip file, to be judged elsewhere with 'hnsguard scan
--bundle FILE' and 'hnsguard explain TARGET --bundle FILE': HNS, the pods on
the node, EndpointSlices and Services, the verdicts, the checks of doctor, the
configuration, and the agent's own status and metrics. Nothing is changed.

No secret is recorded. Of pods, Services and EndpointSlices it has names,
addresses, ports and states, and nothing of environment variables, commands,
volumes, annotations and labels. Names of pods, images and nodes, and addresses
are in it.

What cannot be recorded is left out, and manifest.json in the file says why.

Run it with --node, or in the agent's pod, whose environment has the agent's
settings. Windows PowerShell destroys files that are written with >: redirect
in cmd instead, or on Linux or macOS.

Exit status:
  0  the file is written, whatever could be recorded
  1  an error: the file cannot be written
  2  a wrong command line`

func newBundle(p Process) *cobra.Command {
	var o bundleOptions
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Record this node in one zip file, to be judged elsewhere",
		Long:  bundleHelp,
		Example: "  kubectl hnsguard bundle --node win-1 --file bundle.zip\n" +
			"  hnsguard scan --bundle bundle.zip",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBundle(cmd.Context(), p, o)
		},
	}
	o.addTo(cmd)
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file to write, or - for stdout; required")
	addPage(cmd, &o.page)
	cmd.Flags().StringVar(&o.proxyLog, "kube-proxy-log", "",
		"file with the log of this node's kube-proxy at -v=4: its lines about HNS are recorded")
	addRemote(cmd, p, noPod)
	return cmd
}

func addPage(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "page-bind-address", server.PageAddress,
		`where the agent serves its page; "0" for nowhere`)
}

func (o *bundleOptions) validate(out io.Writer) error {
	return errors.Join(o.examineOptions.validate(), checkAddress("--page-bind-address", o.page), checkFile(o.file, out))
}

func checkFile(name string, out io.Writer) error {
	switch {
	case name == "":
		return usageError{errors.New("--file is required: the file to write, or - for stdout")}
	case name == recording.Stdin && terminal.Is(out):
		return usageError{errors.New("--file -: stdout is a terminal, and the file is not text; redirect it")}
	default:
		return nil
	}
}

func runBundle(ctx context.Context, p Process, o bundleOptions) error {
	node, err := o.options(p)
	if err := errors.Join(o.validate(p.Out), err); err != nil {
		return err
	}
	this := recorded{node: node, page: o.page, proxyLog: o.proxyLog}
	if node.APIErr == nil {
		this.reader, this.node.APIErr = readerOf(node.API)
	}
	var bundle recording.Bundle
	err = toFile(p, o.file, func(out io.Writer) (err error) {
		bundle, err = this.write(ctx, out)
		return err
	})
	if err != nil {
		return err
	}
	reportMissing(p.Err, bundle)
	return reportFile(p, node.Node, o.file)
}

// reportFile prints the node that the file has.
func reportFile(p Process, node, file string) error {
	if file == recording.Stdin {
		return nil
	}
	_, err := fmt.Fprintf(p.Out, "Recorded node %s in %s.\n", node, file)
	return err
}

// reportMissing prints which parts a bundle lacks, and whether the node can be judged without them.
func reportMissing(w io.Writer, b recording.Bundle) {
	failed := b.Manifest.Failed()
	if len(failed) == 0 {
		return
	}
	page, unjudged := terminal.NewPage(w), ""
	for _, f := range failed {
		why := strings.ReplaceAll(f.Error, "\n", "; ")
		page.Paragraph(page.Paint(terminal.Yellow, "Not recorded: "), f.Name+" ("+why+")")
	}
	if b.Missing() != nil {
		unjudged = ", and without them the node cannot be judged"
	}
	page.Printf("%d of %d parts are missing%s.\n", len(failed), len(b.Manifest.Files), unjudged)
	_ = page.Flush() // the bundle is written; a failure cannot be reported anywhere else
}

// unescaped returns the underlying writer, for output that is not text.
func unescaped(w io.Writer) io.Writer {
	if text, is := w.(*terminal.Writer); is {
		return text.Unescaped()
	}
	return w
}

// toFile writes to a file, or to stdout. It removes a file that was not written completely.
func toFile(p Process, name string, write func(io.Writer) error) error {
	if name == recording.Stdin {
		return write(unescaped(p.Out))
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	if err = errors.Join(write(file), file.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/test/world"
)

// print prints a label and a text, which is wrapped beside the label.
func (o Options) print(label, text string) {
	page := terminal.NewPage(o.Out)
	if strings.Contains(text, "DELETED") { // the fault that the demo is about
		label = page.Paint(terminal.Red, label)
	}
	page.Paragraph(label, text)
	_ = page.Flush() // a failure cannot be reported anywhere else
}

// introduce prints where the agent can be observed while it runs.
func (o Options) introduce() {
	long := " (use --stay to keep it)"
	if o.Stay {
		long = ""
	}
	o.print("", "HNS and the API server are simulated in this process; nothing else is touched.")
	if o.Observe {
		o.print("", "hnsguard only observes: this is what happens without it.")
	}
	if o.MetricsAddress != nowhere {
		o.print("", "Metrics are at http://"+o.MetricsAddress+"/metrics"+long)
	}
	if o.PageAddress != nowhere {
		o.print("", "The node page is at http://"+o.PageAddress+"/"+long)
	}
	_, _ = fmt.Fprintln(o.Out)
}

// say prints a line of the timeline. It shortens an Event to its first sentence.
func (o Options) say(at time.Duration, actor world.Actor, text string) {
	if actor == world.ActorHistory {
		actor = "cluster"
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, windowsNode+": "), string(actor)+": ")
	if first, _, more := strings.Cut(text, ". "); more && strings.HasPrefix(text, "Event ") {
		text = first + ". …"
	}
	o.print(fmt.Sprintf("%5.1fs  %-16s  ", at.Seconds(), actor), shortened(text))
}

// guid matches an ID, and captures its first part.
var guid = regexp.MustCompile("([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

// shortened returns a text with every ID shortened to its first part.
func shortened(text string) string { return guid.ReplaceAllString(text, "$1") }

// logger returns a logger that writes the guard's log to the timeline. With --verdicts it includes every decision.
func (s *stage) logger() logr.Logger {
	options := funcr.Options{RenderBuiltinsHook: shown, RenderValuesHook: shown, RenderArgsHook: shown}
	if s.Verdicts {
		options.Verbosity = 1
	}
	return funcr.New(func(name, entry string) {
		if name != "guard" {
			return // the rest of the agent logs starting and stopping
		}
		message, about, _ := strings.Cut(strings.TrimPrefix(entry, `"msg"="`), `"`)
		if about = strings.ReplaceAll(strings.TrimSpace(about), `"`, ""); about != "" {
			message += " (" + about + ")"
		}
		s.world.Say(world.ActorAgent, message)
	}, options)
}

// shown returns the values of a log entry that users need.
func shown(values []any) []any {
	var kept []any
	for i := 0; i+1 < len(values); i += 2 {
		switch values[i] {
		case "msg", "error", "endpointID", "ip", "verdict", "reason":
			kept = append(kept, values[i], values[i+1])
		}
	}
	return kept
}

// summary prints what HNS has in the end, and judges it (invariants 1 and 2).
func (s *stage) summary(sc scenario, a *agent.Agent) error {
	page := terminal.NewPage(s.Out)
	page.Printf("\nWhat HNS holds at the end:\n")
	var rows []terminal.Row
	for _, e := range s.node().HNS.State().Endpoints {
		kind := "local"
		if e.Remote() {
			kind = "remote"
		}
		rows = append(rows, terminal.Row{
			Cells: []string{shortened(string(e.ID)), e.Addresses[0].String(), kind, s.podOf(e)},
		})
	}
	page.Table([]string{"ENDPOINT", "IP", "KIND", "POD"}, rows)
	if err := page.Flush(); err != nil {
		return fmt.Errorf("printing what HNS holds: %w", err)
	}
	if err := s.printCounts(a.Metrics()); err != nil {
		return err
	}
	faults := strings.Join(s.faults(), "; ")
	if faults != "" && !s.Observe {
		return fmt.Errorf("%w: %s", ErrGuardFailed, faults)
	}
	if faults == "" {
		page.Heading(terminal.Green, "Result: as it should be. "+sc.outcome)
	} else {
		page.Heading(terminal.Red, "Result without hnsguard: "+faults+". "+sc.loss)
		page.Printf("Play it without --observe to see what hnsguard does.\n")
	}
	page.Printf("\n")
	return page.Flush()
}

// podOf returns the name of the pod that an endpoint is for.
func (s *stage) podOf(e hns.Endpoint) string {
	for name, p := range s.world.Pods {
		if e.Has(p.Addr) && e.Remote() == (p.Node != windowsNode) && p.Holds {
			return name
		}
	}
	return ""
}

// printCounts prints the non-zero series of some metrics in Prometheus notation.
func (s *stage) printCounts(from prometheus.Gatherer) error {
	names := []string{"hnsguard_removals_total", "hnsguard_flushes_total", "hnsguard_endpoints"}
	_, _ = fmt.Fprintln(s.Out, "What hnsguard counted:")
	families, err := from.Gather()
	if err != nil {
		return fmt.Errorf("gathering metrics: %w", err)
	}
	for _, family := range families {
		if !slices.Contains(names, family.GetName()) {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if value := m.GetCounter().GetValue() + m.GetGauge().GetValue(); value != 0 {
				_, _ = fmt.Fprintf(s.Out, "  %s{%s} %g\n", family.GetName(), strings.Join(labels, ","), value)
			}
		}
	}
	return nil
}

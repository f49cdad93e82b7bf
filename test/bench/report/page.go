// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var text string

// page renders the page. A missing value is an error.
func (r results) page() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		// of returns a value of the benchmarks, scale one of the scale test, memory one of the memory test.
		"of":     func(name, unit string) (float64, error) { return r.value("", name, unit) },
		"scale":  func(name, unit string) (float64, error) { return r.value("scale", name, unit) },
		"memory": func(name, unit string) (float64, error) { return r.value("memory", name, unit) },
		"mib":    func(v float64) string { return show(v/(1<<20)) + " MiB" },
		"waves":  waves,
		"wave":   r.wave,
		"leaks":  leaks,
		"runs":   r.runs,
		"show":   show,
		"factor": func(a, b float64) string { return show(a/b) + "×" },
		"times":  func(a, b float64) float64 { return a * b },
		"divide": func(a, b float64) float64 { return a / b },
		"list":   func(all ...string) []string { return all },
		"rows":   clients,
		"ages":   ages,
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	out := &bytes.Buffer{}
	if err := t.Execute(out, nil); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// row is a row of a table: its subject, and the name of its benchmark or unit.
type row struct{ What, Name string }

// run is the origin of a set of values.
type run struct {
	What, Command               string
	Revision, System, Processor string
	Date                        string
}

func (r results) runs() []run {
	var all []run
	for _, known := range []struct{ set, what, command string }{
		{"", "the parts of the agent", "make bench"},
		{"scale", "the agent at a real API server", "make test-scale"},
		{"memory", "hnsguard.exe and kube-proxy.exe", "make test-memory"},
	} {
		about := r.about[known.set]
		all = append(all, run{
			What: known.what, Command: known.command, Revision: about["revision"], Date: about["when"],
			Processor: about["cpu"], System: about["go"] + ", " + about["goos"] + "/" + about["goarch"],
		})
	}
	return all
}

// ages returns the periods of an agent's life in which calls to HNS are counted.
func ages() []row {
	return []row{
		{"up to 10 minutes", "10m"},
		{"up to an hour", "1h"},
		{"up to a day", "1d"},
		{"up to a week", "7d"},
		{"the second week", "14d"},
	}
}

// fleet is the number of nodes in the waves.
const fleet = 5000

// wave is a number for all nodes: that of a benchmark, times a factor.
type wave struct {
	Wave, What string
	name, unit string
	factor     float64
}

func waves() []wave {
	const start, restart, all = "waves/wave=start/client=%s", "waves/wave=restart/client=%s", "/clients=5000"
	const steady = "waves/wave=steady/client=%s" + all
	return []wave{
		{"all start at once", "requests", start, "requests/client", fleet},
		{"", "received, GB", start, "wire-B/client", fleet / 1e9},
		{"the API server is back after a crash", "requests", restart, "requests/client", fleet},
		{"", "requests in the busiest second", restart + all, "most-requests/s", 1},
		{"", "requests in the busiest minute", restart + all, "most-requests/min", 1},
		{"", "refused attempts meanwhile", restart, "refused/client", fleet},
		{"nothing but changes of slices", "requests per minute", steady, "requests/min", 1},
		{"", "requests in the busiest second", steady, "most-requests/s", 1},
		{"", "received for each change of a slice of 100, MB", steady, "wire-B/change", fleet / 1e6},
	}
}

// leaks returns the rows of the wave of a batch leak.
func leaks() []row {
	return []row{{"a tenth of the nodes", "500"}, {"all nodes", "5000"}}
}

// wave returns a number about a kind of client.
func (r results) wave(w wave, client string) (float64, error) {
	v, err := r.value("scale", "Scale/"+fmt.Sprintf(w.name, client), w.unit)
	return v * w.factor, err
}

// clients returns the clients of the scale test.
func clients() []row {
	return []row{
		{"informer, JSON, list", "Scale/way=informer/encoding=json/list=list"},
		{"informer, JSON, streamed list", "Scale/way=informer/encoding=json/list=stream"},
		{"informer, protobuf, streamed list", "Scale/way=informer/encoding=protobuf/list=stream"},
		{"the whole agent", "Scale/way=hnsguard"},
	}
}

// show rounds to at most three digits, and separates thousands.
func show(v float64) string {
	if v != 0 && math.Abs(v) < 100 {
		digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
		if s := strconv.FormatFloat(v, 'f', min(digits, 4), 64); strings.Contains(s, ".") {
			return strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
	}
	s := fmt.Sprintf("%.0f", v)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// results has the values of all benchmarks, by set, name and unit.
type results struct {
	values map[key][]float64
	// about has the properties in the file of each set, such as the processor.
	about map[string]map[string]string
}

type key struct{ set, name, unit string }

// procs matches the suffix that the testing package appends to a name.
var procs = regexp.MustCompile(`-\d+$`)

func (r results) read(set, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r.about[set] = map[string]string{}
	reader := benchfmt.NewReader(file, path)
	for reader.Scan() {
		result, is := reader.Result().(*benchfmt.Result)
		if !is {
			continue
		}
		name := procs.ReplaceAllString(string(result.Name), "")
		for _, v := range result.Values {
			k := key{set, name, v.Unit}
			r.values[k] = append(r.values[k], v.Value)
		}
		for _, c := range result.Config {
			r.about[set][c.Key] = strings.TrimSpace(string(c.Value))
		}
	}
	return reader.Err()
}

// value returns the mean of a benchmark's runs. A benchmark that was not measured is an error.
func (r results) value(set, name, unit string) (float64, error) {
	all := r.values[key{set, name, unit}]
	if len(all) == 0 {
		return 0, fmt.Errorf("there is no %s of %s in %q; run: make bench, or make test-scale", unit, name, set)
	}
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all)), nil
}

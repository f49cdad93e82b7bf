// SPDX-License-Identifier: Apache-2.0

// Report writes docs/results/performance.md and its plots from the results of the benchmarks and of the scale test. It
// is a separate module, so that the product does not depend on the plotting library.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: report RESULTS DOCS: the folders of results and of the documentation"))
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "writing the page of performance:", err)
	os.Exit(1)
}

func write(from, to string) error {
	r := results{values: map[key][]float64{}, about: map[string]map[string]string{}}
	for set, file := range map[string]string{"": "bench.txt", "scale": "scale.txt", "memory": "memory.txt"} {
		if err := r.read(set, filepath.Join(from, file)); err != nil {
			return err
		}
	}
	page, err := r.page()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, "performance.md"), page, 0o644); err != nil {
		return err
	}
	for name, draw := range map[string]func(string) error{
		"calls": r.drawCalls, "memory": r.drawMemory, "reaction": r.drawReaction, "update": r.drawUpdate,
	} {
		if err := draw(filepath.Join(to, "images", "performance-"+name+".svg")); err != nil {
			return fmt.Errorf("plotting %s: %w", name, err)
		}
	}
	return nil
}

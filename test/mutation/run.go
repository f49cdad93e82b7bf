// SPDX-License-Identifier: Apache-2.0

package mutation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The environment of a test binary with mutants.
const (
	// envMutant is the number of the selected mutant.
	envMutant = "HNSGUARD_MUTANT"
	// envSeen is a file that gets the numbers of all mutants that the tests reach.
	envSeen = "HNSGUARD_MUTANTS_SEEN"
)

// The tests of a mutant may take thirty times as long as those of the program, within these limits. A mutant that takes
// longer hangs.
const (
	timesAsLong = 30
	leastLimit  = 10 * time.Second
	mostLimit   = time.Minute
)

// Package is the test binary of a package, with its mutants.
type Package struct {
	dir, binary, temp string
	mutants           []Mutant
	// limit is the timeout of the tests.
	limit time.Duration
}

// Build compiles a package's tests with its mutants, without those of the excepted files. It writes only to temp.
func Build(ctx context.Context, dir, temp string, except ...string) (*Package, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", dir, err)
	}
	p := &Package{dir: dir, binary: filepath.Join(temp, "mutants.test"), temp: temp, limit: mostLimit}
	overlay, err := p.overlay(except)
	if err != nil {
		return nil, err
	}
	//nolint:gosec // the command is Go's
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", p.binary, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling the mutants of %s: %w\n%s", dir, err, out)
	}
	return p, nil
}

// overlay writes the rewritten files, and the overlay file for the go command.
func (p *Package) overlay(except []string) (string, error) {
	files, err := filepath.Glob(filepath.Join(p.dir, "*.go"))
	if err != nil {
		return "", fmt.Errorf("listing %s: %w", p.dir, err)
	}
	replace := map[string]string{filepath.Join(p.dir, "mutants.go"): filepath.Join(p.temp, "mutants.go")}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || slices.Contains(except, filepath.Base(file)) {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the package: %w", err)
		}
		name := filepath.Base(file)
		var rewritten []byte
		if rewritten, p.mutants, err = Rewrite(name, source, p.mutants); err != nil {
			return "", err
		}
		replace[file] = filepath.Join(p.temp, name)
		if err := os.WriteFile(replace[file], rewritten, 0o600); err != nil { //nolint:gosec // below temp
			return "", fmt.Errorf("writing the mutants: %w", err)
		}
	}
	code := fmt.Appendf(nil, support, filepath.Base(p.dir))
	if err := os.WriteFile(filepath.Join(p.temp, "mutants.go"), code, 0o600); err != nil {
		return "", fmt.Errorf("writing the mutants: %w", err)
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("encoding the overlay: %w", err)
	}
	overlay := filepath.Join(p.temp, "overlay.json")
	if err := os.WriteFile(overlay, encoded, 0o600); err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}
	return overlay, nil
}

// Tried returns the number of mutants.
func (p *Package) Tried() (n int) {
	for _, m := range p.mutants {
		if m.Change != "" {
			n++
		}
	}
	return n
}

// Run runs the tests of every mutant and returns the surviving ones. It skips mutants that no test reaches. It fails if
// the unchanged program fails its tests.
func (p *Package) Run(ctx context.Context) ([]Mutant, error) {
	seenFile := filepath.Join(p.temp, "seen")
	if err := os.WriteFile(seenFile, nil, 0o600); err != nil {
		return nil, fmt.Errorf("preparing a run: %w", err)
	}
	began := time.Now() //nolint:forbidigo // tests take real time
	out, killed, err := p.test(ctx, 0, seenFile)
	if err != nil {
		return nil, fmt.Errorf("running the tests of %s: %w", p.dir, err)
	}
	if killed {
		return nil, fmt.Errorf("the tests of %s fail without any mutant:\n%s", p.dir, out)
	}
	took := time.Since(began) //nolint:forbidigo // see above
	p.limit = min(max(timesAsLong*took, leastLimit), mostLimit)
	numbers, err := os.ReadFile(seenFile)
	if err != nil {
		return nil, fmt.Errorf("reading which mutants are tested: %w", err)
	}
	seen := strings.Fields(string(numbers))

	var mu sync.Mutex
	var lived []Mutant
	runs, ctx := errgroup.WithContext(ctx)
	runs.SetLimit(runtime.NumCPU())
	for _, m := range p.mutants {
		if m.Change == "" {
			continue
		}
		runs.Go(func() error {
			killed := false
			if slices.Contains(seen, strconv.Itoa(m.Number)) {
				var err error
				if _, killed, err = p.test(ctx, m.Number, os.DevNull); err != nil {
					return fmt.Errorf("testing mutant %s: %w", m, err)
				}
			}
			if !killed {
				mu.Lock()
				defer mu.Unlock()
				lived = append(lived, m)
			}
			return nil
		})
	}
	err = runs.Wait()
	slices.SortFunc(lived, func(a, b Mutant) int { return a.Number - b.Number })
	return lived, err
}

// test runs the tests with one mutant, and reports whether they failed. A timeout is a failure.
func (p *Package) test(ctx context.Context, number int, seen string) (out []byte, killed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	//nolint:gosec // Build made it
	cmd := exec.CommandContext(ctx, p.binary, "-test.short", "-test.failfast", "-test.timeout", p.limit.String())
	cmd.Dir = p.dir
	// A short run ends before it needs a garbage collection.
	cmd.Env = append(os.Environ(), "GOGC=400", envMutant+"="+strconv.Itoa(number), envSeen+"="+seen)
	out, err = cmd.CombinedOutput()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return out, true, nil
	}
	return out, false, err
}

// SPDX-License-Identifier: Apache-2.0

// Notices writes the licences and notices of everything that is linked into a program: notices OS/ARCH PACKAGE.
//
// It takes every licence and notice from the folder of a linked package up to the root of its module, because modules
// contain code of others under other licences. A module without a licence is an error. It writes equal texts once.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "collecting licences: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("want a platform such as windows/amd64, and a package")
	}
	modules, err := linked(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	return write(out, modules)
}

// module is a module, or Go itself, with the folders of its linked packages.
type module struct {
	name, root string
	folders    []string
}

// linked lists what is linked into the package on a platform such as windows/amd64. Packages without a module come with
// Go.
func linked(ctx context.Context, platform, pkg string) ([]*module, error) {
	system, arch, _ := strings.Cut(platform, "/")
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Module", pkg) //nolint:gosec // of this repository
	list.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	text, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages of %s: %w", pkg, err)
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("finding Go: %w", err)
	}
	golang := &module{name: "Go and its standard library", root: strings.TrimSpace(string(root))}
	all := map[string]*module{"": golang}
	modules := []*module{golang}
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var p struct {
			Dir    string
			Module struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return modules, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the packages of %s: %w", pkg, err)
		}
		if p.Module.Main {
			continue
		}
		if all[p.Module.Path] == nil {
			all[p.Module.Path] = &module{name: p.Module.Path + " " + p.Module.Version, root: p.Module.Dir}
			modules = append(modules, all[p.Module.Path])
		}
		m := all[p.Module.Path]
		m.folders = append(m.folders, p.Dir)
	}
}

// isNotice matches the names of files that must accompany a program.
var isNotice = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright)([-._].*)?$`)

// notices returns the files of a module that must accompany a program.
func (m *module) notices() ([]string, error) {
	seen, files := map[string]bool{}, []string{}
	for _, folder := range m.folders {
		for ; !seen[folder] && strings.HasPrefix(folder, m.root); folder = filepath.Dir(folder) {
			seen[folder] = true
			entries, err := os.ReadDir(folder)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if !e.IsDir() && isNotice.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
					files = append(files, filepath.Join(folder, e.Name()))
				}
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no licence in %s", m.name, m.root)
	}
	slices.Sort(files)
	return files, nil
}

// write writes every text once, below the names of all its modules.
func write(out io.Writer, modules []*module) error {
	of, order := map[string][]string{}, []string{}
	for _, m := range modules {
		files, err := m.notices()
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			content := strings.TrimSpace(string(text))
			if of[content] == nil {
				order = append(order, content)
			}
			within := strings.TrimPrefix(file, m.root+string(filepath.Separator))
			of[content] = append(of[content], m.name+": "+filepath.ToSlash(within))
		}
	}
	slices.SortFunc(order, func(a, b string) int { return strings.Compare(of[a][0], of[b][0]) })
	line := strings.Repeat("=", 80)
	_, err := fmt.Fprintf(out, "hnsguard contains the software that is named below, under these licences.\n")
	for _, content := range order {
		if err == nil {
			_, err = fmt.Fprintf(out, "\n%s\n%s\n%s\n\n%s\n", line, strings.Join(of[content], "\n"), line, content)
		}
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Release and Namespace are the names with which the chart is rendered, unless a test needs others.
const (
	Release   = "hnsguard"
	Namespace = "hnsguard-system"
)

// Objects are rendered objects.
type Objects []*unstructured.Unstructured

// Chart is the chart in a checkout.
type Chart struct {
	// Dir is the path of the chart.
	Dir string
	// Helm is the program that renders it.
	Helm string
}

// In returns the chart of the checkout at the path. $HNSGUARD_HELM is the path of helm; make sets it.
func In(checkout string) (Chart, error) {
	helm := os.Getenv("HNSGUARD_HELM")
	if helm == "" {
		return Chart{}, errors.New("$HNSGUARD_HELM does not say where helm is; run: make test-chart")
	}
	return Chart{Dir: filepath.Join(checkout, "charts", "hnsguard"), Helm: helm}, nil
}

// ValueSets returns the files of values in the chart, by name: those for tests, and the examples for the distributions.
func (c Chart) ValueSets() (map[string]string, error) {
	sets := map[string]string{}
	for folder, least := range map[string]int{"ci": 8, "examples": 9} {
		files, err := filepath.Glob(filepath.Join(c.Dir, folder, "*-values.yaml"))
		if err != nil || len(files) < least {
			return nil, fmt.Errorf("%d sets of values were found in %s, but there are %d or more (%w)",
				len(files), folder, least, err)
		}
		for _, file := range files {
			sets[folder+"/"+strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
		}
	}
	return sets, nil
}

// Run runs helm and returns its output. If it fails, the error has its messages.
func (c Chart) Run(ctx context.Context, args ...string) (string, error) {
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Helm, args...) //nolint:gosec // running helm is what this is for
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w\n%s", args[0], err, complaints.String())
	}
	return out.String(), nil
}

// Render renders the chart into the namespace with further arguments such as --set or --values, without the hooks.
func (c Chart) Render(ctx context.Context, namespace string, args ...string) (Objects, error) {
	args = slices.Concat([]string{"template", Release, c.Dir, "--namespace", namespace, "--no-hooks"}, args)
	text, err := c.Run(ctx, args...)
	if err != nil {
		return nil, err
	}
	return Decode([]byte(text))
}

// Decode decodes objects in YAML. A duplicate key is an error: Kubernetes would silently use the last one.
func Decode(text []byte) (Objects, error) {
	var objects Objects
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		var content map[string]any
		if err == nil {
			err = yaml.UnmarshalStrict(document, &content)
		}
		if err != nil {
			return nil, fmt.Errorf("reading rendered objects: %w\n%s", err, document)
		}
		if len(content) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
}

// Of returns the objects of a kind.
func (o Objects) Of(kind string) Objects {
	return slices.DeleteFunc(slices.Clone(o), func(u *unstructured.Unstructured) bool { return u.GetKind() != kind })
}

// DaemonSet returns the only DaemonSet. A field that Kubernetes does not know is an error.
func (o Objects) DaemonSet() (*appsv1.DaemonSet, error) {
	of := o.Of("DaemonSet")
	if len(of) != 1 {
		return nil, fmt.Errorf("%d DaemonSets are rendered, not one", len(of))
	}
	var ds appsv1.DaemonSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(of[0].Object, &ds, true); err != nil {
		return nil, fmt.Errorf("reading the rendered DaemonSet: %w", err)
	}
	return &ds, nil
}

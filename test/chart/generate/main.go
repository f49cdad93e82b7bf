// SPDX-License-Identifier: Apache-2.0

// Generate writes the kustomize base from the chart's defaults: generate CHECKOUT.
//
// It omits what only Helm needs, and the ConfigMap: kustomize generates it from config/hnsguard.yaml, whose comments
// explain each field, and names it after its content, so that a change creates new pods.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/test/chart"
)

const header = "# Made of charts/hnsguard by make generate. Change it there.\n"

func main() {
	if err := generate(context.Background(), os.Args[1:]); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "generating the kustomize base: %v\n", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want the path of the checkout, and nothing else")
	}
	c, err := chart.In(args[0])
	if err != nil {
		return err
	}
	objects, err := c.Render(ctx, chart.Namespace)
	if err != nil {
		return err
	}
	files := map[string][]string{}
	for _, u := range objects {
		if u.GetKind() == "ConfigMap" {
			continue
		}
		text, err := yaml.Marshal(withoutHelm(u).Object)
		if err != nil {
			return fmt.Errorf("writing %s %s: %w", u.GetKind(), u.GetName(), err)
		}
		files[fileOf(u.GetKind())] = append(files[fileOf(u.GetKind())], string(text))
	}
	for name, texts := range files {
		path := filepath.Join(args[0], "config", "base", name)
		text := []byte(header + strings.Join(texts, "---\n"))
		if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // sources
			return err
		}
	}
	return nil
}

// fileOf returns the file for objects of a kind.
func fileOf(kind string) string {
	switch {
	case strings.HasPrefix(kind, "ValidatingAdmission"):
		return "admission-policies.yaml"
	case strings.Contains(kind, "Role"), kind == "ServiceAccount":
		return "rbac.yaml"
	default:
		return strings.ToLower(kind) + ".yaml"
	}
}

// withoutHelm removes Helm's marks from an object.
func withoutHelm(u *unstructured.Unstructured) *unstructured.Unstructured {
	labels := u.GetLabels()
	delete(labels, "helm.sh/chart")
	delete(labels, "app.kubernetes.io/managed-by")
	u.SetLabels(labels)
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "annotations", "checksum/config")
	if left, _, _ := unstructured.NestedMap(u.Object, "spec", "template", "metadata", "annotations"); len(left) == 0 {
		unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "annotations")
	}
	return u
}

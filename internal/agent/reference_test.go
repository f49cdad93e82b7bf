// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// writeReference writes a page that documents metrics in Markdown, from nothing but what was gathered. It can list the
// values of every label because every series of a closed set exists from the start.
func writeReference(page *bytes.Buffer, families []*dto.MetricFamily) {
	page.WriteString(referenceHead)
	for _, family := range families {
		fmt.Fprintf(page, "\n## %s\n\n%s\n\n- Type: %s\n", family.GetName(), family.GetHelp(),
			strings.ToLower(family.GetType().String()))
		if bounds := bucketsOf(family); bounds != "" {
			fmt.Fprintf(page, "- Buckets: %s\n", bounds)
		}
		values := labelsOf(family)
		for _, label := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(page, "- Label `%s`%s\n", label, valuesOf(family, values[label]))
		}
	}
}

const referenceHead = `# Metrics

<!-- Made by "make generate-metrics" from what a running agent serves. Do not edit it. -->

All of these are the agent's own. Beside them, ` + "`/metrics`" + ` serves those of
[controller-runtime](https://book.kubebuilder.io/reference/metrics-reference) (` + "`controller_runtime_*`, `workqueue_*`,\n" +
	"`rest_client_*`, `certwatcher_*`" + `), of the Go runtime and of the process.

Label values come from closed sets, and every series of a set exists from the start. No label holds an address, an ID or
the name of a pod; those are in the log and in Events. The node is what the scraper adds (see
[monitoring.md](monitoring.md)).
`

// labelsOf returns the values that each label has.
func labelsOf(family *dto.MetricFamily) map[string][]string {
	values := map[string][]string{}
	for _, metric := range family.GetMetric() {
		for _, label := range metric.GetLabel() {
			if !slices.Contains(values[label.GetName()], label.GetValue()) {
				values[label.GetName()] = append(values[label.GetName()], label.GetValue())
			}
		}
	}
	return values
}

// valuesOf spells out the values of a label. What the labels of an info metric say differs from node to node.
func valuesOf(family *dto.MetricFamily, values []string) string {
	if strings.HasSuffix(family.GetName(), "_info") {
		return ""
	}
	slices.Sort(values)
	return ": `" + strings.Join(values, "`, `") + "`"
}

func bucketsOf(family *dto.MetricFamily) string {
	if family.GetType() != dto.MetricType_HISTOGRAM {
		return ""
	}
	var bounds []string
	for _, bucket := range family.GetMetric()[0].GetHistogram().GetBucket() {
		bounds = append(bounds, fmt.Sprintf("%g", bucket.GetUpperBound()))
	}
	return strings.Join(bounds, ", ") + "; native too"
}

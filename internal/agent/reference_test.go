// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	_ "embed" // the head of the page
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// writeReference writes a Markdown page that documents metrics, only from what was gathered. It can list the values of
// every label because every series of a closed set exists from the start.
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

// referenceHead says how the metrics are scraped.
//
//go:embed testdata/metrics-head.md.tmpl
var referenceHead string

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

// valuesOf formats the values of a label. The label values of an info metric differ from node to node.
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

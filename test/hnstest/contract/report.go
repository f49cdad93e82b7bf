// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// ReportFormat is the current format of reports.
const ReportFormat = 1

// Report is the result of a run, as stored in test/windows/results. It identifies no machine and no cluster.
type Report struct {
	Format int `json:"format"`
	// Build is the build of hnsguard, and Date the date of the run.
	Build string `json:"build"`
	Date  string `json:"date"`
	// Windows and HNS are their versions.
	Windows string `json:"windows"`
	HNS     string `json:"hns"`
	// Network is the type of the network that the run used.
	Network     hns.NetworkType `json:"network"`
	LocalSystem bool            `json:"localSystem"`
	Results     []Result        `json:"results"`
}

// ReadReport parses the report of a real node, and returns all its faults.
func ReadReport(data []byte) (Report, error) {
	var r Report
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("decoding the report: %w", err)
	}
	return r, errors.Join(r.faults()...)
}

// faults returns the faults of a report.
func (r Report) faults() (faults []error) {
	fault := func(is bool, format string, values ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, values...))
		}
	}
	_, errDate := time.Parse(time.DateOnly, r.Date)
	fault(r.Format != ReportFormat, "format %d: must be %d", r.Format, ReportFormat)
	fault(r.Build == "", "build: must be there")
	fault(errDate != nil, "date %q: must be a day such as 2026-11-30", r.Date)
	fault(!regexp.MustCompile(`^10\.0\.\d{5}(\.\d+)?$`).MatchString(r.Windows),
		"windows %q: must be the version of a real Windows, such as 10.0.20348.2340", r.Windows)
	fault(r.HNS == "", "hns: must be there")
	fault(!regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(string(r.Network)), "network %q: must be a type", r.Network)
	fault(len(r.Results) == 0, "results: must be there")
	seen := sets.New[string]()
	for _, result := range r.Results {
		known := slices.ContainsFunc(Assumptions(), func(a Assumption) bool { return a.ID == result.ID && a.Checked() })
		fault(!known, "result %q: no such assumption is checked", result.ID)
		fault(seen.Has(result.ID), "result %q: is there twice", result.ID)
		seen.Insert(result.ID)
		fault(!slices.Contains([]Outcome{Confirmed, Refuted, NotTried}, result.Outcome),
			"result %q: outcome %q: must be %s, %s or %s", result.ID, result.Outcome, Confirmed, Refuted, NotTried)
		fault(result.Saw == "", "result %q: saw: must be there", result.ID)
	}
	return faults
}

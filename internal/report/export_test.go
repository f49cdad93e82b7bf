// SPDX-License-Identifier: Apache-2.0

package report

// WithFindings returns the report as Judge does, with findings.
func (r Report) WithFindings() Report {
	r.find(false)
	return r
}

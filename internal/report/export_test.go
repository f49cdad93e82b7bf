// SPDX-License-Identifier: Apache-2.0

package report

// WithFindings is the report as Judge returns it: with what is wrong with its objects.
func (r Report) WithFindings() Report {
	r.find(false)
	return r
}

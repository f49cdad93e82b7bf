// SPDX-License-Identifier: Apache-2.0

package recording

// What is kept of the kinds of the cluster.
var (
	TrimPod     = trimPod
	TrimSlice   = trimSlice
	TrimService = trimService
)

// The forms in which what HNS has is written.
var (
	EndpointObject = endpointObject
	NetworkObject  = networkObject
	BalancerObject = balancerObject
)

// ReadBundleLimited reads a bundle with a limit of its own.
var ReadBundleLimited = readBundle

// DecodeText returns the text of a file.
var DecodeText = decodeText

// Source is the text of a file and what is wrong with it.
type Source = source

// NewSource turns the content of a file into text.
func NewSource(name string, data []byte) (*Source, error) {
	memory := memoryFor(len(data))
	return newSource(name, data, &memory)
}

// Report notes a fault at an offset of the text.
func (s *source) Report(offset int, format string, args ...any) { s.report(offset, format, args...) }

// ReportJSON notes what a decoder of JSON complained of.
func (s *source) ReportJSON(start int, err error) { s.reportJSON(start, err) }

// Advise says what to do about the faults.
func (s *source) Advise(advice string) { s.advice = advice }

// Err returns the faults.
func (s *source) Err() error { return s.err() }

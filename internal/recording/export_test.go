// SPDX-License-Identifier: Apache-2.0

package recording

// What is recorded of the kinds of the cluster.
var (
	TrimPod     = trimPod
	TrimSlice   = trimSlice
	TrimService = trimService
)

// The writers of what HNS has.
var (
	WriteEndpoints     = writeEndpoints
	WriteNetworks      = writeNetworks
	WriteLoadBalancers = writeLoadBalancers
)

// ReadBundleLimited reads a bundle with a limit of its own.
var ReadBundleLimited = readBundle

// DecodeText returns the text of a file.
var DecodeText = decodeText

// Source is the text of a file and what is wrong with it.
type Source = source

// NewSource turns the content of a file into text.
func NewSource(name string, data []byte) (*Source, error) { return newSource(name, data) }

// Text returns the text.
func (s *source) Text() string { return s.text }

// Report notes a fault at an offset of the text.
func (s *source) Report(offset int, format string, args ...any) { s.report(offset, format, args...) }

// ReportJSON notes what a decoder of JSON complained of.
func (s *source) ReportJSON(start int, err error) { s.reportJSON(start, err) }

// Sound reports whether no fault was found.
func (s *source) Sound() bool { return s.sound() }

// Err returns all faults.
func (s *source) Err() error { return s.err() }

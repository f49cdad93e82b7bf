// SPDX-License-Identifier: Apache-2.0

package recording

// What is kept of the kinds of the cluster.
var (
	TrimPod     = trimPod
	TrimSlice   = trimSlice
	TrimService = trimService
)

// ReadBundleLimited reads a bundle with a limit of its own.
var ReadBundleLimited = readBundle

// ReadUpTo reads a stream.
var ReadUpTo = readUpTo

// Report returns the faults that a function reports of a file, and advice.
func Report(name, text string, faults func(report func(offset int, format string, args ...any))) error {
	s := &source{budget: budgetFor(), name: name, text: []byte(text)}
	faults(s.report)
	return s.err("record JSON")
}

// DecodeText returns the text of a file, or what is wrong with it.
func DecodeText(data []byte) ([]byte, error) {
	b := budgetFor()
	s, _ := b.open(File{Name: "f", Data: data})
	return s.text, b.err("")
}

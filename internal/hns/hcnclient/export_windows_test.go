// SPDX-License-Identifier: Apache-2.0

package hcnclient

import "github.com/hnsguard/hnsguard/internal/hns"

// Tests call these, because there is no HNS to call.
var (
	Answer         = answer
	ToEndpoint     = toEndpoint
	ToNetwork      = toNetwork
	ToLoadBalancer = toLoadBalancer
	TranslateError = translateError

	DecodeEndpoint     = decodeEndpoint
	DecodeNetwork      = decodeNetwork
	DecodeLoadBalancer = decodeLoadBalancer
)

// FakeSource is a source of objects of one kind.
type FakeSource struct {
	// Lists are the successive lists of IDs; the last one repeats.
	Lists [][]string
	// Objects are the properties by ID, and Errors the errors of reading an ID.
	Objects map[string]string
	Errors  map[string]error
}

func (f *FakeSource) ids() ([]string, error) {
	list := f.Lists[0]
	if len(f.Lists) > 1 {
		f.Lists = f.Lists[1:]
	}
	return list, nil
}

func (f *FakeSource) properties(id string) ([]byte, error) {
	return []byte(f.Objects[id]), f.Errors[id]
}

// ReadNetworks reads networks from a fake source.
func ReadNetworks(f *FakeSource) ([]hns.Network, error) { return readAll(f, decodeNetwork) }

// SPDX-License-Identifier: Apache-2.0

package hcnclient

import (
	"encoding/json"
	"fmt"
	"unsafe"

	"github.com/Microsoft/hcsshim/hcn"
	"golang.org/x/sys/windows"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// computenetwork is computenetwork.dll, as far as it is called here.
//
// Source of the signatures: the Host Compute Network API reference (HcnEnumerateEndpoints, HcnOpenEndpoint,
// HcnQueryEndpointProperties, HcnCloseEndpoint).
type computenetwork struct {
	enumerate, open, query, closeHandle *windows.LazyProc
	// allProperties is the query that asks for the standard properties of everything, as JSON.
	allProperties *uint16
}

// loadComputeNetwork loads the DLL from the system folder only, and resolves every function that is called, so that a
// missing one is an error here and not a panic later.
func loadComputeNetwork() (*computenetwork, error) {
	dll := windows.NewLazySystemDLL("computenetwork.dll")
	c := &computenetwork{
		enumerate:   dll.NewProc("HcnEnumerateEndpoints"),
		open:        dll.NewProc("HcnOpenEndpoint"),
		query:       dll.NewProc("HcnQueryEndpointProperties"),
		closeHandle: dll.NewProc("HcnCloseEndpoint"),
	}
	for _, proc := range []*windows.LazyProc{c.enumerate, c.open, c.query, c.closeHandle} {
		if err := proc.Find(); err != nil {
			return nil, err
		}
	}
	query, err := json.Marshal(hcn.HostComputeQuery{SchemaVersion: hcn.SchemaVersion{Major: 2, Minor: 0}})
	if err != nil {
		return nil, fmt.Errorf("encoding the HCN query: %w", err)
	}
	c.allProperties, err = windows.UTF16PtrFromString(string(query))
	return c, err
}

// enumerateEndpoints returns the GUIDs of all endpoints, as HNS spells them.
func (c *computenetwork) enumerateEndpoints() ([]string, error) {
	var ids, record *uint16
	hr, _, _ := c.enumerate.Call(uintptr(unsafe.Pointer(c.allProperties)), uintptr(unsafe.Pointer(&ids)),
		uintptr(unsafe.Pointer(&record)))
	text, err := answer("HcnEnumerateEndpoints", hr, ids, record)
	if err != nil {
		return nil, err
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("decoding the answer of HcnEnumerateEndpoints: %w", err)
	}
	return list, nil
}

// queryEndpoint reads one endpoint's properties.
func (c *computenetwork) queryEndpoint(id hns.EndpointID) (hcn.HostComputeEndpoint, error) {
	var endpoint hcn.HostComputeEndpoint
	key, err := windows.GUIDFromString("{" + string(id) + "}")
	if err != nil {
		return endpoint, fmt.Errorf("parsing endpoint ID %q: %w", id, err)
	}
	var handle uintptr
	var properties, record *uint16
	hr, _, _ := c.open.Call(uintptr(unsafe.Pointer(&key)), uintptr(unsafe.Pointer(&handle)),
		uintptr(unsafe.Pointer(&record)))
	if _, err := answer("HcnOpenEndpoint", hr, nil, record); err != nil {
		return endpoint, err
	}
	// A handle that does not close has no consequence for what was read, and there is nothing to be done about it.
	defer c.closeHandle.Call(handle) //nolint:errcheck // see above

	hr, _, _ = c.query.Call(handle, uintptr(unsafe.Pointer(c.allProperties)), uintptr(unsafe.Pointer(&properties)),
		uintptr(unsafe.Pointer(&record)))
	text, err := answer("HcnQueryEndpointProperties", hr, properties, record)
	if err != nil {
		return endpoint, err
	}
	if err := json.Unmarshal([]byte(text), &endpoint); err != nil {
		return endpoint, fmt.Errorf("decoding the properties of endpoint %s: %w", id, err)
	}
	return endpoint, nil
}

// answer takes over what a call left behind: it frees both buffers and returns either the text or the error, with the
// sentinel for its code and HNS's own words. Words alone make an error too, as they do in hcsshim: an answer that comes
// with a complaint is not known to be complete.
func answer(call string, hr uintptr, text, record *uint16) (string, error) {
	out, words := take(text), take(record)
	code := uint32(hr) // an HRESULT is 32 bits wide; the upper half of the register is not defined
	if code < 1<<31 {
		if words != "" {
			return "", fmt.Errorf("%s succeeded with a complaint: %s", call, words)
		}
		return out, nil
	}
	if code>>16 == 0x8007 {
		code &= 0xffff
	}
	err := fmt.Errorf("%s failed in Win32: %w (0x%x) %s", call, windows.Errno(code), code, words)
	if sentinel, known := sentinels()[code]; known {
		return "", fmt.Errorf("%w: %w", err, sentinel)
	}
	return "", err
}

// take copies a string that HNS allocated and frees it.
func take(text *uint16) string {
	if text == nil {
		return ""
	}
	defer windows.CoTaskMemFree(unsafe.Pointer(text))
	return windows.UTF16PtrToString(text)
}

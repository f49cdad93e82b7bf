// SPDX-License-Identifier: Apache-2.0

package hcnclient

import (
	"encoding/json"
	"fmt"
	"unsafe"

	"github.com/Microsoft/hcsshim/hcn"
	"golang.org/x/sys/windows"
)

// computenetwork has the functions of computenetwork.dll that hnsguard calls.
type computenetwork struct {
	networks, endpoints, loadBalancers objects
}

// loadComputeNetwork loads the DLL, from the system folder only, and resolves every function, so that a missing one is
// an error here and not a panic later.
func loadComputeNetwork() (*computenetwork, error) {
	query, err := json.Marshal(hcn.HostComputeQuery{SchemaVersion: hcn.SchemaVersion{Major: 2, Minor: 0}})
	if err != nil {
		return nil, fmt.Errorf("encoding the HCN query: %w", err)
	}
	allProperties, err := windows.UTF16PtrFromString(string(query))
	if err != nil {
		return nil, fmt.Errorf("encoding the HCN query: %w", err)
	}
	dll := windows.NewLazySystemDLL("computenetwork.dll")
	c := &computenetwork{}
	for kind, functions := range map[string]*objects{
		"Network": &c.networks, "Endpoint": &c.endpoints, "LoadBalancer": &c.loadBalancers,
	} {
		if *functions, err = loadObjects(dll, allProperties, kind); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// objects has the functions for one kind of object.
//
// Source of the signatures: the Host Compute Network API reference (HcnEnumerateEndpoints, HcnOpenEndpoint,
// HcnQueryEndpointProperties, HcnCloseEndpoint, and the same for networks and load balancers).
type objects struct {
	enumerate, open, query, closeHandle *windows.LazyProc
	// allProperties is the query for the standard properties of all objects, as JSON.
	allProperties *uint16
}

func loadObjects(dll *windows.LazyDLL, allProperties *uint16, kind string) (objects, error) {
	o := objects{
		enumerate:     dll.NewProc("HcnEnumerate" + kind + "s"),
		open:          dll.NewProc("HcnOpen" + kind),
		query:         dll.NewProc("HcnQuery" + kind + "Properties"),
		closeHandle:   dll.NewProc("HcnClose" + kind),
		allProperties: allProperties,
	}
	for _, proc := range []*windows.LazyProc{o.enumerate, o.open, o.query, o.closeHandle} {
		if err := proc.Find(); err != nil {
			return objects{}, err
		}
	}
	return o, nil
}

// ids returns the GUIDs of all objects, as HNS formats them.
func (o objects) ids() ([]string, error) {
	var ids, record *uint16
	hr, _, _ := o.enumerate.Call(uintptr(unsafe.Pointer(o.allProperties)), uintptr(unsafe.Pointer(&ids)),
		uintptr(unsafe.Pointer(&record)))
	text, err := answer(o.enumerate.Name, hr, ids, record)
	if err != nil {
		return nil, err
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("decoding the answer of %s: %w", o.enumerate.Name, err)
	}
	return list, nil
}

// properties returns the properties of one object, as JSON.
func (o objects) properties(id string) ([]byte, error) {
	key, err := windows.GUIDFromString("{" + id + "}")
	if err != nil {
		return nil, fmt.Errorf("parsing ID %q: %w", id, err)
	}
	var handle uintptr
	var properties, record *uint16
	hr, _, _ := o.open.Call(uintptr(unsafe.Pointer(&key)), uintptr(unsafe.Pointer(&handle)),
		uintptr(unsafe.Pointer(&record)))
	if handle != 0 { // HNS may return a handle with an error
		// Nothing depends on whether the handle could be closed.
		defer o.closeHandle.Call(handle) //nolint:errcheck // see above
	}
	if _, err := answer(o.open.Name, hr, nil, record); err != nil {
		return nil, err
	}

	hr, _, _ = o.query.Call(handle, uintptr(unsafe.Pointer(o.allProperties)), uintptr(unsafe.Pointer(&properties)),
		uintptr(unsafe.Pointer(&record)))
	text, err := answer(o.query.Name, hr, properties, record)
	return []byte(text), err
}

// answer consumes the results of a call: it frees both buffers and returns either the text or an error with the
// sentinel for its code and HNS's error record. As in hcsshim, a record alone is an error too: an answer with a record
// may be incomplete.
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

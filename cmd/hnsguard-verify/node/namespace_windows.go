// SPDX-License-Identifier: Apache-2.0

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// createNamespace creates a namespace with the given ID, and returns the ID that HNS gave it.
//
// Source of the signatures: the Host Compute Network API reference.
func createNamespace(id hns.NamespaceID) (hns.NamespaceID, error) {
	dll := windows.NewLazySystemDLL("computenetwork.dll")
	create, query := dll.NewProc("HcnCreateNamespace"), dll.NewProc("HcnQueryNamespaceProperties")
	closeHandle := dll.NewProc("HcnCloseNamespace")
	key, errKey := windows.GUIDFromString("{" + string(id) + "}")
	// Like containerd's, the namespace has no settings. As a query, the same text requests all properties.
	settings, errSettings := windows.UTF16PtrFromString(`{"SchemaVersion":{"Major":2,"Minor":0}}`)
	err := errors.Join(errKey, errSettings, create.Find(), query.Find(), closeHandle.Find())
	if err != nil {
		return "", fmt.Errorf("creating a namespace: %w", err)
	}
	var handle uintptr
	var record, properties *uint16
	hr, _, _ := create.Call(uintptr(unsafe.Pointer(&key)), uintptr(unsafe.Pointer(settings)),
		uintptr(unsafe.Pointer(&handle)), uintptr(unsafe.Pointer(&record)))
	if err := failure("HcnCreateNamespace", hr, record); err != nil {
		return "", err
	}
	defer closeHandle.Call(handle) //nolint:errcheck // nothing depends on whether it could be closed
	hr, _, _ = query.Call(handle, uintptr(unsafe.Pointer(settings)), uintptr(unsafe.Pointer(&properties)),
		uintptr(unsafe.Pointer(&record)))
	if err := failure("HcnQueryNamespaceProperties", hr, record); err != nil {
		return id, err
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(take(properties)), &made); err != nil {
		return id, fmt.Errorf("reading the namespace: %w", err)
	}
	return hns.ParseID[hns.NamespaceID](made.ID)
}

// failure returns the error of a call, or nil.
func failure(call string, hr uintptr, record *uint16) error {
	words := take(record)
	code := uint32(hr)
	if code < 1<<31 {
		return nil
	}
	if code>>16 == 0x8007 {
		code &= 0xffff
	}
	return fmt.Errorf("%s failed in Win32: %w (0x%x) %s", call, windows.Errno(code), code, words)
}

// take copies a string that HNS allocated and frees it.
func take(text *uint16) string {
	if text == nil {
		return ""
	}
	defer windows.CoTaskMemFree(unsafe.Pointer(text))
	return windows.UTF16PtrToString(text)
}

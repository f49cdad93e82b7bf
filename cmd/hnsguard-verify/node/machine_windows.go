// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// Read returns the description of this machine.
func Read() (Machine, error) {
	v := windows.RtlGetVersion()
	m := Machine{Build: v.BuildNumber, Windows: fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)}
	if revision, err := readRevision(); err == nil { // without it, the result only lacks the revision
		m.Windows = fmt.Sprintf("%s.%d", m.Windows, revision)
	}
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		m.Windows += " Wine"
	}
	token := windows.GetCurrentProcessToken()
	m.Elevated = token.IsElevated()
	user, err := token.GetTokenUser()
	if err != nil {
		return m, fmt.Errorf("reading the account of this process: %w", err)
	}
	m.LocalSystem = user.User.Sid.IsWellKnown(windows.WinLocalSystemSid)
	return m, nil
}

// readRevision reads the revision of the last update.
func readRevision() (uint64, error) {
	const path = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
	if err != nil {
		return 0, fmt.Errorf("opening the version of Windows in the registry: %w", err)
	}
	defer key.Close() //nolint:errcheck // it was only read
	revision, _, err := key.GetIntegerValue("UBR")
	if err != nil {
		return 0, fmt.Errorf("reading the revision of Windows: %w", err)
	}
	return revision, nil
}

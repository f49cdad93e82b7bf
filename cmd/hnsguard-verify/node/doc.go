// SPDX-License-Identifier: Apache-2.0

// Package node is the machine on which hnsguard-verify runs, and writes to its HNS. It only calls and translates. It is
// not part of package hcnclient, because the agent's only write is a delete.
package node

// Machine describes this machine and the account of this process.
type Machine struct {
	// Windows is the version with its revision, such as "10.0.20348.2340".
	Windows string
	// Build is the third number of the version.
	Build uint32
	// Elevated is set for administrators, and LocalSystem for the account of Windows services.
	Elevated, LocalSystem bool
}

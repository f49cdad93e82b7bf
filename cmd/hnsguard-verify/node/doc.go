// SPDX-License-Identifier: Apache-2.0

// Package node is the machine that hnsguard-verify runs on, and its HNS to write to. It calls and translates. It is no
// part of package hcnclient, because the agent never writes but to delete.
package node

// Machine is this machine and the account of this process.
type Machine struct {
	// Windows is the version with its revision, such as "10.0.20348.2340".
	Windows string
	// Build is the third number of the version.
	Build uint32
	// Elevated is set for administrators, LocalSystem for the account of Windows services.
	Elevated, LocalSystem bool
}

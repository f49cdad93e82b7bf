// SPDX-License-Identifier: Apache-2.0

package cli

// NewRoot returns the command with all of its subcommands.
var NewRoot = newRoot

// SaveMemory is how run sets up the garbage collector.
var SaveMemory = saveMemory

// SPDX-License-Identifier: Apache-2.0

package cli

// NewRoot returns the command with all its subcommands.
var NewRoot = newRoot

// SaveMemory configures the garbage collector like run.
var SaveMemory = saveMemory

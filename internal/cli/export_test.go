// SPDX-License-Identifier: Apache-2.0

package cli

// NewRoot returns the command with all of its subcommands.
var NewRoot = newRoot

// LimitMemory is what run does about the memory limit of its container.
var LimitMemory = limitMemory

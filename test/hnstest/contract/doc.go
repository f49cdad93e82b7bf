// SPDX-License-Identifier: Apache-2.0

// Package contract is the suite that every [hns.Client] has to pass: the simulation on every system, the real adapter
// on Windows. Where both pass, a test against the simulation says something about the real service.
package contract

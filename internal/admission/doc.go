// SPDX-License-Identifier: Apache-2.0

// Package admission keeps an act off unless the API server is known to restrict it.
//
// A role cannot restrict the contents of the agent's writes; admission policies do. Without them, a token stolen from
// one node may send the traffic of any Service anywhere, and evict any pod. The agent cannot drop its own rights, but
// it can refuse to use them, and say why. So before an act writes, the agent tries a write that the policy forbids, as
// a dry run.
//
// Invariants:
//
//  1. A gate is open only if the API server refused the forbidden write within the last [Valid], and refused it as
//     invalid, as admission policies do. A role, a quota or a namespace that is being deleted refuse in another way,
//     and prove nothing.
//  2. An API server that does not answer, or answers with another error, closes the gate for this write only.
//  3. The forbidden write changes nothing: it is a dry run of a harmless write.
//  4. A closed gate tries again after ten seconds at the earliest, then less and less often, up to every ten minutes.
//     It is logged once.
package admission

// SPDX-License-Identifier: Apache-2.0

// Package admission keeps an act off until the API server is seen to restrict it.
//
// A role cannot say what the agent may write: admission policies do. Without them, a token stolen from one node may
// send the traffic of any Service anywhere, and evict any pod. The agent cannot take away its own rights, but it can
// refuse to use them, and say why. So before an act writes, the agent tries a write that the policy forbids, in a dry
// run.
//
// Invariants:
//
//  1. A gate is open only if the API server refused the forbidden write at most [Valid] ago, as an admission policy
//     refuses: as invalid. A role, a quota or a namespace that is being deleted refuse in another way, and prove
//     nothing.
//  2. An API server that does not answer, or answers with another error, keeps the gate closed for this write only.
//  3. A trial changes nothing: it is a dry run, of a write that would do no harm.
//  4. A closed gate tries at most every ten seconds, and less and less often, up to ten minutes. It is logged
//     once.
package admission

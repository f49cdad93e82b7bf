// SPDX-License-Identifier: Apache-2.0

// Package mutation checks whether the tests notice faults: it changes the code that decides about deletions in one
// small way after the other, and expects a test of the same package to fail each time.
//
// A mutant makes one condition always true or always false, moves one comparison by one, or omits one statement. These
// are the faults that hide best in such code: a missing guard, an ignored error, a backoff that never begins. Tools
// that swap operators find others, and skip the conditions of switch cases, because Go's coverage does not count them;
// in package verdict that is a third.
//
// All mutants of a package are compiled into one test binary, and an environment variable selects one of them. So a
// mutant costs one run of the tests and no build, and hundreds of them take minutes.
//
// Invariants:
//
//  1. The mutant with number zero is the unchanged program: its tests pass.
//  2. A surviving mutant is explained in explained.txt, with the reason why no test can notice it or has to.
//  3. An explanation whose mutant is killed, or no longer exists, is an error too.
package mutation

// SPDX-License-Identifier: Apache-2.0

// Package mutation finds out whether the tests would notice: it changes the code that decides about deletions in one
// small way after the other, and expects a test of the same package to fail each time.
//
// A mutant makes one condition always true or always false, moves one comparison by one, or leaves one statement out.
// These are the faults that hide best in such code: a guard that is dropped, an error that is ignored, a backoff that
// never begins. Tools that swap operators find others, and skip the conditions of switch cases, since Go's coverage
// does not count them; in package verdict that is a third.
//
// All mutants of a package are compiled into one test binary, which reads from a variable of its environment which of
// them to be. A mutant then costs one run of the tests and no build, which keeps hundreds of them within minutes.
//
// Invariants:
//
//  1. The mutant with number zero is the program as it is: its tests pass.
//  2. A mutant that lives is explained in explained.txt, with the reason why no test can or has to notice.
//  3. An explanation whose mutant is killed, or is gone, is an error too.
package mutation

// SPDX-License-Identifier: Apache-2.0

// Command hnsguard-verify tests on a real Windows node what hnsguard assumes about HNS: the list in package contract.
// It writes to HNS, so it is a separate command: hnsguard, which runs as SYSTEM, does not contain it.
//
// Invariants:
//
//  1. It writes nothing unless the user has agreed or passed --yes.
//  2. It writes nothing on a network that has other objects, or where it could not delete them again: without
//     administrator rights, without HNS, or on a Windows that hnsguard does not support. Then it prints one line, and
//     the exit status is 1.
//  3. It deletes everything that it has created: in the end, after Ctrl+C, and after a crash with --clean or in the
//     next run.
//  4. The exit status is 0 if all checks ran and everything was deleted, whatever the checks found; 1 for an error; 2
//     for a wrong command line; 130 after Ctrl+C.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/cmd/hnsguard-verify/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl+C ends the process, even if HNS hangs
	os.Exit(Run(ctx, os.Args[1:], Process{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Machine: node.Read, Open: node.Open, Clock: clock.RealClock{},
	}))
}

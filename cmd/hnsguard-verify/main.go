// SPDX-License-Identifier: Apache-2.0

// Command hnsguard-verify tries on a real Windows node what hnsguard assumes of HNS: the list of package contract. It
// writes to HNS, so it is a command of its own: hnsguard, which runs as SYSTEM, does not contain it.
//
// Invariants:
//
//  1. Nothing is written before a person has agreed, or --yes was given.
//  2. Nothing is written on a network on which something else is, or where it could not be deleted again: without the
//     rights, without HNS, on a Windows that hnsguard does not support. That is one line, and the exit status 1.
//  3. Whatever happens, everything that it has made is deleted: at the end, after Ctrl+C, and after a crash with
//     --clean or by the next run.
//  4. The exit status is 0 if all checks ran and everything was deleted, whatever they saw; 1 for an error; 2 for a
//     wrong command line; 130 after Ctrl+C.
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
	context.AfterFunc(ctx, stop) // a second Ctrl+C ends the process, whatever HNS does
	os.Exit(Run(ctx, os.Args[1:], Process{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Machine: node.Read, Open: node.Open, Clock: clock.RealClock{},
	}))
}

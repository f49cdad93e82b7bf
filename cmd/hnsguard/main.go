// SPDX-License-Identifier: Apache-2.0

// Command hnsguard keeps the network of Windows pods alive in clusters that mix Linux and Windows nodes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/hnsguard/hnsguard/internal/cli"
)

func main() {
	// On Windows the Go runtime turns console close, log-off and shutdown events into SIGTERM, and keeps the process alive
	// while a handler is registered.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], cli.Process{
		Name: os.Args[0], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv,
	})
	stop()
	os.Exit(code)
}

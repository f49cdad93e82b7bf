// SPDX-License-Identifier: Apache-2.0

// Command winkernel runs the code of one version of kube-proxy for Windows, on Linux.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"winkernel/winkernel"
)

func main() {
	if err := winkernel.Serve(os.Stdin, os.Stdout); !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "winkernel:", err)
		os.Exit(1)
	}
}

// SPDX-License-Identifier: Apache-2.0

// Kubectl is kubectl, for the test of a user's first hour. The released command is built from the same package, but in
// a module that cannot be a dependency.
package main

import (
	_ "k8s.io/client-go/plugin/pkg/client/auth" // as the released one
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}

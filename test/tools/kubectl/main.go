// SPDX-License-Identifier: Apache-2.0

// Kubectl is kubectl, for the test of what a person sees in the first hour. The command that is released is made of the
// same package, in a module that cannot be a dependency.
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

// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"errors"
	"fmt"
	"strings"
)

// Remedies that several faults share.
const (
	remedyCommand = "record it with kubectl get pods,endpointslices,services -A -o json"
	remedySlices  = "record it with kubectl get endpointslices.v1.discovery.k8s.io -A -o json"
	remedyAgain   = "record it again"
)

// faults collects everything that is wrong with one file, so that it can be mended in one go.
type faults struct {
	file string
	list []error
}

// add notes a fault in a line, counted from 1. Object and remedy may be empty.
func (f *faults) add(line int, object, remedy, reason string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", f.file, line)
	if object != "" {
		b.WriteString(object + ": ")
	}
	b.WriteString(reason)
	if remedy != "" {
		b.WriteString("; " + remedy)
	}
	f.list = append(f.list, errors.New(b.String()))
}

// err is all faults in one error, or nil.
func (f *faults) err() error { return errors.Join(f.list...) }

// SPDX-License-Identifier: Apache-2.0

// Package hnslib stands in for the library of that name, or for hcsshim, in a program that runs kube-proxy's code on
// Linux. It has what that code uses and no more.
package hnslib

// NetworkNotFoundError is an error of the first HNS API, which never happens here.
type NetworkNotFoundError struct{ NetworkName string }

func (e NetworkNotFoundError) Error() string { return "network " + e.NetworkName + " not found" }

// PolicyList is a load balancer of the first HNS API.
type PolicyList struct{}

// HNSListPolicyListRequest asks the first HNS API, which is always there.
func HNSListPolicyListRequest() ([]PolicyList, error) { return nil, nil }

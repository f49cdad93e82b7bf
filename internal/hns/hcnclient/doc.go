// SPDX-License-Identifier: Apache-2.0

// Package hcnclient is the [hns.Client] for the real Host Networking Service. It is the only package that touches
// hcsshim or a Windows DLL, and it holds no policy: it calls and translates.
//
// Objects are created and deleted through hcsshim's hcn package, and read by calls to computenetwork.dll itself, with
// hcn's types. hcn reads only whole lists: it opens and queries every object, which for endpoints is the cost that
// package inventory exists to avoid, and fails as a whole when one object vanishes meanwhile or has a property that it
// does not expect. Its GetEndpointByID filters by the ID as text, and whether HNS compares it with or without case is
// not documented: its "not found" would prove nothing. Opening by GUID has none of these faults, and closes the handle
// on every path, which hcn does not.
//
// Invariants:
//
//  1. Every not-found shape becomes [hns.ErrNotFound]: hcn's own error types, Win32 1168 (ERROR_NOT_FOUND) and the
//     HCN_E_..._NOT_FOUND codes of the requested object.
//  2. Every sign that the service is down becomes [hns.ErrUnavailable].
//  3. No object is left out because it is odd. What cannot be translated of an endpoint is missing in it and named,
//     which never makes it one that kube-proxy owns. What no decision depends on, such as subnets, may be missing
//     silently. IDs and the backends of load balancers are errors.
package hcnclient

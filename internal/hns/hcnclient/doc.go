// SPDX-License-Identifier: Apache-2.0

// Package hcnclient is the [hns.Client] of the real Host Networking Service. It is the only package of the agent that
// uses hcsshim, and it holds no policy: it calls and translates.
//
// It deletes endpoints through hcsshim's hcn package, but reads objects through computenetwork.dll itself, with hcn's
// types. hcn reads only whole lists: it opens and queries every object. For endpoints, this is the cost that package
// inventory exists to avoid. It also fails as a whole if one object vanishes meanwhile or has an unexpected property.
// Its GetEndpointByID filters by the ID as text, and HNS does not document whether it compares IDs ignoring case: its
// "not found" would prove nothing. Opening by GUID has none of these faults, and closes the handle on every path, which
// hcn does not.
//
// Invariants:
//
//  1. Every form of "not found" becomes [hns.ErrNotFound]: hcn's own error types, Win32 1168 (ERROR_NOT_FOUND) and the
//     HCN_E_..._NOT_FOUND codes of the requested object.
//  2. Every sign that the service is down becomes [hns.ErrUnavailable].
//  3. No object is omitted because it is odd. An endpoint lacks the properties that cannot be translated, and names
//     them; it never counts as kube-proxy's. Properties that no decision depends on, such as subnets, may be missing
//     silently. IDs and the backends of load balancers must be valid; anything else is an error.
package hcnclient

// SPDX-License-Identifier: Apache-2.0

// Package hcnclient is the [hns.Client] for the real Host Networking Service. It is the only package that touches
// hcsshim or a Windows DLL, and it holds no policy: it calls and translates.
//
// Networks, load balancers and deletes go through hcsshim's hcn package. Endpoints are enumerated and read by calls
// to computenetwork.dll itself, with hcn's types, because hcn offers only two ways to read them and neither will do
// here: ListEndpoints opens and queries every endpoint, which is the cost that package inventory exists to avoid, and
// fails as a whole when one vanishes meanwhile; GetEndpointByID filters by the ID as text, and whether HNS compares
// it with or without case is not documented, so that its "not found" would prove nothing. Opening by GUID has neither
// fault, and closes the handle on every path, which hcn does not.
//
// Invariants:
//
//  1. Every not-found shape becomes [hns.ErrNotFound]: hcn's own error types, Win32 1168 (ERROR_NOT_FOUND) and the
//     HCN_E_..._NOT_FOUND codes of the object that was asked for.
//  2. Every sign that the service is down becomes [hns.ErrUnavailable].
//  3. An object that cannot be translated in full is an error that names it. None is left out.
package hcnclient

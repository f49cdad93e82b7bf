// SPDX-License-Identifier: Apache-2.0

// Package server serves the node page, and secures the page and the metrics where they are reachable from outside the
// node: TLS, and a filter that admits only clients that the API server authenticates (TokenReview) and allows to read
// the path (SubjectAccessReview).
//
// The filter does what controller-runtime's filters.WithAuthenticationAndAuthorization does. That one imports
// k8s.io/apiserver, which adds 20 MB to the Windows binary, and it answers 500 to an invalid token.
//
// Invariants of the secured server:
//
//  1. A key comes from the folder that the operator named, or is generated here and never leaves memory. No other
//     folder is searched: a HostProcess container shares its temp folder with every user of the host.
//  2. A folder without a usable pair of certificate and key is an error at startup. If the pair becomes unusable later,
//     the last good pair stays in use.
//  3. No request is served without a token that the API server accepted at most [IdentityTTL] ago, for a user whom it
//     allowed to read the path at most [AllowTTL] ago.
//  4. A cached answer is never extended: if the API server cannot be reached when the answer expires, the request fails
//     with 503. A failure is never cached, and never taken for a yes or a no.
//  5. Tokens are kept as keyed hashes only. They are not logged, and neither the cause of a rejected token nor that
//     of an unreachable API server is shown to the client.
//  6. Clients without a known token cause at most [UnknownRate] reviews per second (after a burst of [UnknownBurst])
//     and [UnknownConcurrency] at a time, however many requests they send. Clients whose token was accepted before
//     are not held up by them.
//
// Invariants of the page:
//
//  7. Requests change nothing. There are only GET and HEAD, and no request is read beyond its headers.
//  8. On loopback only requests that name loopback as their host are answered, and none that another site makes: a
//     website cannot read the page through a browser on the node. Elsewhere the page is served over TLS, to clients
//     that the API server authorizes, or not at all.
//  9. Whatever is in the document, the browser runs no script and loads nothing but the page's own files: a strict
//     content security policy says so on every response, and the script inserts text only.
//  10. Connections, streams and documents that are made at a time are bounded.
//  11. A page that cannot be served does not end the agent: a node without a page is better off than one without guard.
package server

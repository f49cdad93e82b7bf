// SPDX-License-Identifier: Apache-2.0

// Package server serves the metrics and the node page, each on an address of its own. Off loopback both are served over
// HTTPS, to clients that the API server authenticates (TokenReview) and authorizes (SubjectAccessReview). The filter is
// our own: controller-runtime's imports k8s.io/apiserver (20 MB more program), and answers 500 to an invalid token.
//
// Invariants of every server:
//
//  1. Requests change nothing. A server answers GET and HEAD of its own paths, and reads no request beyond its headers.
//  2. What clients can use is bounded: connections in all and per source address, headers, the time that a request and
//     its answer take, and answers that need much memory. A client beyond the bound of connections gets one all the
//     same: it replaces the oldest, first of those that wait for a request, last of those that are authorized.
//  3. Clients cannot fill the log: what they cause is logged at debug level, once a second at most.
//
// Invariants of a secured server:
//
//  4. A key comes from the folder that the operator named, or is generated here and never leaves memory. No other
//     folder is searched: a HostProcess container shares its temp folder with every user of the host.
//  5. A folder without a usable pair of certificate and key is an error at startup. If the pair becomes unusable later,
//     the last good pair stays in use.
//  6. No path is served without a token that the API server accepted at most [AllowTTL] ago, for a user whom it allowed
//     to get the path. Requests for unknown paths cause no review.
//  7. A cached answer is never extended: if the API server cannot be reached when the answer expires, the request fails
//     with 503. A failure is never cached, and never taken for a yes or a no.
//  8. Tokens are kept as keyed hashes only. They are not logged, and neither the cause of a rejected token nor that
//     of an unreachable API server is shown to the client.
//  9. Clients whose user was not allowed to get a path before cause at most [UnknownRate] reviews per second (after a
//     burst of [UnknownBurst]), however many tokens they have. They neither delay nor displace the others.
//
// Invariants of the page:
//
//  10. On loopback only requests that name loopback as their host are answered, and none that another site makes: a
//     website cannot read the page through a browser on the node. Off loopback the page is secured, or not served.
//  11. Whatever is in the document, the browser runs no script and loads nothing but the page's own files: a strict
//     content security policy says so on every response, and the script inserts text only.
//  12. A page that cannot be served does not end the agent: a node without a page is better off than one without guard.
package server

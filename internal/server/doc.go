// SPDX-License-Identifier: Apache-2.0

// Package server serves the metrics and the node page, each on its own address. A secured server uses HTTPS, and
// answers only clients that the API server authenticates (TokenReview) and authorizes (SubjectAccessReview). The page
// is always secured unless its address is loopback. The filter is our own: controller-runtime's imports
// k8s.io/apiserver, which adds 20 MB to the program, and answers invalid tokens with 500.
//
// Invariants of every server:
//
//  1. Requests change nothing. A server answers GET and HEAD of its own paths, and reads only the headers of a request.
//  2. What clients can use is bounded: connections in total and per source address, headers, the time for a request and
//     its answer, and answers that need much memory. A client beyond the limit of connections still gets one: it
//     replaces the oldest connection, first of those that wait for a request, last of those that are authorized.
//  3. Clients cannot fill the log: what they cause is logged at debug level, at most once a second.
//
// Invariants of a secured server:
//
//  4. A key comes from the folder that the operator named, or is generated in memory and never leaves it. No other
//     folder is searched: a HostProcess container shares its temp folder with every user of the host.
//  5. A folder without a usable pair of certificate and key is an error at startup. If the pair becomes unusable later,
//     the last good pair stays in use.
//  6. No path is served without a token that the API server accepted within the last [AllowTTL], for a user who may get
//     the path. Requests for unknown paths cause no review.
//  7. A cached answer is never extended: if the API server cannot be reached when the answer expires, the request fails
//     with 503. A failure is never cached, and never counts as an answer.
//  8. Tokens are kept only as keyed hashes. They are not logged, and the client sees neither the cause of a rejected
//     token nor that of an unreachable API server.
//  9. Clients whose user was not allowed to get a path before cause at most [UnknownRate] reviews per second (after a
//     burst of [UnknownBurst]), however many tokens they have. They neither delay nor displace the others, whose new
//     tokens are reviewed too if they come from the same address.
//
// Invariants of the page:
//
//  10. On loopback the page answers only requests with a loopback host, and none that other sites make: a website
//     cannot read the page through a browser on the node. Off loopback the page is secured, or not served.
//  11. Whatever the report contains, the browser runs no script of it and loads only the page's own files: a strict
//     content security policy on every response ensures this, and the script inserts only text.
//  12. A page that cannot be served does not end the agent: a node without a page is better off than one without a
//     guard.
package server

// SPDX-License-Identifier: Apache-2.0

// Package page serves the node page: what the agent knows of its node, for a browser and for programs.
//
// Invariants:
//
//  1. Requests change nothing. There are only GET and HEAD, and no request is read beyond its headers.
//  2. On loopback only requests that name loopback as their host are answered, and none that another site makes: a
//     website cannot read the page through a browser on the node. Elsewhere the page is served over TLS, to clients
//     that the API server authorizes, or not at all.
//  3. Whatever is in the document, the browser runs no script and loads nothing but the page's own files: a strict
//     content security policy says so on every response, and the script inserts text only.
//  4. Connections, streams and documents that are made at a time are bounded.
//  5. A page that cannot be served does not end the agent: a node without a page is better off than one without guard.
package page

// SPDX-License-Identifier: Apache-2.0

package server

// Serve serves on a listener.
var Serve = (*Server).serve

// SPDX-License-Identifier: Apache-2.0

// Package winkernel runs the code of kube-proxy for Windows, of any version, on Linux: pkg/proxy/winkernel as released
// by Kubernetes, in a separate process. A test provides HNS, the API server and time.
//
// build.sh takes the sources from the Go module cache, strips their build tags, and puts them with ours (testdata) into
// a module in the cache folder. There, a stand-in replaces Microsoft's library, and forwards every call to HNS to the
// test (package wire). This repository has no file of Kubernetes. The order of Go's maps, in which kube-proxy processes
// Services, is derived from the seed of each request: the runtime of that one program is built to do so.
//
// Invariants:
//
//  1. The code of kube-proxy is as released: only its build tags and the library's import path are changed.
//  2. The same requests get the same answers, in every process.
//  3. A new kube-proxy has no memory of an earlier one, and an aborted one makes no further calls.
//  4. If the sources of a version do not fit, build.sh ends with a line that names the file and the symbol. If a
//     version is not available here, because the module proxy does not serve it or it needs a newer Go, build.sh ends
//     with exit code 3.
package winkernel

// SPDX-License-Identifier: Apache-2.0

// Package winkernel runs the code of kube-proxy for Windows, of any version, on Linux: pkg/proxy/winkernel as
// Kubernetes has released it, in a process of its own. A test plays HNS, the API server and time to it.
//
// build.sh takes the sources from the Go module cache, strips their build tags, and puts them with ours (testdata) into
// a module in the cache folder. There, a stand-in takes the place of Microsoft's library, and passes every call to HNS
// on to the test (package wire). No file of Kubernetes is in this repository. The order of Go's maps, by which
// kube-proxy goes through Services, is derived from the seed of each request: the runtime of that one program is built
// so.
//
// Invariants:
//
//  1. The code of kube-proxy is as released: nothing in it is changed but build tags, and the library's import path.
//  2. The same requests get the same answers, in every process.
//  3. A kube-proxy that starts knows nothing of the one before, and one that is aborted makes no call any more.
//  4. A version whose sources do not fit ends build.sh with a line that names the file and the symbol. One that cannot
//     be had here, because the module proxy does not serve it or it needs a newer Go, ends it with exit code 3.
package winkernel

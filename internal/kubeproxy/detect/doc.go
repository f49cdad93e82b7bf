// SPDX-License-Identifier: Apache-2.0

// Package detect finds out which kube-proxy the node runs, and when it has finished a sync.
//
// kube-proxy's metrics on the node say both. Where they cannot be reached, the image of kube-proxy's pod tells the
// version, if kube-proxy is a pod.
//
// The status of the node is no source of the version: kubelets before 1.33 write their own there, later ones nothing.
// What it says may add faults.
//
// Invariants:
//
//  1. A version that was never found counts as having every known fault.
//  2. A question that fails changes nothing that is known. When it has been failing for long, kube-proxy may have been
//     replaced: the faults of all versions are added, none is taken away.
//  3. What the metrics said counts for more than the tag of an image, which can confirm it or add faults.
//  4. A version that the operator configured is not questioned.
//  5. Only what serves metrics of kube-proxy is kube-proxy. Redirects are not followed, and no proxy is used.
//  6. Only a complete sync counts as finished: kube-proxy has processed every change that it knew of when the sync
//     began. Two that end between two readings count once, so that the count is never too high. It begins at zero again
//     when kube-proxy was restarted.
//  7. A deletion does not rest on what the metrics said some time ago: kube-proxy may have been replaced since. They are
//     read again; if that fails, the image of kube-proxy's pod has to confirm the version.
package detect

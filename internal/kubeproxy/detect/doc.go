// SPDX-License-Identifier: Apache-2.0

// Package detect finds the version of the node's kube-proxy, and when it has finished a sync.
//
// kube-proxy's metrics on the node have both. If they cannot be reached, the version comes from the image of
// kube-proxy's pod, if it is a pod.
//
// The status of the node is not a source of the version: kubelets before 1.33 write their own version there, later ones
// nothing. It may only add faults.
//
// Invariants:
//
//  1. A version that was never found counts as having every known fault.
//  2. A failed read changes nothing that is known. If reads have failed for long, kube-proxy may have been replaced:
//     the faults of all versions are added, none is removed.
//  3. The version from the metrics takes precedence over the tag of an image, which can only confirm it or add faults.
//  4. A version that the operator configured is not questioned.
//  5. Only a server of kube-proxy's metrics counts as kube-proxy. Redirects are not followed, and no proxy is used.
//  6. Only a complete sync counts as finished: kube-proxy has processed every change that it knew of when the sync
//     began. Two that end between two reads count once, so the count is never too high. It restarts at zero with
//     kube-proxy.
//  7. A deletion does not rest on what the metrics said earlier: kube-proxy may have been replaced since. They are read
//     again; if that fails, the image of kube-proxy's pod has to confirm the version.
//  8. Another process may listen where kube-proxy does not. What it answers takes little memory, and puts no long text
//     into metrics and logs.
package detect

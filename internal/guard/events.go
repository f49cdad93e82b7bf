// SPDX-License-Identifier: Apache-2.0

package guard

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons of the Events that the guard makes. They are part of its interface: people select by them.
const (
	// EventRemoved on a pod: the stale remote endpoint of its address is gone.
	EventRemoved = "StaleEndpointRemoved"
	// EventFound on a pod, in observe mode: it would have been removed.
	EventFound = "StaleEndpointFound"
	// EventHeld on a pod: it cannot be removed yet without the pod losing its own endpoint to kube-proxy.
	EventHeld = "StaleEndpointHeld"
	// EventNotRemoved on a pod: removing it did not work.
	EventNotRemoved = "StaleEndpointNotRemoved"
	// EventOrphanCap on the node: there are more orphans than may be removed at one time.
	EventOrphanCap = "TooManyOrphanEndpoints"
)

// The action of every Event, which is what the guard was about.
const eventAction = "Guarding"

// eventOnPods makes one Event on each pod that a verdict is about.
func (g *Guard) eventOnPods(v verdict.Verdict, kind, reason, note string, args ...any) {
	for _, key := range v.Pods {
		g.Events.Eventf(podReference(key), nil, kind, reason, eventAction, note, args...)
	}
}

func podReference(key types.NamespacedName) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: key.Namespace, Name: key.Name}
}

// nodeReference names the node as the kubelet does in its own Events, so that kubectl describe shows both.
func nodeReference(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}
}

// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"
)

// ManagedBy is the label [discoveryv1.LabelManagedBy] of the slices of hnsguard's own Service. Those for the Services
// of others have a hyphen and more after it.
const ManagedBy = "hnsguard"

// The marks of a keep-slice: its label, and the annotation that names the node it is for. A label cannot hold every
// node's name.
const (
	ManagedByKeep  = ManagedBy + "-keep"
	AnnotationNode = "hnsguard.io/node"
)

// Keep is an address that a keep-slice of a node lists, so that its Service cannot drop it.
type Keep struct {
	Service types.NamespacedName
	Node    string
	Address netip.Addr
}

// Name is the name of the keep-slice. It is the same whenever one is needed, so that there is only one.
func (k Keep) Name() string {
	sum := sha256.Sum256([]byte(k.String()))
	return ManagedByKeep + "-" + hex.EncodeToString(sum[:8])
}

// String tells keeps apart.
func (k Keep) String() string { return k.Service.String() + "/" + k.Address.String() + "/" + k.Node }

// Keeps yields what a keep-slice keeps; a nil slice keeps nothing. An address that the slice lists on its own node is
// not kept: to that node's kube-proxy it is local, and does not count. Nor is one in a slice of another name, which no
// agent wrote.
func (s *Slice) Keeps() iter.Seq[Keep] {
	return func(yield func(Keep) bool) {
		if s == nil || s.KeptFor == "" {
			return
		}
		for addr := range s.AddressesElsewhere(s.KeptFor) {
			keep := Keep{Service: s.ServiceKey(), Node: s.KeptFor, Address: addr}
			if keep.Name() == s.Key.Name && !yield(keep) {
				return
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"
)

// ManagedBy is the label [discoveryv1.LabelManagedBy] of the slices of hnsguard's own Service. For slices of other
// Services, a hyphen and a suffix follow.
const ManagedBy = "hnsguard"

// The marks of a keep-slice: its label, and the annotation that names its node. A label cannot hold every node name.
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

// Name returns the name of the keep-slice. The same keep always has the same name, so that there is only one slice.
func (k Keep) Name() string {
	sum := sha256.Sum256([]byte(k.String()))
	return ManagedByKeep + "-" + hex.EncodeToString(sum[:8])
}

// String returns a unique text for the keep.
func (k Keep) String() string { return k.Service.String() + "/" + k.Address.String() + "/" + k.Node }

// Keeps yields the keeps of a keep-slice; a nil slice has none. An address that the slice lists on its own node is not
// kept: that node's kube-proxy takes it for local and ignores it. Nor is an address in a slice with another name, which
// no agent wrote.
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

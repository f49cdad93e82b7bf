// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// The addresses of the story.
const (
	removed   = "10.240.0.21"
	heldBack  = "10.240.0.17"
	leaked    = "10.240.0.44"
	contested = "10.240.0.31"
	left      = "10.240.2.99"
)

// tell lets a morning go by on a busy node: backends elsewhere, pods here, an outage of HNS, and what hnsguard is for.
func (n *node) tell() {
	var listed []string
	for i := range 18 {
		addr := fmt.Sprintf("10.240.2.%d", 10+i)
		n.Remote(addr)
		listed = append(listed, addr)
	}
	n.Slice("checkout-x7k2p", "lin-1", listed[:9]...)
	n.Slice("search-b94vq", "lin-2", listed[9:]...)
	for i, name := range []string{"billing-0", "billing-1", "reports-6d5f9-2xkqz", "sign-on-7bc8d-hj4wm"} {
		addr := fmt.Sprintf("10.240.0.%d", 10+i)
		n.Local(addr)
		n.Pod(name, addr)
	}
	n.pass()
	n.Wait(20 * time.Minute)
	n.outage()
	n.Wait(2 * time.Minute)

	n.reuse("cart-0", removed, 4*time.Second)
	n.Forget()
	n.pass()
	n.Wait(time.Second)
	n.pass()
	n.flush("IPv4")
	n.Wait(7 * time.Minute)

	n.victim("reports-6d5f9-9ttl2", "10.240.0.15")
	n.Wait(90 * time.Second)

	n.Remote(leaked)
	n.Endpoint(leaked, 0)
	n.Slice("ledger-m3xw8", "lin-2", leaked)
	n.Conflict("sign-on-7bc8d-p0c4f", contested)
	n.Pod("sign-on-7bc8d-p0c4f", contested, nodetest.Deleting)
	n.Remote(left)
	n.pass()
	n.Wait(40 * time.Second)

	n.reuse("cart-1", heldBack, 0)
	n.Slice("wishlist-c8r2t", "lin-1", heldBack)
	n.pass()
	n.Wait(5 * time.Second)
	n.pass()
}

func (n *node) outage() {
	n.HNS.Fail(hns.OpListEndpointIDs, fmt.Errorf("listing endpoints: %w", hns.ErrTimeout))
	for range 6 {
		n.pass()
		n.Wait(5 * time.Second)
	}
	n.HNS.Heal()
	n.pass()
}

// reuse gives a pod the address of a remote endpoint. The entry is that of the meter of reuse, which is not here.
func (n *node) reuse(pod, addr string, after time.Duration) {
	n.Conflict(pod, addr)
	result := history.Dropped
	if after == 0 {
		result = history.Listed
	}
	n.history.Add(history.Entry{
		Act: history.Reuse, Result: result, Address: netip.MustParseAddr(addr), Pods: []string{"default/" + pod},
	}.Took(after))
}

// flush and victim add entries that come from actions that are not here.
func (n *node) flush(family string) {
	n.history.Add(history.Entry{Act: history.Flush, Result: "written", Subject: family})
}

func (n *node) victim(pod, addr string) {
	n.history.Add(history.Entry{
		Act: history.Victim, Address: netip.MustParseAddr(addr), Pods: []string{"default/" + pod},
	})
}

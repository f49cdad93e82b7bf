// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Node is one Windows node: its HNS, its kube-proxy, its kubelet with the CNI, and the agents under test.
type Node struct {
	Name      string
	HNS       *hnstest.HNS
	KubeProxy *KubeProxy
	Agents    []*Agent
	// Written are kube-proxy's writes to HNS, if the play records them.
	Written []ProxyWrite

	world   *World
	network hns.Network
	service *service
	// frozen is the end of the time in which nothing on the node runs.
	frozen time.Time
	// made counts the created endpoints by address and kind, so that IDs are the same in every play.
	made map[string]int
	// pods are the pods of local endpoints.
	pods map[hns.EndpointID]*Pod
	// born is the order in which endpoints were created.
	born map[hns.EndpointID]int
	// taken are the remote endpoints that agents deleted, and touched the addresses of the endpoints that they deleted or
	// created.
	taken   []taken
	touched map[netip.Addr]bool
	// looked is when kube-proxy last enumerated the endpoints to look up an address.
	looked map[netip.Addr]time.Time
	// metricsDown is set while kube-proxy does not serve its metrics.
	metricsDown bool
}

func newNode(w *World, index int) *Node {
	n := &Node{
		Name: fmt.Sprintf("win-%d", index+1), world: w, service: newService(w, w.Setup.Latency),
		made: map[string]int{}, pods: map[hns.EndpointID]*Pod{}, born: map[hns.EndpointID]int{},
		touched: map[netip.Addr]bool{}, looked: map[netip.Addr]time.Time{},
	}
	n.HNS = hnstest.New(hnstest.Options{
		Duplicates: w.Setup.Duplicates, Order: w.Setup.Order, Clock: w.clock, NewID: n.newID,
		Rank: func(id hns.EndpointID) uint64 { return n.rank(id, w.Now()) },
	})
	layout := w.Setup.Layout
	if layout.Pods.Name == "" {
		layout.Pods = hnstest.LayoutNetwork{Name: "azure", Type: hns.NetworkL2Bridge}
	}
	n.network = n.HNS.Build(layout)
	n.createForeign()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name}}
	node.Status.NodeInfo.KubeProxyVersion = w.Setup.NodeVersion //nolint:staticcheck // old kubelets still set it
	w.API.Put(node)
	return n
}

// createForeign creates a remote endpoint that nothing claims and that is not kube-proxy's, like those of some CNIs.
func (n *Node) createForeign() {
	_, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{
		Network: n.network.ID, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 240, 255, 1})}, Flags: hns.FlagRemote,
		MAC: hns.MAC{0x0e, 0x2a},
	})
	if err != nil {
		n.world.violated(InvariantModel, "%s: making a foreign endpoint: %v", n.Name, err)
	}
}

// newID returns an ID for an endpoint that is the same in every play of a history, whatever other endpoints exist.
func (n *Node) newID(of string) string {
	n.made[of]++
	h := fnv.New128a()
	for _, s := range []string{strconv.FormatUint(n.world.Setup.Seed, 10), n.Name, of, strconv.Itoa(n.made[of])} {
		_, _ = h.Write([]byte(s)) // a hash never fails
		_, _ = h.Write([]byte{0})
	}
	// FNV mixes the last bytes badly, but the order of IDs must look random.
	id := uuid.NewSHA1(uuid.NameSpaceOID, h.Sum(nil)).String()
	n.born[hns.EndpointID(id)] = len(n.born) + 1
	return id
}

// rank returns the position of an endpoint in lists of random order. All lists of one instant agree.
func (n *Node) rank(id hns.EndpointID, at time.Time) uint64 {
	const places = 1 << 40
	return uint64(n.world.roll(places, "rank", n.Name, string(id), at.Sub(n.world.start).String()))
}

// addressOf returns the address of a node, which may run Linux.
func (w *World) addressOf(node string) netip.Addr {
	for at, n := range w.Nodes {
		if n.Name == node {
			return netip.AddrFrom4([4]byte{10, 0, 0, byte(at + 1)})
		}
	}
	return linuxAddress()
}

func linuxAddress() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, 101}) }

// standsBehind reports whether HNS enumerated an endpoint, which may be gone, after another one at that time.
func (n *Node) standsBehind(id, other hns.EndpointID, at time.Time) bool {
	switch n.world.Setup.Order {
	case hnstest.Random:
		return n.rank(id, at) > n.rank(other, at)
	case hnstest.NewestFirst:
		return n.born[id] < n.born[other]
	case hnstest.ByID:
		return id > other
	default:
		return n.born[id] > n.born[other]
	}
}

func (n *Node) latencyOf(calls int) time.Duration { return time.Duration(calls) * n.service.latency }

// frozenFor returns how long the node remains frozen.
func (n *Node) frozenFor() time.Duration { return max(0, n.frozen.Sub(n.world.Now())) }

// Freeze stops everything on the node for some time, like a host that pauses a machine. Clocks continue.
func (n *Node) Freeze(d time.Duration) {
	n.world.tell(ActorHistory, "%s: freezes for %s", n.Name, d)
	n.frozen = n.world.Now().Add(d)
}

func (n *Node) stop() {
	for _, a := range n.Agents {
		a.stop()
	}
	n.service.release()
}

// opCreateRemoteEndpoint is an operation of kube-proxy that hnsguard does not use.
const opCreateRemoteEndpoint hns.Operation = "create_remote_endpoint"

// createRemote creates a remote endpoint like kube-proxy's.
func (n *Node) createRemote(addr netip.Addr, actor Actor) (hns.Endpoint, error) {
	if err := n.service.fault(opCreateRemoteEndpoint); err != nil {
		return hns.Endpoint{}, err
	}
	made, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{
		Network: n.network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
	})
	if err == nil {
		n.world.tell(actor, "%s: made remote endpoint %s for %s", n.Name, made.ID, addr)
	}
	return made, err
}

// delete deletes an endpoint, and records whose it was.
func (n *Node) delete(id hns.EndpointID, actor Actor) error {
	if err := n.service.fault(hns.OpDeleteEndpoint); err != nil {
		return err
	}
	endpoint, err := n.HNS.Endpoint(context.Background(), id)
	if err != nil {
		return err
	}
	if err := n.HNS.DeleteEndpoint(context.Background(), id); err != nil {
		return err
	}
	if pod := n.pods[id]; pod != nil && actor != ActorKubelet {
		pod.endpointTaken(actor)
	}
	if endpoint.Remote() {
		n.world.tell(actor, "%s: deleted remote endpoint %s of %s", n.Name, id, endpoint.Addresses)
	}
	return nil
}

// endpoint returns the endpoint that HNS has under an ID now.
func (n *Node) endpoint(id hns.EndpointID) (hns.Endpoint, bool) {
	all := n.HNS.State().Endpoints
	at := slices.IndexFunc(all, func(e hns.Endpoint) bool { return e.ID == id })
	if at < 0 {
		return hns.Endpoint{}, false
	}
	return all[at], true
}

// Remotes returns kube-proxy's remote endpoints on the pod network, in HNS's order.
func (n *Node) Remotes() []hns.Endpoint {
	return slices.DeleteFunc(n.HNS.State().Endpoints, func(e hns.Endpoint) bool {
		return !e.Remote() || e.Network != n.network.ID || !kubeproxy.Owns(e)
	})
}

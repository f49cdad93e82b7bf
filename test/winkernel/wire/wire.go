// SPDX-License-Identifier: Apache-2.0

// Package wire is what a world and the program with kube-proxy's code tell each other: JSON, one value a line. The
// world asks, and gets one answer to each request. While kube-proxy calls HNS, the answer is that call, and the world's
// next requests may be events; the call goes on with a request of kind [Reply].
//
// The program is built with this file too. It therefore imports nothing.
package wire

// Kind says what a request is.
type Kind string

// The kinds of requests.
const (
	// Start: a kube-proxy starts, and forgets everything. What another one was doing ends at once.
	Start Kind = "start"
	// Service and Slice: an object changed. Delete says that it is gone.
	Service Kind = "service"
	Slice   Kind = "slice"
	// Synced: all objects that there were at the start have been told, which is followed by a sync.
	Synced Kind = "synced"
	// Sync runs the sync.
	Sync Kind = "sync"
	// Reply answers the call of the last message.
	Reply Kind = "reply"
)

// Request is what the world says.
type Request struct {
	Kind Kind
	// Seed is all chance that there is: in which order kube-proxy goes through its maps. Zero is no chance: a small map is
	// gone through in the order in which it was filled.
	Seed uint64
	// Node and Network name the node and the network of its pods. CanUpdate says whether HNS can update load balancers.
	Node, Network string
	CanUpdate     bool
	// Object is the Service or EndpointSlice, as JSON.
	Object []byte
	Delete bool
	Reply  *Result
}

// Message is what the program says. Without a call, what was asked for is done.
type Message struct {
	Call *Call
	// Wants is set if the event makes kube-proxy ask for a sync.
	Wants bool
	// Started describes the kube-proxy that has started.
	Started *Started
	// Record is what kube-proxy has in terminatedEndpoints now. It is null after an event.
	Record []string
	// Batch are the Services whose changes of endpoints were processed since the last message, in order.
	Batch []string
	// Failed is why the program cannot do what was asked for.
	Failed string
}

// Started is what a kube-proxy has chosen for itself.
type Started struct {
	// MinSeconds and MaxSeconds are the shortest and the longest time between two syncs.
	MinSeconds, MaxSeconds float64
	// Burst is set if its runner lets two syncs run back to back.
	Burst bool
}

// Op is a call to HNS.
type Op string

// The calls.
const (
	GetNetwork         Op = "get network"
	ListEndpoints      Op = "list endpoints"
	GetEndpoint        Op = "get endpoint"
	CreateEndpoint     Op = "create endpoint"
	DeleteEndpoint     Op = "delete endpoint"
	ListLoadBalancers  Op = "list load balancers"
	GetLoadBalancer    Op = "get load balancer"
	CreateLoadBalancer Op = "create load balancer"
	UpdateLoadBalancer Op = "update load balancer"
	DeleteLoadBalancer Op = "delete load balancer"
	// Completed is no call: kube-proxy has programmed all Services, and will now go through its record.
	Completed Op = "completed"
)

// Call is a call to HNS, or [Completed].
type Call struct {
	Op           Op
	ID           string        `json:",omitempty"`
	Endpoint     *Endpoint     `json:",omitempty"`
	LoadBalancer *LoadBalancer `json:",omitempty"`
}

// Result is what came of a call.
type Result struct {
	// Code is the error's, or zero. Text is said of it.
	Code          uint32         `json:",omitempty"`
	Text          string         `json:",omitempty"`
	Network       *Network       `json:",omitempty"`
	Endpoints     []Endpoint     `json:",omitempty"`
	LoadBalancers []LoadBalancer `json:",omitempty"`
}

// Network is an HNS network.
type Network struct{ ID, Name, Type string }

// Endpoint is an HNS endpoint.
type Endpoint struct {
	ID, Network, MAC string
	Addresses        []string
	Remote           bool
}

// LoadBalancer is an HNS load balancer.
type LoadBalancer struct {
	ID           string
	Endpoints    []string
	FrontendVIPs []string
	Protocol     uint32
	// InternalPort and ExternalPort are those of its one port mapping.
	InternalPort, ExternalPort uint16
}

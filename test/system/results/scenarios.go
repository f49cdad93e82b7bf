// SPDX-License-Identifier: Apache-2.0

package results

import "slices"

// Scenario describes a scenario for readers.
type Scenario struct {
	// Name is the scenario's name in the system test.
	Name string
	// Story is what happens, in one or two sentences.
	Story string
	// Headline is the name of the scenario's row in the README. Scenarios without one only appear there if they end badly
	// with hnsguard.
	Headline string
}

// Scenarios returns all scenarios in the order of the page: first the faults, then what must not happen.
func Scenarios() []Scenario { return slices.Concat(reuses(), leaks(), remaining(), safeties()) }

// reuses returns the scenarios in which an address is reused while kube-proxy still processes its old pod.
func reuses() []Scenario {
	return []Scenario{
		{
			Name: "stale record",
			Story: "A Linux pod ends properly and kube-proxy deletes its remote endpoint. Then a Windows pod " +
				"gets the address.",
			Headline: "A Windows pod gets the address of a Linux pod that has ended (*stale record*)",
		},
		{
			Name: "reuse before drop, local enumerated last",
			Story: "A Windows pod gets the address while an EndpointSlice still lists the old pod as terminating; " +
				"a second later the slice drops it. HNS lists the Windows pod's endpoint after the stale one.",
			Headline: "The same, while an EndpointSlice still lists the Linux pod (*reuse before drop*)",
		},
		{
			Name:  "reuse before drop, local enumerated first",
			Story: "The same, but HNS lists the Windows pod's endpoint before the stale one.",
		},
		{
			Name: "late drop, another change after it, local enumerated first",
			Story: "A Windows pod gets the address while a slice still lists it. kube-proxy has just synced, so it " +
				"processes the drop 10 seconds late; after that another Service changes. HNS lists the pod's endpoint " +
				"first.",
		},
		{
			Name:  "late drop, another change after it, local enumerated last",
			Story: "The same, but HNS lists the pod's endpoint last.",
		},
		{
			Name: "repacked slices, local enumerated first",
			Story: "The address moves between two EndpointSlices several times, and is listed in neither for a " +
				"moment.",
		},
		{
			Name:  "slice lag",
			Story: "A Windows pod gets the address, and the EndpointSlice lists the old pod as ready all the time.",
		},
	}
}

// leaks returns the scenarios with leaked endpoints.
func leaks() []Scenario {
	return []Scenario{
		{
			Name:     "leaked duplicate",
			Story:    "kube-proxy has forgotten a remote endpoint, and a Windows pod gets its address.",
			Headline: "A Windows pod gets the address of a remote endpoint that kube-proxy has forgotten (*leaked duplicate*)",
		},
		{
			Name: "leaked duplicate, networks of AKS",
			Story: "The same, on a node that has a network `ext` of the same type next to `azure`. `KUBE_NETWORK` " +
				"names the network for kube-proxy; hnsguard finds it.",
		},
		{
			Name: "leaked duplicate, networks of EKS",
			Story: "The same, on a node whose network has a hardware address in its name, and its type in lower case: " +
				"`vpcbr0a1b2c3d4e5f`, `l2bridge`.",
		},
		{
			Name:     "batch leak",
			Story:    "8 Services with 10 endpoints each lose all of them at once.",
			Headline: "8 Services lose all of their 80 endpoints at once (*batch leak*)",
		},
		{
			Name: "refused duplicate",
			Story: "A forgotten remote endpoint is in the way of a new pod, on an HNS that refuses a second " +
				"endpoint of an address.",
		},
		{
			Name: "local backend, local enumerated first",
			Story: "A forgotten remote endpoint has the address of a Windows pod that backs a Service. HNS lists " +
				"the pod's endpoint first.",
		},
		{
			Name:  "local backend, local enumerated last",
			Story: "The same, but HNS lists the pod's endpoint last.",
		},
		{
			Name: "local backend, hnsguard late, reprogramming on",
			Story: "As above with the pod's endpoint listed first, but hnsguard starts only after kube-proxy has " +
				"programmed the Service. `reprogram.mode` is `enforce`.",
		},
		{
			Name:  "local backend, hnsguard late, reprogramming on, HNS updates load balancers",
			Story: "The same on an HNS of version 15.5, on which kube-proxy updates load balancers in place.",
		},
		{
			Name: "local backend, hnsguard late, reprogramming on, HNS ignores updates",
			Story: "The same on an HNS of version 15.4, which is reported to ignore the update " +
				"([k/k#131466](https://github.com/kubernetes/kubernetes/issues/131466)). Kube-proxies before 1.32.6 and 1.33.2 " +
				"rely on it; later ones delete the load balancer and create another.",
		},
		{
			Name: "load balancer deleted by another, reprogramming on",
			Story: "Another program deletes the load balancer of a Service. Nothing else changes. `reprogram.mode` is " +
				"`enforce`.",
		},
		{
			Name: "leaked local with a valid remote",
			Story: "A CNI has left a local endpoint behind, and its address now belongs to a healthy pod on " +
				"another node.",
		},
	}
}

// remaining returns the scenarios of faults that the latest versions of kube-proxy still have.
func remaining() []Scenario {
	return []Scenario{
		{
			Name: "given-up sync",
			Story: "While an EndpointSlice drops an address, endpoints vanish each time that kube-proxy lists them, so that " +
				"it gives up its syncs for 3 seconds.",
		},
		{
			Name: "load balancer fails once",
			Story: "HNS refuses the load balancer of a Service for some seconds (0x803b0013). When it is there, an " +
				"EndpointSlice drops one of its addresses.",
		},
		{
			Name:  "kube-proxy restarted while an address is dropped",
			Story: "kube-proxy is killed, an EndpointSlice drops an address, and kube-proxy starts again.",
		},
		{
			Name: "HNS hiccup, reprogramming on",
			Story: "HNS answers no call for some seconds (0x6be), and has everything afterwards. `reprogram.mode` is " +
				"`enforce`.",
		},
	}
}

// safeties returns the scenarios without faults, or with many events at once.
func safeties() []Scenario {
	return []Scenario{
		{
			Name:  "healthy churn",
			Story: "For two minutes pods of five Services come and go on other nodes. Nothing is wrong.",
		},
		{
			Name:  "healthy churn, reprogramming on",
			Story: "The same. No Service is programmed again.",
		},
		{
			Name:  "hostNetwork pod",
			Story: "A HostProcess pod has the node's own address, and so has a remote endpoint.",
		},
		{
			Name: "foreign remotes",
			Story: "There are remote endpoints of Calico, Flannel and Microsoft's health probe, which kube-proxy " +
				"did not make.",
		},
		{
			Name: "overlay with Service VIPs and source VIP",
			Story: "On an overlay network kube-proxy has made endpoints for the addresses of Services and for its " +
				"source address.",
		},
		{
			Name:  "dual stack",
			Story: "A Windows pod gets the IPv4 and the IPv6 address of two forgotten remote endpoints.",
		},
		{
			Name:  "installed late",
			Story: "hnsguard starts on a node that has dozens of duplicates and orphans.",
		},
		{
			Name: "many orphans, a new Service meanwhile",
			Story: "A Service is created while hnsguard removes 300 orphans. kube-proxy gives up a sync when an endpoint " +
				"vanishes while it lists them.",
		},
		{
			Name: "kube-proxy restarted meanwhile",
			Story: "kube-proxy is killed, a Windows pod gets an address of another node, and kube-proxy starts " +
				"again.",
		},
		{
			Name: "hnsguard killed meanwhile",
			Story: "hnsguard is killed, a Windows pod gets the address of a forgotten remote endpoint, and " +
				"hnsguard starts again.",
		},
	}
}

// SPDX-License-Identifier: Apache-2.0

package contract

import "context"

// Assumption is something that hnsguard assumes of Windows. Its texts are Markdown.
type Assumption struct {
	// ID is the name of the assumption in results. It never changes.
	ID string
	// Statement is the assumption. RestsOn is what hnsguard decides because of it, or what happens if it is wrong.
	Statement, RestsOn string
	// Check is what the check does, or how a user can check it.
	Check string
	// Source is the reason for the assumption.
	Source string

	// try returns what it saw, a refuted error, or any other error if HNS did not get as far as the question. It is nil if
	// a program cannot check the assumption.
	try func(context.Context, *bench) (saw string, err error)
}

// Checked reports whether a run tries the assumption.
func (a Assumption) Checked() bool { return a.try != nil }

// Assumptions returns all assumptions.
func Assumptions() []Assumption {
	var all []Assumption
	all = append(all, ofDuplicates()...)
	all = append(all, ofEndpoints()...)
	all = append(all, ofLoadBalancers()...)
	all = append(all, ofTheService()...)
	return append(all, ofWindows()...)
}

const (
	reports = "reports of users"
	sources = "the sources of hcsshim and kube-proxy"
	silence = "nothing says otherwise"
)

// ofDuplicates returns the assumptions about endpoints that share an address.
func ofDuplicates() []Assumption {
	return []Assumption{{
		ID: "remote-beside-local", Statement: "HNS creates a remote endpoint with the address of a local one.",
		RestsOn: "Where HNS refuses it, kube-proxy leaves no stale endpoint alongside a pod that was there first.",
		Check:   "creates both", Source: reports + ", of L2Bridge on Windows Server 2019 and 2022", try: remoteBesideLocal,
	}, {
		ID: "local-beside-remote", Statement: "HNS creates a local endpoint with the address of a remote one.",
		RestsOn: "Where HNS refuses it, a pod waits until the stale endpoint is gone: " +
			"an orphan that blocks a waiting pod is removed sooner.",
		Check: "creates both", Source: reports + ", of L2Bridge on Windows Server 2019 and 2022", try: localBesideRemote,
	}, {
		ID: "remote-beside-remote", Statement: "HNS creates a second remote endpoint with an address.",
		RestsOn: "Each is judged for itself. Where HNS refuses it, there is never more than one.",
		Check:   "creates both", Source: reports, try: remoteBesideRemote,
	}, {
		ID: "second-local-refused", Statement: "HNS refuses a second local endpoint with an address.",
		RestsOn: "Where HNS allows it, one that a CNI left behind stands alongside the pod's. hnsguard reports it, " +
			"and deletes neither.",
		Check: "creates both", Source: reports + " (0x803b002f); one report says that it is allowed", try: secondLocal,
	}, {
		ID: "one-of-two", Statement: "HNS deletes the endpoint whose ID is given, and no other one with its address.",
		RestsOn: "The pod's endpoint stays when the stale one is removed. **If this is wrong, do not enforce.**",
		Check:   "deletes a remote endpoint alongside a local one", Source: silence, try: deletesOneOfTwo,
	}}
}

func ofEndpoints() []Assumption {
	return []Assumption{{
		ID: "oldest-first", Statement: "HNS lists endpoints oldest first.",
		RestsOn: "Nothing in hnsguard, and HNS promises no order. An affected kube-proxy deletes what is listed last.",
		Check:   "lists 100 times, with a change before each list", Source: "hcsshim#2231: no order", try: order,
	}, {
		ID: "listed-when-made", Statement: "An endpoint is listed as soon as it is created.",
		RestsOn: "What is not listed is absent. Where it is listed late, a pod's endpoint is seen late.",
		Check:   "creates 20, and lists after each", Source: silence, try: listedWhenMade,
	}, {
		ID: "gone-when-deleted", Statement: "An endpoint is gone as soon as its deletion returns.",
		RestsOn: "Where it is not, hnsguard reports an endpoint that it could not remove, and tries again later.",
		Check:   "deletes 20; lists and reads after each", Source: silence, try: goneWhenDeleted,
	}, {
		ID: "not-found", Statement: "For an endpoint that is not there, HNS answers with a code that hnsguard knows.",
		RestsOn: "An unknown code is a failure, after which the pass deletes nothing more.",
		Check:   "reads and deletes one that was deleted, and one that never was", Source: sources, try: notFound,
	}, {
		ID: "remote-as-given", Statement: "A remote endpoint keeps its network, address, hardware address and flag.",
		RestsOn: "By these hnsguard knows an endpoint of kube-proxy. All others stay.",
		Check:   "creates one, and reads it", Source: reports, try: endpointAsGiven,
	}, {
		ID: "local-as-given", Statement: "A local endpoint has its network and address, and not the flag of a remote one.",
		RestsOn: "A local endpoint is never deleted.",
		Check:   "creates one, and reads it", Source: reports, try: localAsGiven,
	}, {
		ID: "ids-are-new", Statement: "The ID of an endpoint never comes to mean another endpoint.",
		RestsOn: "Endpoints are deleted by ID. Each is read again and compared before that.",
		Check:   "creates and deletes 20 with one address", Source: silence, try: idsAreNew,
	}, {
		ID: "attached-shows", Statement: "A local endpoint that a pod uses shows its namespace; one that none uses, none.",
		RestsOn: "An endpoint without namespace and containers counts as not attached, and the remote one is kept.",
		Check:   "creates two, attaches one, and reads both", Source: sources, try: attachedShows,
	}, {
		ID: "detached-shows", Statement: "An endpoint stays when its namespace is deleted, and shows none.",
		RestsOn: "So hnsguard finds what a CNI has left behind. One that still shows a namespace is not reported.",
		Check:   "deletes the namespace of an endpoint", Source: reports, try: detachedShows,
	}, {
		ID: "outside-subnet", Statement: "HNS creates a remote endpoint with an address outside of the network's subnets.",
		RestsOn: "Nothing in hnsguard. kube-proxy needs it for pods of nodes with other subnets.",
		Check:   "creates one with 198.51.99.77", Source: reports, try: outsideSubnet,
	}, {
		ID: "documentation-address", Statement: "HNS creates a remote endpoint with an address of 198.51.100.0/24.",
		RestsOn: "The proof that kube-proxy has forgotten an address waits for such an endpoint. Where HNS refuses it, " +
			"[what is held stays](runbooks/HNSGuardKubeProxyBehind.md), and an alert says so.",
		Check: "creates one with 198.51.100.77", Source: silence, try: documentation,
	}}
}

func ofLoadBalancers() []Assumption {
	return []Assumption{{
		ID: "backend-deleted", Statement: "HNS deletes a remote endpoint while a load balancer refers to it.",
		RestsOn: "Where HNS refuses it, the deletion fails, is reported, and is tried again with backoff.",
		Check:   "deletes one of two backends", Source: reports, try: deletesBackend,
	}, {
		ID: "balancer-dangles", Statement: "A load balancer keeps the ID of a backend that was deleted.",
		RestsOn: "By that hnsguard finds `dangling` load balancers. Where the ID goes, they are `stale` ones.",
		Check:   "deletes one of two backends, and reads", Source: reports, try: balancerDangles,
	}, {
		ID: "balancer-as-given", Statement: "A load balancer keeps its frontends, ports and backends.",
		RestsOn: "A backend is no orphan. By the frontend hnsguard knows the Service.",
		Check:   "creates one, and reads it", Source: sources, try: balancerAsGiven,
	}, {
		ID: "balancers-vanish", Statement: "Load balancers can be listed while some of them vanish.",
		RestsOn: "Where a list fails, it is read again later, and nothing is concluded from it.",
		Check:   "lists while 20 are deleted", Source: sources, try: balancersVanish,
	}, {
		ID:        "balancer-updates",
		Statement: "HNS 15.5 and later update a load balancer in place; 15.4 ignores it; earlier ones refuse it.",
		RestsOn:   "Reprogramming leaves missing load balancers alone where kube-proxy may update in place.",
		Check:     "takes one of two backends away", Source: "hnslib, kubernetes#131466", try: updates,
	}, {
		ID: "frontend-twice", Statement: "HNS creates a second load balancer with the frontend and port of another.",
		RestsOn: "Each is judged for itself. Where HNS refuses it, one failed creation makes kube-proxy leak.",
		Check:   "creates both", Source: "none; kube-proxy has met 0x803b0013 and 0xb7", try: frontendTwice,
	}}
}

func ofTheService() []Assumption {
	return []Assumption{{
		ID: "network-listed", Statement: "A network is listed with its name and type.",
		RestsOn: "hnsguard finds the network of the pods by these, or decides nothing.",
		Check:   "looks for the network of the run", Source: reports, try: networkListed,
	}, {
		ID: "tells-version", Statement: "HNS reports its version.",
		RestsOn: "Where it does not, reprogramming assumes that kube-proxy updates in place.",
		Check:   "queries `/globals/version`", Source: sources, try: tellsVersion,
	}, {
		ID: "fast", Statement: "With 1,000 endpoints, a list of IDs and the read of an endpoint take less than 10 seconds.",
		RestsOn: "A call that takes longer than `hns.callTimeout` is given up, and the pass decides nothing.",
		Check:   "measures with 10, 100 and 1,000", Source: reports + ", of milliseconds", try: fast,
	}, {
		ID: "together", Statement: "HNS serves calls that are made at the same time.",
		RestsOn: "Load balancers are read alongside the passes.",
		Check:   "lists and deletes 8 at the same time", Source: silence, try: together,
	}, {
		ID: "local-system", Statement: "LocalSystem, the account of the agent, may create and delete endpoints.",
		RestsOn: "Where it may not, the deletion fails and is reported.",
		Check:   "creates and deletes one, if it runs as LocalSystem", Source: "documentation", try: localSystem,
	}, {
		ID: "calls-hang", Statement: "A call to HNS can hang.",
		RestsOn: "It is given up after `hns.callTimeout`; after 8 of them no more calls are made.",
		Check:   "cannot be provoked", Source: reports,
	}, {
		ID: "down-codes", Statement: "While HNS is stopped, its calls fail with a code that hnsguard knows, such as 0x6b5.",
		RestsOn: "Another code is a failure too, after which the pass deletes nothing.",
		Check:   "`Stop-Service hns`, run it, and see whether it prints `HNS is unavailable`", Source: sources,
	}, {
		ID: "restart-loses", Statement: "A restart of HNS loses endpoints and load balancers, and networks get new IDs.",
		RestsOn: "hnsguard looks for the network again, and reports pods that have lost theirs.",
		Check:   "`Get-HnsEndpoint` before and after `Restart-Service hns`",
		Source:  reports + "; newer builds restore some of it",
	}}
}

// ofWindows returns the assumptions that are not about HNS.
func ofWindows() []Assumption {
	return []Assumption{{
		ID: "shutdown", Statement: "A HostProcess container gets Ctrl-Shutdown about five seconds before it is killed.",
		RestsOn: "Nothing: hnsguard keeps no state that has to be saved.",
		Check:   "the agent's last log line", Source: "documentation",
	}, {
		ID: "mounts",
		Statement: "containerd 1.6 mounts volumes below `$CONTAINER_SANDBOX_MOUNT_POINT`, " +
			"and 1.7 also at their path.",
		RestsOn: "The agent tries both places.", Check: "the agent runs", Source: "the sources of containerd",
	}, {
		ID: "exec",
		Statement: "`kubectl exec` finds `hnsguard.exe` in a HostProcess container (containerd 1.7 and later), " +
			"and the runtime expands `%CONTAINER_SANDBOX_MOUNT_POINT%` (1.6).",
		RestsOn: "`hnsguard status` shows a node where it is wrong as one that does not answer.",
		Check:   "`hnsguard status`", Source: "the sources of containerd",
	}, {
		ID:        "netsh",
		Statement: "`netsh advfirewall` deletes all rules with a name, and an add of an existing name adds another.",
		RestsOn:   "The init container deletes first. At worst there are two equal rules.",
		Check:     "`netsh advfirewall firewall show rule name=hnsguard-metrics`", Source: "documentation",
	}, {
		ID: "loopback", Statement: "A HostProcess container listens on loopback of the node.",
		RestsOn: "Where it does not, there is no node page; `kubectl exec` with curl.exe shows whether it answers inside.",
		Check:   "the node page", Source: "documentation",
	}}
}

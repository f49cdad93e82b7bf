// SPDX-License-Identifier: Apache-2.0

// Package agent puts the parts together: the manager and its cache, the decorated HNS client, the inventory, the guard,
// the repairer and the detector of kube-proxy. It is the only package that knows all of them; the run command, the demo
// and the integration suite all start the agent that is made here.
package agent

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// ReadHNS reads all of HNS, whichever network is the pods'. If it cannot read some objects, it returns an error along
// with the others; the flags of the result say which are missing.
func ReadHNS(ctx context.Context, service hns.Client) (recording.HNS, error) {
	var dump recording.HNS
	var errEndpoints, errBalancers, errNetworks error
	dump.Endpoints, errEndpoints = hns.ReadEndpoints(ctx, service)
	dump.EndpointsRecorded, dump.Whole = errEndpoints == nil, true
	dump.LoadBalancers, errBalancers = service.LoadBalancers(ctx)
	dump.LoadBalancersRecorded = errBalancers == nil
	dump.Networks, errNetworks = service.Networks(ctx)
	if err := errors.Join(errEndpoints, errBalancers, errNetworks); err != nil {
		return dump, fmt.Errorf("reading HNS: %w", err)
	}
	return dump, nil
}

// ReadCluster reads what verdicts on the node need from the API server, and the given Pods on any node.
func ReadCluster(ctx context.Context, api client.Reader, node string, pods []types.NamespacedName) (
	recording.Cluster, error,
) {
	dump := recording.Cluster{PodsRecorded: true, SlicesRecorded: true, ServicesRecorded: true, Whole: true}
	var podList corev1.PodList
	if err := api.List(ctx, &podList, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return recording.Cluster{}, fmt.Errorf("listing the Pods on node %s: %w", node, err)
	}
	var sliceList discoveryv1.EndpointSliceList
	if err := api.List(ctx, &sliceList); err != nil {
		return recording.Cluster{}, fmt.Errorf("listing EndpointSlices: %w", err)
	}
	var serviceList corev1.ServiceList
	if err := api.List(ctx, &serviceList); err != nil {
		return recording.Cluster{}, fmt.Errorf("listing Services: %w", err)
	}
	dump.Pods, dump.Slices, dump.Services = pointers(podList.Items), pointers(sliceList.Items), pointers(serviceList.Items)
	return dump, errors.Join(readNode(ctx, api, node, &dump), readPods(ctx, api, pods, &dump))
}

// readNode reads the Node. The node can be judged without it if the account may not read it.
func readNode(ctx context.Context, api client.Reader, name string, dump *recording.Cluster) error {
	var node corev1.Node
	err := api.Get(ctx, client.ObjectKey{Name: name}, &node)
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading Node %s: %w", name, err)
	}
	dump.NodesRecorded, dump.Nodes = true, []*corev1.Node{&node}
	return nil
}

// readPods adds the Pods that are not in the recording yet.
func readPods(ctx context.Context, api client.Reader, names []types.NamespacedName, dump *recording.Cluster) error {
	var errs []error
	for _, name := range names {
		if podIn(*dump, name) {
			continue
		}
		var pod corev1.Pod
		err := api.Get(ctx, name, &pod)
		if apierrors.IsNotFound(err) && serviceIn(*dump, name) {
			continue // the name is that of a Service to explain
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading Pod %s: %w", name, err))
			continue
		}
		dump.Pods = append(dump.Pods, &pod)
	}
	return errors.Join(errs...)
}

func pointers[T any](items []T) []*T {
	list := make([]*T, len(items))
	for i := range items {
		list[i] = &items[i]
	}
	return list
}

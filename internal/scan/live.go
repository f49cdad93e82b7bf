// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterdump "github.com/hnsguard/hnsguard/internal/cluster/recorded"
	"github.com/hnsguard/hnsguard/internal/hns"
	hnsdump "github.com/hnsguard/hnsguard/internal/hns/recorded"
	"github.com/hnsguard/hnsguard/internal/inventory"
)

// RecordHNS records the HNS of this machine.
func RecordHNS(ctx context.Context, service hns.Client, network string) (hnsdump.Dump, error) {
	look := inventory.New(service, inventory.Options{Network: network, Clock: clock.RealClock{}})
	snapshot, err := look.Observe(ctx)
	if err != nil {
		return hnsdump.Dump{}, err
	}
	balancers, err := service.LoadBalancers(ctx)
	if err != nil {
		return hnsdump.Dump{}, fmt.Errorf("recording HNS: %w", err)
	}
	networks, err := service.Networks(ctx)
	if err != nil {
		return hnsdump.Dump{}, fmt.Errorf("recording HNS: %w", err)
	}
	dump := hnsdump.Dump{
		Networks: networks, EndpointsRecorded: true, LoadBalancers: balancers, LoadBalancersRecorded: true,
	}
	for _, e := range snapshot.Endpoints {
		dump.Endpoints = append(dump.Endpoints, e.Endpoint)
	}
	return dump, nil
}

// RecordCluster records what the API server says about the node.
func RecordCluster(ctx context.Context, api client.Reader, node string) (clusterdump.Dump, error) {
	var pods corev1.PodList
	if err := api.List(ctx, &pods, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return clusterdump.Dump{}, fmt.Errorf("listing the pods of node %s: %w", node, err)
	}
	var slices discoveryv1.EndpointSliceList
	if err := api.List(ctx, &slices); err != nil {
		return clusterdump.Dump{}, fmt.Errorf("listing EndpointSlices: %w", err)
	}
	var services corev1.ServiceList
	if err := api.List(ctx, &services); err != nil {
		return clusterdump.Dump{}, fmt.Errorf("listing Services: %w", err)
	}
	dump := clusterdump.Dump{PodsRecorded: true, SlicesRecorded: true, ServicesRecorded: true}
	for i := range pods.Items {
		dump.Pods = append(dump.Pods, &pods.Items[i])
	}
	for i := range slices.Items {
		dump.Slices = append(dump.Slices, &slices.Items[i])
	}
	for i := range services.Items {
		dump.Services = append(dump.Services, &services.Items[i])
	}
	return dump, nil
}

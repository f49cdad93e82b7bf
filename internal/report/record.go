// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"fmt"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// RecordHNS reads all of HNS, whatever the pod network is. What cannot be read is missing in the dump, whose flags say
// so, and is an error; the rest is recorded.
func RecordHNS(ctx context.Context, service hns.Client) (recording.HNS, error) {
	var dump recording.HNS
	var errEndpoints, errBalancers, errNetworks error
	dump.Endpoints, errEndpoints = recordEndpoints(ctx, service)
	dump.EndpointsRecorded = errEndpoints == nil
	dump.LoadBalancers, errBalancers = service.LoadBalancers(ctx)
	dump.LoadBalancersRecorded = errBalancers == nil
	dump.Networks, errNetworks = service.Networks(ctx)
	if err := errors.Join(errEndpoints, errBalancers, errNetworks); err != nil {
		return dump, fmt.Errorf("recording HNS: %w", err)
	}
	return dump, nil
}

// recordEndpoints reads every endpoint. One that is gone before it is read does not exist.
func recordEndpoints(ctx context.Context, service hns.Client) ([]hns.Endpoint, error) {
	ids, err := service.ListEndpointIDs(ctx)
	if err != nil {
		return nil, err
	}
	endpoints := make([]hns.Endpoint, 0, len(ids))
	for _, id := range ids {
		e, err := service.Endpoint(ctx, id)
		if errors.Is(err, hns.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

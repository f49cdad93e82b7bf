// SPDX-License-Identifier: Apache-2.0

package hcnclient

import "github.com/hnsguard/hnsguard/internal/hns"

// sentinels maps the error codes of HNS calls to the errors of package hns. An HRESULT of the form 0x8007xxxx is mapped
// by its low word. The not-found codes of other objects than endpoints and networks (a switch port, a subnet, a policy)
// are omitted on purpose: they describe a fault, not the absence of the requested object. Source of the codes:
// winerror.h.
func sentinels() map[uint32]error {
	return map[uint32]error{
		0x490:      hns.ErrNotFound,    // ERROR_NOT_FOUND, "Element not found."
		0x803b0001: hns.ErrNotFound,    // HCN_E_NETWORK_NOT_FOUND
		0x803b0002: hns.ErrNotFound,    // HCN_E_ENDPOINT_NOT_FOUND
		0x6b5:      hns.ErrUnavailable, // RPC_S_UNKNOWN_IF: the service has not registered itself yet
		0x6ba:      hns.ErrUnavailable, // RPC_S_SERVER_UNAVAILABLE
		0x6be:      hns.ErrUnavailable, // RPC_S_CALL_FAILED: the service stopped during the call
		0x6bf:      hns.ErrUnavailable, // RPC_S_CALL_FAILED_DNE: the service stopped before the call
		1062:       hns.ErrUnavailable, // ERROR_SERVICE_NOT_ACTIVE
		0x803b0020: hns.ErrUnavailable, // HCN_E_MANAGER_STOPPED
	}
}

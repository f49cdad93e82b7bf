// SPDX-License-Identifier: Apache-2.0

package hcnclient

// What the tests reach into, because HNS itself is not there to be asked.
var (
	Answer         = answer
	ToEndpoint     = toEndpoint
	ToNetwork      = toNetwork
	ToLoadBalancer = toLoadBalancer
	TranslateError = translateError
)

// SPDX-License-Identifier: Apache-2.0

// Package observe measures the calls to HNS: their duration, their failures, and the health of HNS that follows from
// them.
package observe

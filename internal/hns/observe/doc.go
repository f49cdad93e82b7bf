// SPDX-License-Identifier: Apache-2.0

// Package observe measures the calls to HNS: how long they take, how they fail, and how HNS has answered so far.
package observe

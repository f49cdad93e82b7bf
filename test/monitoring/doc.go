// SPDX-License-Identifier: Apache-2.0

// Package monitoring tests what operators see: a real Prometheus scrapes the real agent, with the rights that the chart
// grants to both, over HTTPS and with a token; promtool checks the rendered rules, with every alert both firing and
// silent; and every query of the dashboards is evaluated on the scraped data.
//
// The control plane is real too. Only HNS is simulated.
//
// $HNSGUARD_PROMETHEUS is the folder of prometheus and promtool, $HNSGUARD_HELM the path of helm and
// $KUBEBUILDER_ASSETS the folder of kube-apiserver and etcd; "make test-monitoring" sets them. Nothing keeps running,
// whatever the result.
package monitoring

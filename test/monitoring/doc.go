// SPDX-License-Identifier: Apache-2.0

// Package monitoring tests what operators see: a real Prometheus scrapes the real agent, with the rights that the chart
// gives to both, over HTTPS and with a token; its promtool checks the rules that the chart renders and lets every alert
// fire and be silent; and every query of the dashboards is evaluated on what was scraped.
//
// The control plane is a real one too. Only HNS is simulated.
//
// $HNSGUARD_PROMETHEUS says where prometheus and promtool are, $HNSGUARD_HELM where helm is and $KUBEBUILDER_ASSETS
// where kube-apiserver and etcd are; "make test-monitoring" sets them. Nothing is left running, whatever the outcome.
package monitoring

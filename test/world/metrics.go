// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// metricsScheme is the scheme of the URLs at which the world's kube-proxies serve their metrics. Agents reach them
// through their own transport, without a network.
const metricsScheme = "model"

// proxyMetrics is the transport behind [metricsScheme]: it finds the node's kube-proxy by the host of the URL.
type proxyMetrics struct{ agents sync.Map }

// transport returns the transport of this process.
//
//nolint:gochecknoglobals // all agents of the process share it
var transport = sync.OnceValue(func() *proxyMetrics { return &proxyMetrics{} })

// serve makes the metrics of the node's kube-proxy available to an agent, and returns a function that ends this.
func (t *proxyMetrics) serve(host string, a *Agent) (end func()) {
	t.agents.Store(host, a)
	return func() { t.agents.Delete(host) }
}

// RoundTrip implements [http.RoundTripper].
func (t *proxyMetrics) RoundTrip(r *http.Request) (*http.Response, error) {
	found, known := t.agents.Load(r.URL.Host)
	if !known {
		return nil, fmt.Errorf("no such host: %s", r.URL.Host)
	}
	a := found.(*Agent)
	const latency = 5_000_000 // 5 ms
	got, err := ask(r.Context(), a.node.world, a.Name, "metrics", latency, func(reply func(answer[string])) {
		reply(a.node.metrics())
	})
	switch {
	case err != nil:
		return nil, err
	case got.err != nil:
		return nil, got.err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"text/plain; version=0.0.4"}}, Body: io.NopCloser(strings.NewReader(got.value)),
	}, nil
}

// metrics returns kube-proxy's current metrics.
func (n *Node) metrics() answer[string] {
	k := n.KubeProxy
	if n.metricsDown || k.down || n.frozenFor() > 0 {
		return answer[string]{err: fmt.Errorf("dial tcp 127.0.0.1:10249: connect: connection refused")}
	}
	family, bucket := "", `{le="+Inf"}`
	if !k.Burst { // since 1.34 these have a label
		family, bucket = `{ip_family="IPv4"}`, `{ip_family="IPv4",le="+Inf"}`
	}
	var b strings.Builder
	fmt.Fprintf(&b, "kubernetes_build_info{git_version=%q} 1\n", k.Version)
	fmt.Fprintf(&b, "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram\n")
	fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_duration_seconds_bucket%s %d\n", bucket, k.stats.Finished)
	fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_duration_seconds_sum%s %f\n", family,
		k.Took.Seconds()*float64(k.stats.Finished))
	fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_duration_seconds_count%s %d\n", family, k.stats.Finished)
	if !k.stats.Succeeded.IsZero() {
		fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_last_timestamp_seconds%s %f\n", family,
			float64(k.stats.Succeeded.UnixMilli())/1000)
	}
	if !k.stats.Queued.IsZero() {
		fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds%s %f\n", family,
			float64(k.stats.Queued.UnixMilli())/1000)
	}
	fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_endpoint_changes_total %d\n", k.stats.Changes)
	fmt.Fprintf(&b, "kubeproxy_sync_proxy_rules_endpoint_changes_pending %d\n", k.stats.Pending)
	return answer[string]{value: b.String()}
}

// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/metrics"
)

// MetricsURL is where kube-proxy serves its metrics unless it is configured otherwise.
const MetricsURL = "http://127.0.0.1:10249/metrics"

// Every is how often to ask, unless there is a reason for something else.
const Every = time.Minute

// Options are what a detector is made of.
type Options struct {
	// Version is what the operator says; if it is set, nobody else is asked.
	Version string
	// Node is the name of this node.
	Node string
	// Nodes reads the node from the API server, not from a cache. It may be nil.
	Nodes client.Reader
	// URL is where kube-proxy serves its metrics, usually [MetricsURL].
	URL string
	// Every is how often to ask, usually [Every].
	Every time.Duration
	// Registerer gets the metric that tells what was found.
	Registerer prometheus.Registerer
}

// Detector holds the present answer.
type Detector struct {
	Options
	profile atomic.Pointer[kubeproxy.Profile]
	info    *prometheus.GaugeVec
}

// New makes a detector that has not asked yet.
func New(o Options) *Detector {
	d := &Detector{Options: o, info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "kube_proxy_info",
		Help: "Always 1; the labels say which kube-proxy the node runs and which faults that version has on Windows. " +
			"An unknown version counts as having all.",
	}, []string{"version", "stale_record", "batch_leak", "duplicates"})}
	o.Registerer.MustRegister(d.info)
	d.set(kubeproxy.ProfileOf(o.Version))
	return d
}

// Profile is what is known now.
func (d *Detector) Profile() kubeproxy.Profile { return *d.profile.Load() }

// Start asks until the context ends. It is a [sigs.k8s.io/controller-runtime/pkg/manager.Runnable].
func (d *Detector) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("kube-proxy")
	if d.Version != "" {
		log.Info("kube-proxy's version is configured", "profile", d.Profile())
		return nil
	}
	told := ""
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		// It returns an error when the context ends, and then there is nothing more to do.
		_ = wait.PollUntilContextCancel(ctx, min(retry, d.Every), true, func(ctx context.Context) (bool, error) {
			version, err := d.Ask(ctx)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			d.set(kubeproxy.ProfileOf(version))
			switch {
			case err != nil && told != err.Error():
				told = err.Error()
				log.Error(err, "kube-proxy's version is unknown: it is taken to have every known fault; "+
					"set --kube-proxy-version if this stays so")
			case err == nil && told != version:
				told = version
				log.Info("Found kube-proxy", "profile", d.Profile())
			}
			return err == nil, nil
		})
	}, d.Every)
	return nil
}

// retry is how soon to ask again while the version is unknown: kube-proxy may just be starting.
const retry = 10 * time.Second

// Ask asks once, and returns the first answer.
func (d *Detector) Ask(ctx context.Context) (string, error) {
	version, errMetrics := FromMetrics(ctx, d.URL)
	if errMetrics == nil {
		return version, nil
	}
	version, errNode := d.fromNode(ctx)
	if errNode == nil {
		return version, nil
	}
	return "", fmt.Errorf("finding kube-proxy's version: %w", errors.Join(errMetrics, errNode))
}

// askTimeout bounds one question. kube-proxy is on the same node.
const askTimeout = 5 * time.Second

// maxBody is how much of an answer is read: kube-proxy's metrics are far smaller.
const maxBody = 16 << 20

// FromMetrics asks the kube-proxy that serves its metrics at the URL.
func FromMetrics(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("asking kube-proxy: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking kube-proxy: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking kube-proxy at %s: %s", url, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return "", fmt.Errorf("reading the metrics of %s: %w", url, err)
	}
	for _, metric := range families["kubernetes_build_info"].GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "git_version" && label.GetValue() != "" {
				return label.GetValue(), nil
			}
		}
	}
	return "", fmt.Errorf("the metrics of %s have no kubernetes_build_info", url)
}

func (d *Detector) fromNode(ctx context.Context) (string, error) {
	if d.Nodes == nil {
		return "", errors.New("the node was not asked")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var node corev1.Node
	if err := d.Nodes.Get(ctx, client.ObjectKey{Name: d.Node}, &node); err != nil {
		return "", fmt.Errorf("reading node %s: %w", d.Node, err)
	}
	//nolint:staticcheck // deprecated because new kubelets leave it empty; old ones are the point
	if version := node.Status.NodeInfo.KubeProxyVersion; version != "" {
		return version, nil
	}
	return "", fmt.Errorf("the status of node %s does not say", d.Node)
}

func (d *Detector) set(p kubeproxy.Profile) {
	d.profile.Store(&p)
	version := p.Version
	if !p.Known {
		version = "unknown"
	}
	d.info.Reset()
	d.info.WithLabelValues(version, strconv.FormatBool(p.StaleRecord), strconv.FormatBool(p.BatchLeak),
		strconv.FormatBool(p.Duplicates)).Set(1)
}

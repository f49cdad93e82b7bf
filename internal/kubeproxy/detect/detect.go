// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/metrics"
)

// MetricsURL is the default URL of kube-proxy's metrics.
const MetricsURL = "http://127.0.0.1:10249/metrics"

// Every is the default of [Options.Every]. If a version with more faults replaces kube-proxy, the agent does not know
// these faults until the next look.
const Every = 15 * time.Second

// Options configure a detector.
type Options struct {
	// Version is the version that the operator configured. If set, the detector does not look for another one.
	Version string
	// Node is the name of this node. Required if Server is set.
	Node string
	// Server reads the node and its pods from the API server, not from a cache. Without it only metrics are read.
	Server client.Reader
	// URL is the URL of kube-proxy's metrics, usually [MetricsURL]. Without it syncs cannot be counted.
	URL string
	// Every is the interval between looks.
	// Default: [Every].
	Every time.Duration
	// Transport reaches the URL.
	// Default: a direct connection, without a proxy.
	Transport http.RoundTripper
	// Registerer gets the metrics. Required.
	Registerer prometheus.Registerer
	// Clock is the source of time. The real one by default.
	Clock clock.PassiveClock
}

// Detector has the current profile of kube-proxy. It is safe for concurrent use.
type Detector struct {
	opts    Options
	profile atomic.Pointer[kubeproxy.Profile]
	info    *prometheus.GaugeVec
	// lastSync is when kube-proxy last finished a complete sync.
	lastSync prometheus.Gauge

	mu sync.Mutex
	// synced is when kube-proxy last finished a complete sync, and syncs the number of syncs that were seen to end
	// (invariant 6).
	synced syncTimes
	syncs  uint64
	// answer is the last version found.
	answer answer

	// The following fields are only for Start. image is the result of the last read of the pods on the node.
	image     string
	imageErr  error
	imageRead time.Time
}

// answer is a version that was found.
type answer struct {
	profile kubeproxy.Profile
	from    source
	at      time.Time
}

// source is the source of a version.
type source string

const (
	sourceConfigured source = "configuration"
	sourceMetrics    source = "metrics"
	sourceImage      source = "image"
	sourceNone       source = ""
)

// New returns a detector that has not looked yet.
func New(o Options) *Detector {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Every == 0 {
		o.Every = Every
	}
	d := &Detector{opts: o, info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "kube_proxy_info",
		Help: "Always 1; the labels show which kube-proxy the node runs and which faults that version has on Windows. " +
			"An unknown version counts as having all. The source is configuration, metrics, or image (of kube-proxy's pod).",
	}, []string{"version", "source", "stale_record", "batch_leak", "duplicates", "given_up_leak", "loses_load_balancers"})}
	d.lastSync = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "kube_proxy_last_sync_timestamp_seconds",
		Help: "When kube-proxy last finished a complete sync, as its metrics say; zero if they were never read. kube-proxy " +
			"syncs every 30 seconds by itself.",
	})
	o.Registerer.MustRegister(d.info, d.lastSync)
	d.answer.profile = kubeproxy.ProfileOf(o.Version)
	if o.Version != "" {
		d.answer.from = sourceConfigured
	}
	d.set(d.answer.profile, d.answer.from)
	return d
}

// Profile returns the current profile.
func (d *Detector) Profile() kubeproxy.Profile { return *d.profile.Load() }

// Current returns the profile after reading the metrics again, if the version came from them: kube-proxy may have been
// replaced since (invariant 7). If the metrics cannot be read, the pod must confirm the version.
func (d *Detector) Current(ctx context.Context) (kubeproxy.Profile, error) {
	known := d.found()
	if known.from != sourceMetrics {
		return d.Profile(), nil
	}
	err := d.findInMetrics(ctx)
	if err == nil {
		return d.Profile(), nil
	}
	image, errImage := d.readPods(ctx)
	switch {
	case errImage != nil:
		return kubeproxy.Profile{}, fmt.Errorf("reading kube-proxy's version again: %w", errors.Join(err, errImage))
	case image != known.profile.Version:
		return kubeproxy.Profile{}, fmt.Errorf(
			"reading kube-proxy's version again: %w; its pod runs %s, and not %s as before", err, image, known.profile.Version)
	default:
		return d.Profile(), nil
	}
}

// found returns the last answer.
func (d *Detector) found() answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answer
}

// Start looks until the context ends. It is a [sigs.k8s.io/controller-runtime/pkg/manager.Runnable].
func (d *Detector) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("kube-proxy")
	if d.opts.Version != "" {
		log.Info("kube-proxy's version is configured", "profile", d.Profile())
		// Syncs are still counted. A failure to read them has no consequence.
		wait.UntilWithContext(ctx, func(ctx context.Context) { _, _ = d.readMetrics(ctx) }, d.opts.Every)
		return nil
	}
	logged := ""
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		// It only returns an error when the context ends.
		_ = wait.PollUntilContextCancel(ctx, min(retry, d.opts.Every), true, func(ctx context.Context) (bool, error) {
			err := d.Look(ctx)
			switch {
			case ctx.Err() != nil:
				return false, ctx.Err()
			case err != nil && logged != err.Error():
				logged = err.Error()
				log.Error(err, "Cannot find kube-proxy's version; set --kube-proxy-version if this persists",
					"profile", d.Profile())
			case err == nil && logged != d.Profile().Version:
				logged = d.Profile().Version
				log.Info("Found kube-proxy", "profile", d.Profile(), "source", d.found().from)
			}
			return err == nil, nil
		})
	}, d.opts.Every)
	return nil
}

// retry is the interval between looks while no version is found: kube-proxy may just be starting.
const retry = 10 * time.Second

// doubtAfter is the time without finding the version again after which kube-proxy may have been replaced.
const doubtAfter = 10 * time.Minute

// Look looks once, and updates the profile. An error means that neither kube-proxy's metrics nor its pod show the
// version.
func (d *Detector) Look(ctx context.Context) error {
	err := d.findInMetrics(ctx)
	if err == nil {
		return nil
	}
	image, errImage := d.fromPods(ctx)
	// A pod's image does not replace the version from the metrics, but can confirm it.
	known := d.found()
	if errImage == nil && (known.from != sourceMetrics || image == known.profile.Version) {
		d.find(image, cmp.Or(known.from, sourceImage))
		return nil
	}
	profile := known.profile
	if errImage == nil {
		profile = profile.Suspecting(kubeproxy.ProfileOf(image))
	}
	if hint, err := d.fromNode(ctx); err == nil {
		profile = profile.Suspecting(kubeproxy.ProfileOf(hint))
	}
	if d.opts.Clock.Since(known.at) > doubtAfter {
		profile = profile.Suspecting(kubeproxy.ProfileOf("")) // invariant 2
	}
	d.set(profile, known.from)
	return fmt.Errorf("finding kube-proxy's version: %w", errors.Join(err, errImage))
}

// readMetrics returns the version, and counts the syncs that kube-proxy has finished since the last call.
func (d *Detector) readMetrics(ctx context.Context) (string, error) {
	families, err := d.scrape(ctx)
	if err != nil {
		return "", err
	}
	if synced, err := syncTimesIn(families, d.opts.URL); err == nil {
		d.count(synced)
	}
	return versionIn(families, d.opts.URL)
}

func (d *Detector) scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	return scrape(ctx, d.opts.URL, d.opts.Transport)
}

func (d *Detector) findInMetrics(ctx context.Context) error {
	version, err := d.readMetrics(ctx)
	if err == nil {
		d.find(version, sourceMetrics)
	}
	return err
}

func (d *Detector) find(version string, from source) {
	found := answer{kubeproxy.ProfileOf(version), from, d.opts.Clock.Now()}
	d.mu.Lock()
	d.answer = found
	d.mu.Unlock()
	d.set(found.profile, from)
}

// podsEvery is the minimum time between reads of the pods on the node, which are requests to the API server.
const podsEvery = time.Minute

// fromPods is [FromPods] for this node, limited by podsEvery.
func (d *Detector) fromPods(ctx context.Context) (string, error) {
	if now := d.opts.Clock.Now(); d.imageRead.IsZero() || now.Sub(d.imageRead) >= podsEvery {
		d.image, d.imageErr = d.readPods(ctx)
		d.imageRead = now
	}
	return d.image, d.imageErr
}

func (d *Detector) readPods(ctx context.Context) (string, error) {
	if d.opts.Server == nil {
		return "", errors.New("the pods on the node are not read")
	}
	return FromPods(ctx, d.opts.Server, d.opts.Node)
}

// Syncs returns the number of complete syncs of kube-proxy that were seen to end since it started, for both IP families
// together (invariant 6).
func (d *Detector) Syncs(ctx context.Context) (uint64, error) {
	families, err := d.scrape(ctx)
	if err != nil {
		return 0, err
	}
	synced, err := syncTimesIn(families, d.opts.URL)
	if err != nil {
		return 0, err
	}
	return d.count(synced), nil
}

// syncTimes are when kube-proxy last finished a complete sync, in seconds of the Unix epoch, by IP family; before 1.34
// for all families together. The key of the process's start time is [processStart].
type syncTimes map[string]float64

const processStart = "process"

func (s syncTimes) last() (last float64) {
	for family, at := range s {
		if family != processStart {
			last = max(last, at)
		}
	}
	return last
}

// count counts the syncs that ended between two reads: several of one family count once. If kube-proxy was restarted,
// it counts from zero.
func (d *Detector) count(now syncTimes) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now[processStart] != d.synced[processStart] {
		d.syncs = 0
	}
	for family, at := range now {
		switch before := d.synced[family]; {
		case at < before:
			d.syncs = 0
		case at > before && family != processStart:
			d.syncs++
		}
	}
	d.synced = now
	if last := now.last(); last > 0 {
		d.lastSync.Set(last)
	}
	return d.syncs
}

// syncTimesIn reads when kube-proxy last finished a complete sync. The duration of syncs is no proof of one: it is also
// observed for a sync that was given up, before kube-proxy has processed any change.
//
// Source: syncProxyRules in pkg/proxy/winkernel/proxier.go of 1.31 to 1.38 sets the time after the last load balancer.
func syncTimesIn(families map[string]*dto.MetricFamily, url string) (syncTimes, error) {
	gauges := families[lastSyncTime].GetMetric()
	if len(gauges) == 0 {
		return nil, fmt.Errorf("the metrics of %s have no %s", url, lastSyncTime)
	}
	synced := syncTimes{}
	for _, m := range gauges {
		family := ""
		for _, label := range m.GetLabel() {
			family += label.GetValue()
		}
		synced[family] = m.GetUntyped().GetValue()
	}
	for _, m := range families[startTime].GetMetric() {
		synced[processStart] = m.GetUntyped().GetValue()
	}
	return synced, nil
}

// LastSync returns when the kube-proxy that serves its metrics at the URL last finished a complete sync; zero if it has
// not yet.
func LastSync(ctx context.Context, url string) (time.Time, error) {
	families, err := scrape(ctx, url, nil)
	if err != nil {
		return time.Time{}, err
	}
	synced, err := syncTimesIn(families, url)
	if err != nil || synced.last() == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(synced.last() * 1000)), nil
}

// askTimeout bounds one request. kube-proxy is on the same node.
const askTimeout = 5 * time.Second

// How much of an answer is read, and how much of that is parsed: kube-proxy's metrics are far smaller.
const (
	maxHeader = 64 << 10
	maxBody   = 16 << 20
	maxWanted = 64 << 10
)

// The metrics that are read.
const (
	buildInfo    = "kubernetes_build_info"
	lastSyncTime = "kubeproxy_sync_proxy_rules_last_timestamp_seconds"
	startTime    = "process_start_time_seconds"
)

// isWanted reports whether a line has a value of one of them.
func isWanted(line []byte) bool {
	switch string(line[:max(0, bytes.IndexAny(line, " {"))]) {
	case buildInfo, lastSyncTime, startTime:
		return true
	default:
		return false
	}
}

// FromMetrics returns the version of the kube-proxy that serves its metrics at the URL. Without a transport the
// connection is direct.
func FromMetrics(ctx context.Context, transport http.RoundTripper, url string) (string, error) {
	families, err := scrape(ctx, url, transport)
	if err != nil {
		return "", err
	}
	return versionIn(families, url)
}

// maxVersion is the longest version that is believed. It becomes the label of a metric.
const maxVersion = 100

// versionIn returns the version of kube-proxy.
func versionIn(families map[string]*dto.MetricFamily, url string) (string, error) {
	for _, metric := range families[buildInfo].GetMetric() {
		for _, label := range metric.GetLabel() {
			if version := label.GetValue(); label.GetName() == "git_version" && version != "" && len(version) <= maxVersion {
				return version, nil
			}
		}
	}
	return "", fmt.Errorf("the metrics of %s have no %s", url, buildInfo)
}

// scrape reads metrics. The address is the operator's. A server there cannot send the agent elsewhere:
// redirects are not followed, and no proxy is used.
func scrape(ctx context.Context, url string, transport http.RoundTripper) (map[string]*dto.MetricFamily, error) {
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader}
	}
	httpClient := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("reading kube-proxy's metrics: %w", err)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading kube-proxy's metrics: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading kube-proxy's metrics at %s: %s", url, response.Status)
	}
	families, err := parse(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of %s: %w", url, err)
	}
	return families, nil
}

// parse reads the metrics that are wanted, without their types. All others would take much memory, and are what the
// process at the address chooses (invariant 8).
func parse(body io.Reader) (map[string]*dto.MetricFamily, error) {
	var kept []byte
	isKubeProxy, lines := false, bufio.NewScanner(body)
	for lines.Scan() && len(kept) < maxWanted {
		line := lines.Bytes()
		isKubeProxy = isKubeProxy || bytes.HasPrefix(line, []byte("kubeproxy_"))
		if isWanted(line) {
			kept = append(append(kept, line...), '\n')
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, lines.Err()
	case len(kept) >= maxWanted:
		return nil, fmt.Errorf("they have more than %d KiB of versions and times", maxWanted>>10)
	case !isKubeProxy: // other components of Kubernetes serve their version under the same name
		return nil, errors.New("what answers is not kube-proxy: none of its metrics begins with kubeproxy_")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(bytes.NewReader(kept))
}

func (d *Detector) fromNode(ctx context.Context) (string, error) {
	if d.opts.Server == nil {
		return "", errors.New("the node is not read")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var node corev1.Node
	if err := d.opts.Server.Get(ctx, client.ObjectKey{Name: d.opts.Node}, &node); err != nil {
		return "", fmt.Errorf("reading node %s: %w", d.opts.Node, err)
	}
	//nolint:staticcheck // deprecated because new kubelets leave it empty; old ones are the point
	if version := node.Status.NodeInfo.KubeProxyVersion; version != "" {
		return version, nil
	}
	return "", fmt.Errorf("the status of node %s does not say", d.opts.Node)
}

func (d *Detector) set(p kubeproxy.Profile, from source) {
	d.profile.Store(&p)
	version := p.Version
	if !p.Known {
		version = "unknown"
	}
	d.info.Reset()
	d.info.WithLabelValues(version, string(from), strconv.FormatBool(p.StaleRecord), strconv.FormatBool(p.BatchLeak),
		strconv.FormatBool(p.Duplicates), strconv.FormatBool(p.GivenUpLeak), strconv.FormatBool(p.LosesLoadBalancers)).Set(1)
}

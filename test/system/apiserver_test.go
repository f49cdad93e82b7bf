// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/chart"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// apiServer is an API server on which scenarios are played one after the other. kube-proxy programs every Service of
// its cluster, so parallel scenarios need separate clusters.
type apiServer struct {
	config *rest.Config
	client client.Client
	// The kubeconfig of an administrator, and that of hnsguard's account on the node.
	kubeconfig, guardKubeconfig string
}

// apiServers is a pool of API servers.
type apiServers struct {
	free chan *apiServer
}

var quiet sync.Once

// startAPIServers starts n API servers, one after the other. It returns when the first one runs.
func startAPIServers(t *testing.T, exe programs, n int) *apiServers {
	t.Helper()
	all := &apiServers{free: make(chan *apiServer, n)}
	all.free <- startAPIServer(t, exe)
	var others sync.WaitGroup
	t.Cleanup(others.Wait)
	others.Go(func() {
		for range n - 1 {
			l, err := newAPIServer(t, exe)
			switch {
			case t.Context().Err() != nil: // few scenarios were chosen, and they have ended
				return
			case err != nil:
				t.Errorf("starting an API server: %v", err)
				return
			}
			all.free <- l
		}
	})
	return all
}

func startAPIServer(t *testing.T, exe programs) *apiServer {
	t.Helper()
	l, err := newAPIServer(t, exe)
	must(t, err)
	return l
}

// newAPIServer starts an API server, which stops with the test.
func newAPIServer(t *testing.T, exe programs) (*apiServer, error) {
	t.Helper()
	quiet.Do(func() {
		logf.SetLogger(logr.Discard())
		klog.SetLogger(logr.Discard())
	})
	dir := tempdir.New(t)
	config, err := startControlPlane(t, exe.dir, dir)
	if err != nil {
		return nil, err
	}
	// The test stands for the whole cluster, and sends many requests.
	config.QPS, config.Burst = 1000, 1000
	c, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	l := &apiServer{
		config: config, client: c,
		kubeconfig: filepath.Join(dir, "kubeconfig"), guardKubeconfig: filepath.Join(dir, "guard.kubeconfig"),
	}
	guard := kubeconfigOf(config)
	guard.AuthInfos["u"].Impersonate = "system:serviceaccount:" + guardNamespace + ":hnsguard"
	guard.AuthInfos["u"].ImpersonateUserExtra = map[string][]string{"authentication.kubernetes.io/node-name": {nodeName}}
	return l, errors.Join(clientcmd.WriteToFile(kubeconfigOf(config), l.kubeconfig),
		clientcmd.WriteToFile(guard, l.guardKubeconfig), l.permit(t, filepath.Join(exe.dir, "chart.yaml")))
}

// permit gives hnsguard's account the rights of the rendered chart, the policies without which hnsguard does not use
// them, and the Service whose endpoint shows what kube-proxy has processed.
func (l *apiServer) permit(t *testing.T, rendered string) error {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: guardNamespace}}
	if err := l.client.Create(t.Context(), namespace); err != nil {
		return err
	}
	text, err := os.ReadFile(rendered)
	if err != nil {
		return err
	}
	objects, err := chart.Decode(text)
	if err != nil {
		return err
	}
	for _, u := range objects {
		switch u.GroupVersionKind().Group {
		case corev1.GroupName:
			if u.GetKind() != "Service" || u.GetName() != stalerecord.Service {
				continue
			}
			fallthrough
		case rbacv1.GroupName, admissionv1.GroupName:
			err = errors.Join(err, l.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("helm")))
		}
	}
	return err
}

func kubeconfigOf(config *rest.Config) clientcmdapi.Config {
	out := clientcmdapi.NewConfig()
	out.Clusters["c"] = &clientcmdapi.Cluster{
		Server: config.Host, CertificateAuthorityData: config.CAData,
	}
	out.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	out.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	out.CurrentContext = "x"
	return *out
}

// take takes a free one, and returns it, cleaned, when the test ends.
func (all *apiServers) take(t *testing.T) *apiServer {
	t.Helper()
	l := <-all.free
	t.Cleanup(func() {
		defer func() { all.free <- l }() // one that cannot be swept fails its tests, and does not stop the others
		l.sweep(t)
	})
	return l
}

// sweep deletes the objects of scenarios.
func (l *apiServer) sweep(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	in := client.InNamespace(namespace)
	for _, obj := range []client.Object{&corev1.Pod{}, &discoveryv1.EndpointSlice{}, &corev1.Service{}} {
		if _, service := obj.(*corev1.Service); service {
			l.sweepServices(ctx, t)
			continue
		}
		// The API server recreates the slice of its own Service, which would be an unexpected change.
		must(t, l.client.DeleteAllOf(ctx, obj, in, client.GracePeriodSeconds(0), client.MatchingLabelsSelector{
			Selector: labels.NewSelector().Add(notOf("kubernetes")),
		}))
	}
	must(t, l.client.DeleteAllOf(ctx, &corev1.Node{}))
	must(t, l.client.DeleteAllOf(ctx, &discoveryv1.EndpointSlice{}, client.InNamespace(guardNamespace)))
}

// notOf selects objects that do not belong to a Service.
func notOf(service string) labels.Requirement {
	r, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.NotEquals, []string{service})
	if err != nil {
		panic(err)
	}
	return *r
}

// sweepServices deletes Services one by one: they have no collective delete.
func (l *apiServer) sweepServices(ctx context.Context, t *testing.T) {
	t.Helper()
	var services corev1.ServiceList
	must(t, l.client.List(ctx, &services, client.InNamespace(namespace)))
	for i := range services.Items {
		if services.Items[i].Name == "kubernetes" {
			continue
		}
		must(t, client.IgnoreNotFound(l.client.Delete(ctx, &services.Items[i])))
	}
}

// The namespaces of the scenarios' objects, and of hnsguard's own.
const (
	namespace      = "default"
	guardNamespace = chart.Namespace
)

func (l *apiServer) ensureNamespace(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	must(t, client.IgnoreAlreadyExists(l.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, dir, name, format string, args ...any) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600))
	return path
}

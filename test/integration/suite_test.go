// SPDX-License-Identifier: Apache-2.0

//go:build !windows

// Package integration_test runs the whole agent with a real API server and a simulated HNS.
package integration_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

func TestIntegration(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS does not say where kube-apiserver and etcd are; run: make test-integration")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	SetDefaultConsistentlyDuration(3 * time.Second)
	SetDefaultConsistentlyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "integration")
	expectNoChildren(t)
}

// expectNoChildren fails if a control plane outlives the suite.
func expectNoChildren(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pgrep", "-l", "-P", strconv.Itoa(os.Getpid())).CombinedOutput()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 1 { // 1 is: there is none
		t.Errorf("the suite left processes behind: %v\n%s", err, out)
	}
}

// shared is the control plane of all specs except those that stop it.
var shared *controlPlane

var _ = BeforeSuite(func(ctx SpecContext) {
	log := logr.Discard()
	if os.Getenv("HNSGUARD_TEST_LOG") != "" {
		log = GinkgoLogr
	}
	logf.SetLogger(log)
	klog.SetLogger(log)
	shared = startControlPlane(ctx)
})

// controlPlane is a kube-apiserver with its etcd.
type controlPlane struct {
	env    *envtest.Environment
	config *rest.Config
	client client.Client
}

// startControlPlane starts a control plane that stops when the suite or the spec ends.
func startControlPlane(ctx context.Context) *controlPlane {
	GinkgoHelper()
	env := &envtest.Environment{}
	// With its own folder the server has the same certificates after a restart.
	env.ControlPlane.GetAPIServer().CertDir = GinkgoT().TempDir()
	config, err := env.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(env.Stop)
	c, err := client.New(config, client.Options{})
	Expect(err).NotTo(HaveOccurred())
	cp := &controlPlane{env: env, config: config, client: c}
	cp.keepBusy(ctx)
	return cp
}

// keepBusy changes an EndpointSlice again and again, as in any real cluster. Without changes in the cluster, watches
// get a new version only once a minute.
func (cp *controlPlane) keepBusy(ctx context.Context) {
	GinkgoHelper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "busy"},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	Expect(cp.client.Create(ctx, slice)).To(Succeed())
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	DeferCleanup(func() {
		stop()
		<-stopped
	})
	go func() {
		defer close(stopped)
		for range time.Tick(200 * time.Millisecond) {
			if stopping.Err() != nil {
				return
			}
			slice.Annotations = map[string]string{"at": time.Now().String()}
			_ = cp.client.Update(stopping, slice) // a server that is stopped does not matter here
		}
	}()
}

// crash kills the API server. A graceful stop would wait for its clients.
func (cp *controlPlane) crash(ctx context.Context) {
	GinkgoHelper()
	server := cp.env.ControlPlane.GetAPIServer()
	Expect(exec.CommandContext(ctx, "pkill", "-KILL", "-f", "kube-apiserver.*"+server.CertDir).Run()).To(Succeed())
	Eventually(func() error {
		return cp.client.Get(ctx, client.ObjectKey{Name: metav1.NamespaceDefault}, &corev1.Namespace{})
	}).Should(MatchError(ContainSubstring("connection refused")))
}

// namespace creates a namespace for a spec.
func (cp *controlPlane) namespace(ctx context.Context) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(cp.client.Create(ctx, ns)).To(Succeed())
	return ns.Name
}

// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package firsthour_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/sdk/freeport"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	utilexec "k8s.io/utils/exec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/test/chart"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/kubelet"
)

// windowsNode is win-1: its HNS, and the work of its kubelet and of the DaemonSet controller.
type windowsNode struct {
	api     client.Client
	config  *rest.Config
	service *hnstest.HNS
	network hns.Network
	// ports maps ports of the node to free ports of this machine.
	ports map[string]string
	dir   string

	mu sync.Mutex
	// agent is the running pod, and made the generation of the DaemonSet from which it was created.
	agent *corev1.Pod
	env   map[string]string
	made  int64
	stop  func()
}

const (
	nodeName  = "win-1"
	namespace = "hnsguard-system"
)

func newWindowsNode(t *testing.T, api client.Client, config *rest.Config) *windowsNode {
	t.Helper()
	ports := freeport.GetN(t, 3)
	n := &windowsNode{
		api: api, config: config, service: hnstest.New(hnstest.Options{}), dir: t.TempDir(), stop: func() {},
		ports: map[string]string{
			"HNSGUARD_METRICS_BIND_ADDRESS": fmt.Sprintf("127.0.0.1:%d", ports[0]),
			"HNSGUARD_PAGE_BIND_ADDRESS":    fmt.Sprintf("127.0.0.1:%d", ports[1]),
			"--health-probe-bind-address":   fmt.Sprintf("127.0.0.1:%d", ports[2]),
		},
	}
	n.network = n.service.CreateNetwork("azure", hns.NetworkL2Bridge)
	server := kubelet.Serve(n.exec)
	t.Cleanup(server.Close)
	NewWithT(t).Expect(kubelet.Register(t.Context(), api, nodeName, server)).To(Succeed())
	return n
}

// run does the work of the kubelet and the DaemonSet controller, until the context ends.
func (n *windowsNode) run(ctx context.Context) error {
	defer func() { n.stop() }()
	for ctx.Err() == nil {
		if err := n.reconcile(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// reconcile creates the pod of the DaemonSet, replaces it when the DaemonSet changes, and deletes it with the DaemonSet.
func (n *windowsNode) reconcile(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ds := &appsv1.DaemonSet{}
	err := n.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "hnsguard"}, ds)
	switch {
	case apierrors.IsNotFound(err):
		return n.kill(ctx)
	case err != nil || ds.Generation == n.made:
		return err
	}
	if err := n.kill(ctx); err != nil {
		return err
	}
	if err := n.start(ctx, ds); err != nil {
		return err
	}
	ds.Status = appsv1.DaemonSetStatus{
		ObservedGeneration: ds.Generation, DesiredNumberScheduled: 1, CurrentNumberScheduled: 1,
		UpdatedNumberScheduled: 1, NumberReady: 1, NumberAvailable: 1,
	}
	return n.api.Status().Update(ctx, ds)
}

func (n *windowsNode) kill(ctx context.Context) error {
	if n.agent == nil {
		return nil
	}
	n.stop()
	err := n.api.Delete(ctx, n.agent, client.GracePeriodSeconds(0))
	n.agent, n.made = nil, 0
	return client.IgnoreNotFound(err)
}

func (n *windowsNode) start(ctx context.Context, ds *appsv1.DaemonSet) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "hnsguard-" + nodeName, Labels: ds.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ds, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))},
		},
		Spec: ds.Spec.Template.Spec,
	}
	pod.Spec.NodeName = nodeName
	if err := n.api.Create(ctx, pod); err != nil {
		return fmt.Errorf("creating the agent's pod: %w", err)
	}
	if err := n.mount(ctx, pod); err != nil {
		return fmt.Errorf("mounting the volumes of the agent's pod: %w", err)
	}
	log, err := os.Create(filepath.Join(n.dir, "agent.log"))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		cli.Run(running, n.args(pod), n.process(log, log))
	}()
	n.agent, n.made = pod, ds.Generation
	n.stop = func() { stop(); <-stopped; _ = log.Close() }
	pod.Status.Phase = corev1.PodRunning
	return n.api.Status().Update(ctx, pod)
}

// mount writes the volumes of the pod below the container's root, and sets its environment. The container's memory
// limit does not apply to the test.
func (n *windowsNode) mount(ctx context.Context, pod *corev1.Pod) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.Spec.ServiceAccountName}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if err := n.api.SubResource("token").Create(ctx, account, request); err != nil {
		return err
	}
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	if err := n.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "hnsguard"}, policy); err != nil {
		return err
	}
	mounted, container := chart.Pod{
		Spec: pod.Spec, Node: nodeName, Namespace: namespace, Objects: chart.Objects{policy},
		Token: []byte(request.Status.Token), CA: n.config.CAData,
	}, pod.Spec.Containers[0]
	var err error
	if mounted.Host, mounted.Port, err = net.SplitHostPort(strings.TrimPrefix(n.config.Host, "https://")); err != nil {
		return err
	}
	if err := mounted.Mount(n.dir, container); err != nil {
		return err
	}
	env, err := mounted.Env(n.dir, container)
	if err != nil {
		return err
	}
	env["GOMEMLIMIT"], env["GOGC"] = "off", "100"
	for name := range n.ports {
		if env[name] != "" {
			env[name] = n.ports[name]
		}
	}
	n.env = env
	return nil
}

func (n *windowsNode) args(pod *corev1.Pod) []string {
	var args []string
	for _, arg := range pod.Spec.Containers[0].Args {
		name, _, _ := strings.Cut(arg, "=")
		if address := n.ports[name]; address != "" {
			arg = name + "=" + address
		}
		args = append(args, arg)
	}
	return args
}

func (n *windowsNode) process(out, complaints io.Writer) cli.Process {
	env := n.env // those of the next agent are another map
	return cli.Process{
		Out: out, Err: complaints, HNS: func() (hns.Client, error) { return n.service, nil },
		Env: func(name string) (string, bool) {
			value, set := env[name]
			return value, set
		},
	}
}

// exec runs hnsguard in the agent's container.
func (n *windowsNode) exec(
	ctx context.Context, _, _ string, command []string, out, complaints io.Writer,
) error {
	n.mu.Lock()
	process := n.process(out, complaints)
	n.mu.Unlock()
	code := cli.Run(ctx, command[1:], process)
	if code == 0 {
		return nil
	}
	return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d", code), Code: code}
}

// program creates what a CNI and kube-proxy create for the initial cluster.
func (n *windowsNode) program(ctx context.Context) error {
	kubernetes := &discoveryv1.EndpointSlice{}
	if err := n.api.Get(ctx, client.ObjectKey{Namespace: "default", Name: "kubernetes"}, kubernetes); err != nil {
		return err
	}
	service := &corev1.Service{}
	if err := n.api.Get(ctx, client.ObjectKey{Namespace: "default", Name: "kubernetes"}, service); err != nil {
		return err
	}
	server := netip.MustParseAddr(kubernetes.Endpoints[0].Addresses[0])
	backend, err := n.endpoint(server, true)
	if err != nil {
		return err
	}
	_, errWeb := n.endpoint(webAddress, true)
	_, errOld := n.endpoint(cartAddress, false)
	_, errBalancer := n.service.CreateLoadBalancer(hns.LoadBalancer{
		Endpoints: []hns.EndpointID{backend}, FrontendVIPs: []netip.Addr{netip.MustParseAddr(service.Spec.ClusterIP)},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: uint16(*kubernetes.Ports[0].Port), ExternalPort: 443}},
	})
	return errors.Join(errWeb, errOld, errBalancer)
}

// endpoint creates an endpoint, for a pod on the node if it is local.
func (n *windowsNode) endpoint(addr netip.Addr, remote bool) (hns.EndpointID, error) {
	spec := hnstest.EndpointSpec{Network: n.network.ID, Name: "0123_eth0", Addresses: []netip.Addr{addr}}
	if remote {
		spec = hnstest.EndpointSpec{
			Network: n.network.ID, Addresses: spec.Addresses, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		}
	}
	made, err := n.service.CreateEndpoint(spec)
	if err != nil || remote {
		return made.ID, err
	}
	return made.ID, n.service.Attach(made.ID, n.service.CreateNamespace())
}

// gone returns an error if the node still runs an agent.
func (n *windowsNode) gone() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent != nil {
		return errors.New("the agent still runs")
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

func pod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}

// api returns a cluster with a Windows node with a Pod, and another node with a Pod.
func api(get func(client.ObjectKey, client.Object) error) client.Reader {
	win := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "win-1"}}
	win.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: "windows", KubeletVersion: "v1.33.1"}
	builder := fake.NewClientBuilder().
		WithObjects(win, pod("cart", "win-1"), pod("web", "lin-1"),
			&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-x"}},
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string {
			return []string{o.(*corev1.Pod).Spec.NodeName}
		})
	return interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if get != nil {
				if err := get(key, o); err != nil {
					return err
				}
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
}

func names(dump recording.Cluster) []string {
	var names []string
	for _, p := range dump.Pods {
		names = append(names, p.Name)
	}
	return names
}

func TestReadCluster(t *testing.T) {
	g := NewWithT(t)
	dump, err := report.ReadCluster(t.Context(), api(nil), "win-1", nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(names(dump)).To(Equal([]string{"cart"}), "the Pods of the node")
	g.Expect(dump.Slices).To(HaveLen(1))
	g.Expect(dump.Services).To(HaveLen(1))
	g.Expect(dump.Nodes).To(ConsistOf(HaveField("Name", "win-1")))
	g.Expect(dump.NodesRecorded && dump.PodsRecorded && dump.SlicesRecorded && dump.ServicesRecorded).To(BeTrue())

	web := types.NamespacedName{Namespace: "shop", Name: "web"}
	cart := types.NamespacedName{Namespace: "shop", Name: "cart"}
	dump, err = report.ReadCluster(t.Context(), api(nil), "win-1", []types.NamespacedName{web, cart})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(names(dump)).To(Equal([]string{"cart", "web"}), "and the Pods that a filter names")
}

func TestReadClusterReportsWhatItCannotRead(t *testing.T) {
	g := NewWithT(t)
	gone := types.NamespacedName{Namespace: "shop", Name: "gone"}
	_, err := report.ReadCluster(t.Context(), api(nil), "win-9", []types.NamespacedName{gone})
	g.Expect(err).To(MatchError(And(
		ContainSubstring(`reading Node win-9: nodes "win-9" not found`),
		ContainSubstring(`reading Pod shop/gone: pods "gone" not found`),
	)))

	refuse := func(err error) client.Reader {
		return api(func(_ client.ObjectKey, o client.Object) error {
			if _, is := o.(*corev1.Node); is {
				return err
			}
			return nil
		})
	}
	_, err = report.ReadCluster(t.Context(), refuse(errors.New("no route to host")), "win-1", nil)
	g.Expect(err).To(MatchError("reading Node win-1: no route to host"))
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "win-1", errors.New("no role"))
	dump, err := report.ReadCluster(t.Context(), refuse(forbidden), "win-1", nil)
	g.Expect(err).NotTo(HaveOccurred(), "the node can be judged without it")
	g.Expect(dump.NodesRecorded).To(BeFalse())
}

func TestReadHNS(t *testing.T) {
	g := NewWithT(t)
	service := hnstest.New(hnstest.Options{})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge)
	made, err := service.CreateEndpoint(hnstest.EndpointSpec{
		Network: network.ID, Flags: hns.FlagRemote, Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")},
	})
	g.Expect(err).NotTo(HaveOccurred())
	dump, err := report.ReadHNS(t.Context(), service)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.EndpointsRecorded && dump.LoadBalancersRecorded).To(BeTrue())
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.Endpoints[0].ID).To(Equal(made.ID))
	g.Expect(dump.Incomplete).To(BeEmpty())

	service.SetDown(true)
	dump, err = report.ReadHNS(t.Context(), service)
	g.Expect(err).To(MatchError(hns.ErrUnavailable))
	g.Expect(dump.EndpointsRecorded || dump.LoadBalancersRecorded).To(BeFalse(), "unknown is not absent")
}

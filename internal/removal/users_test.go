// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/removal"
)

// pods is an API server that lists one pod in each answer that has a limit.
type pods struct {
	client.Reader
	all    []corev1.Pod
	err    error
	last   context.Context //nolint:containedctx // that of the last list, to see its end
	limits []int64
}

func (p *pods) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	p.last, p.limits = ctx, append(p.limits, o.Limit)
	if p.err != nil {
		return p.err
	}
	into, _ := list.(*corev1.PodList)
	if o.Limit == 0 {
		into.Items = p.all
		return nil
	}
	at := len(o.Continue)
	into.Items = p.all[at : at+1]
	if at+1 < len(p.all) {
		into.Continue = o.Continue + "x"
	}
	return nil
}

func podOf(name string, phase corev1.PodPhase, addrs ...string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	p.Status.Phase = phase
	for _, addr := range addrs {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: addr})
	}
	return p
}

// All pods that have not ended may use an address; an IPv6 address may be a pod's second one.
func TestWhoMayUseAnAddress(t *testing.T) {
	g := NewWithT(t)
	server := &pods{all: []corev1.Pod{
		podOf("web", corev1.PodRunning, "10.240.0.11", "fd00::b"), podOf("done", corev1.PodSucceeded, "10.240.0.11", "fd00::b"),
		podOf("other", corev1.PodRunning, "10.240.0.12", "fd00::c"), podOf("again", corev1.PodRunning, "10.240.0.13", "fd00::b"),
	}}
	reader := removal.PodReader{Server: server}
	users := func(addr string) []string {
		found, err := reader.Users(t.Context(), sets.New(netip.MustParseAddr(addr)))
		g.Expect(err).NotTo(HaveOccurred())
		names := []string{}
		for _, p := range found {
			names = append(names, p.Key.Name)
		}
		return names
	}
	g.Expect(users("10.240.0.11")).To(Equal([]string{"web"}))
	g.Expect(server.limits).To(Equal([]int64{0}), "the API server selects by the address")
	g.Expect(users("fd00::b")).To(Equal([]string{"web", "again"}))
	g.Expect(server.limits[1:]).To(Equal([]int64{500, 500, 500, 500}), "in pages")
	g.Expect(server.last.Err()).To(MatchError(context.Canceled), "a list that has ended holds nothing")
	g.Expect(users("10.240.9.9")).To(BeEmpty())

	server.err = errors.New("connection refused")
	for _, addr := range []string{"10.240.0.11", "fd00::b"} {
		_, err := reader.Users(t.Context(), sets.New(netip.MustParseAddr(addr)))
		g.Expect(err).To(MatchError(ContainSubstring("reading pods from the API server")), addr)
	}
}

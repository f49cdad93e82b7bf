// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

var _ = Describe("An agent that is not itself", func() {
	var n *node

	BeforeEach(func(ctx SpecContext) {
		n = newNode(ctx, shared, hnstest.Options{})
		n.remote(n.addr(1))
		n.local(n.addr(1))
		n.pod(ctx, "web", n.addr(1))
	})

	// startAs starts an agent for the node with other credentials, and returns its error.
	startAs := func(ctx SpecContext, config *rest.Config) error {
		GinkgoHelper()
		options := agent.Options{
			Node: n.name, Namespace: n.namespace, Config: n.config, HNS: n.service,
			KubeProxy: detect.Options{Version: n.kubeProxy}, MetricsAddress: "0", ProbeAddress: "0",
			Logger: logf.Log.WithName(n.name), Clock: clock.RealClock{},
		}
		deps, err := agent.FromCluster(config, options)
		Expect(err).NotTo(HaveOccurred())
		a, err := agent.New(options, deps)
		Expect(err).NotTo(HaveOccurred())
		return a.Start(ctx)
	}

	It("does not start as the kubelet", func(ctx SpecContext) {
		kubelet, err := shared.env.AddUser(envtest.User{
			Name: "system:node:" + n.name, Groups: []string{"system:nodes", "system:masters"}, // allowed everything
		}, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(startAs(ctx, kubelet.Config())).To(MatchError(agent.ErrForeignIdentity))
		Expect(n.there()).To(HaveLen(2), "nothing is touched")
	})

	It("does not start with the token of a pod on another node", func(ctx SpecContext) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "hnsguard-x1"},
			Spec: corev1.PodSpec{
				NodeName: "another-node", ServiceAccountName: "hnsguard",
				Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}},
			},
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "hnsguard"}}
		Expect(shared.client.Create(ctx, account)).To(Succeed())
		Expect(shared.client.Create(ctx, pod)).To(Succeed())
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}
		Expect(shared.client.SubResource("token").Create(ctx, account, request)).To(Succeed())
		config := &rest.Config{
			Host: shared.config.Host, BearerToken: request.Status.Token,
			TLSClientConfig: rest.TLSClientConfig{CAData: shared.config.CAData},
		}
		Expect(startAs(ctx, config)).To(And(MatchError(agent.ErrForeignIdentity),
			MatchError(ContainSubstring("another-node")), MatchError(ContainSubstring(n.name))))
		Expect(n.there()).To(HaveLen(2), "nothing is touched")
	})
})

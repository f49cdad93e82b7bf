// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

var _ = Describe("the node page", func() {
	It("is served on loopback to every process of the node", func(ctx SpecContext) {
		n := newNode(ctx, shared, hnstest.Options{})
		n.page = freeAddress()
		n.remote(n.addr(1))
		n.pod(ctx, "web", n.addr(1))
		n.local(n.addr(1))
		n.start()
		Eventually(func(g Gomega) {
			code, body := fetch("http://"+n.page+server.StatusPath, "")
			g.Expect(code).To(Equal(http.StatusOK))
			var d report.Report
			g.Expect(json.Unmarshal([]byte(body), &d)).To(Succeed())
			g.Expect(d.Node).To(Equal(n.name))
			g.Expect(d.State).To(Equal(report.StateGuarding))
			g.Expect(d.History).To(ContainElement(And(HaveField("Result", "removed"), HaveField("Address", n.addr(1)))))
			g.Expect(d.Endpoints).To(ConsistOf(HaveField("Verdict", verdict.Local)))
			g.Expect(d.HNS.Failing).To(BeEmpty())
		}).Should(Succeed())
		code, metrics := fetch("http://"+n.page+server.MetricsPath, "")
		Expect(code).To(Equal(http.StatusOK))
		Expect(metrics).To(ContainSubstring(`hnsguard_removals_total{result="removed",verdict="conflict"} 1`))
	})

	It("is for those who may read it, where others can connect", func(ctx SpecContext) {
		i := install(ctx, shared, "--set", "page.bindAddress=:9473")
		n := newNode(ctx, shared, hnstest.Options{})
		n.api, n.agentNamespace = i.agentOn(ctx, n.name), i.namespace
		_, port, _ := strings.Cut(freeAddress(), ":")
		n.page = "0.0.0.0:" + port
		certificate, err := server.InMemory(n.name)
		Expect(err).NotTo(HaveOccurred())
		n.tls = certificate
		n.start()

		reader, stranger := token(ctx, n, "reader"), token(ctx, n, "stranger")
		bind(ctx, i, n, "reader")
		url := "https://127.0.0.1:" + port
		status := func(path, token string) func() int {
			return func() int {
				code, _ := fetch(url+path, token)
				return code
			}
		}
		Eventually(status(server.StatusPath, reader)).Should(Equal(http.StatusOK))
		Expect(status(server.StatusPath, "")()).To(Equal(http.StatusUnauthorized))
		Expect(status("/", "")()).To(Equal(http.StatusUnauthorized))
		Expect(status(server.StatusPath, stranger)()).To(Equal(http.StatusForbidden))
		Expect(status(server.MetricsPath, "")()).To(Equal(http.StatusUnauthorized))
		Expect(status(server.MetricsPath, stranger)()).To(Equal(http.StatusForbidden))
		Expect(status("/", reader)()).To(Equal(http.StatusOK))
		Expect(status("/nothing", "")()).To(Equal(http.StatusNotFound), "without a review")
		_, body := fetch(url+server.StatusPath, reader)
		Expect(body).To(ContainSubstring(`"node":"` + n.name + `"`))
	})
})

// fetch requests a URL, with a token if given.
func fetch(url, token string) (code int, body string) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Sprint(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, string(text)
}

// token creates an account in the namespace of the node's pods, and returns its token.
func token(ctx context.Context, n *node, name string) string {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name}}
	Expect(n.cp.client.Create(ctx, account)).To(Succeed())
	return n.cp.as(ctx, account, nil).BearerToken
}

// bind grants an account the chart's role for readers of the page.
func bind(ctx context.Context, i installed, n *node, account string) {
	GinkgoHelper()
	for _, role := range i.objects.Of("ClusterRole") {
		if strings.HasSuffix(role.GetName(), "-page-reader") {
			Expect(n.cp.client.Create(ctx, &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "page-reader-" + n.namespace},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.GetName()},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: n.namespace, Name: account}},
			})).To(Succeed())
			return
		}
	}
	Fail("the chart has no role for readers of the page")
}

// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/test/chart"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// apply renders the chart and applies all of it like an installation, and deletes it when the spec ends.
func (cp *controlPlane) apply(ctx context.Context, namespace string, args ...string) chart.Objects {
	GinkgoHelper()
	c, err := chart.In("../..")
	Expect(err).NotTo(HaveOccurred())
	objects, err := c.Render(ctx, namespace, args...)
	Expect(err).NotTo(HaveOccurred())
	for _, u := range objects {
		Expect(cp.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("helm"))).
			To(Succeed(), "%s %s", u.GetKind(), u.GetName())
		DeferCleanup(func(ctx SpecContext) { //nolint:contextcheck // the spec's own has ended by then
			Expect(client.IgnoreNotFound(cp.client.Delete(ctx, u))).To(Succeed())
		})
	}
	return objects
}

// versions returns the resource versions of the existing objects.
func (cp *controlPlane) versions(ctx context.Context, objects chart.Objects) map[string]string {
	GinkgoHelper()
	versions := map[string]string{}
	for _, u := range objects {
		live := u.DeepCopy()
		err := cp.client.Get(ctx, client.ObjectKeyFromObject(u), live)
		Expect(client.IgnoreNotFound(err)).To(Succeed())
		if err == nil {
			versions[u.GetKind()+" "+u.GetNamespace()+"/"+u.GetName()] = live.GetResourceVersion()
		}
	}
	return versions
}

// deleteAsDocumented runs the commands in docs/upgrade.md that delete EndpointSlices, and checks their number.
func (cp *controlPlane) deleteAsDocumented(ctx context.Context, commands int) {
	GinkgoHelper()
	page, err := os.ReadFile("../../docs/upgrade.md")
	Expect(err).NotTo(HaveOccurred())
	found := regexp.MustCompile("`kubectl delete endpointslices -A -l ([^` ]+)`").FindAllSubmatch(page, -1)
	Expect(found).To(HaveLen(commands))
	for _, command := range found {
		selector, err := labels.Parse(string(command[1]))
		Expect(err).NotTo(HaveOccurred())
		var slices discoveryv1.EndpointSliceList
		Expect(cp.client.List(ctx, &slices, client.MatchingLabelsSelector{Selector: selector})).To(Succeed())
		Expect(slices.Items).NotTo(BeEmpty(), "%s", command[0])
		for i := range slices.Items {
			Expect(cp.client.Delete(ctx, &slices.Items[i])).To(Succeed())
		}
	}
}

// installed is the chart in its own namespace, with what a kubelet does for its DaemonSet on two nodes.
type installed struct {
	cp        *controlPlane
	namespace string
	objects   chart.Objects
}

func install(ctx context.Context, cp *controlPlane, args ...string) installed {
	GinkgoHelper()
	namespace := cp.namespace(ctx)
	return installed{cp, namespace, cp.apply(ctx, namespace, args...)}
}

// agentOn creates the node, if it does not exist, and the DaemonSet's pod on it, and returns the pod's configuration
// for the API server: with a token of its account that is bound to it.
func (i installed) agentOn(ctx context.Context, node string) *rest.Config {
	GinkgoHelper()
	err := i.cp.client.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: node, Labels: map[string]string{corev1.LabelOSStable: "windows"},
	}})
	Expect(client.IgnoreAlreadyExists(err)).To(Succeed())
	ds, err := i.objects.DaemonSet()
	Expect(err).NotTo(HaveOccurred())
	Expect(i.cp.client.Get(ctx, client.ObjectKeyFromObject(ds), ds)).To(Succeed())
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: i.namespace, Name: "hnsguard-" + node, Labels: ds.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ds, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))},
		},
		Spec: ds.Spec.Template.Spec,
	}
	pod.Spec.NodeName = node
	Expect(i.cp.client.Create(ctx, pod)).To(Succeed())
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: pod.Spec.ServiceAccountName},
	}
	return i.cp.as(ctx, account, &authenticationv1.BoundObjectReference{
		APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
	})
}

// as returns an account's configuration for the API server.
func (cp *controlPlane) as(
	ctx context.Context, account *corev1.ServiceAccount, bound *authenticationv1.BoundObjectReference,
) *rest.Config {
	GinkgoHelper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}
	Expect(cp.client.SubResource("token").Create(ctx, account, request)).To(Succeed())
	config := rest.AnonymousClientConfig(cp.config)
	config.BearerToken = request.Status.Token
	return config
}

func clientOf(config *rest.Config) client.Client {
	GinkgoHelper()
	c, err := client.New(config, client.Options{})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// workload creates a pod on a node.
func (i installed) workload(ctx context.Context, namespace, name, node string) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}},
			TerminationGracePeriodSeconds: new(int64(0)),
		},
	}
	Expect(i.cp.client.Create(ctx, pod)).To(Succeed())
	return pod
}

func evict(ctx context.Context, as client.Client, pod *corev1.Pod, uid *types.UID) error {
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{},
	}
	if uid != nil {
		eviction.DeleteOptions.Preconditions = &metav1.Preconditions{UID: uid}
	}
	return as.SubResource("eviction").Create(ctx, pod, eviction)
}

func flushSlice(namespace string, change func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "hnsguard-flush-ipv4", Labels: map[string]string{
			discoveryv1.LabelServiceName: "hnsguard-flush", discoveryv1.LabelManagedBy: "hnsguard",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"198.51.100.1"}}},
		Ports:       []discoveryv1.EndpointPort{{Name: new("flush"), Port: new(int32(1)), Protocol: new(corev1.ProtocolTCP)}},
	}
	change(s)
	return s
}

// keepSlice returns the slice that the agent on a node writes to keep an address listed.
func keepSlice(namespace, node string, change func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "hnsguard-keep-0123456789abcdef",
			Labels: map[string]string{
				discoveryv1.LabelServiceName: "cart", discoveryv1.LabelManagedBy: "hnsguard-keep",
			},
			Annotations: map[string]string{"hnsguard.io/node": node},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{"10.0.0.7"},
			Conditions: discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)},
		}},
		Ports: []discoveryv1.EndpointPort{{
			Name: new("hnsguard-keep"), Port: new(int32(1)), Protocol: new(corev1.ProtocolTCP),
		}},
	}
	change(s)
	return s
}

// spoiled returns changes of a slice's metadata that someone with a stolen token may want.
func spoiled() map[string]func(client.Object) {
	return map[string]func(client.Object){
		"for another proxy": func(o client.Object) { o.GetLabels()["service.kubernetes.io/service-proxy-name"] = "x" },
		"headless":          func(o client.Object) { o.GetLabels()[corev1.IsHeadlessService] = "" },
		"annotations":       func(o client.Object) { o.SetAnnotations(map[string]string{"a": strings.Repeat("x", 200_000)}) },
		"finalizers":        func(o client.Object) { o.SetFinalizers([]string{"example.com/never"}) },
		"another owner": func(o client.Object) {
			o.SetOwnerReferences(append(o.GetOwnerReferences(), metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "x", UID: "1"}))
		},
	}
}

func flushIPv6(namespace, addr string) *discoveryv1.EndpointSlice {
	return flushSlice(namespace, func(s *discoveryv1.EndpointSlice) {
		s.Name, s.AddressType, s.Endpoints[0].Addresses[0] = "hnsguard-flush-ipv6", discoveryv1.AddressTypeIPv6, addr
	})
}

// moved returns a patch that moves a flush slice to an address.
func moved(addr string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(`{"endpoints": [{"addresses": ["`+addr+`"]}]}`))
}

func event(namespace string, about corev1.ObjectReference, change func(*eventsv1.Event)) *eventsv1.Event {
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: string(uuid.NewUUID())}, EventTime: metav1.NowMicro(),
		ReportingController: "hnsguard", ReportingInstance: "hnsguard-x", Action: "Guarding", Reason: "Test",
		Type: corev1.EventTypeNormal, Regarding: about,
	}
	change(e)
	return e
}

// forbidden matches a refusal because no role allows the request.
func forbidden(why string) OmegaMatcher {
	return And(WithTransform(apierrors.IsForbidden, BeTrue()), MatchError(ContainSubstring(why)))
}

// refusedBy matches the refusal of a policy.
func refusedBy(policy, message string) OmegaMatcher {
	return MatchError(And(ContainSubstring("ValidatingAdmissionPolicy 'hnsguard-"+policy+"'"), ContainSubstring(message)))
}

var _ = Describe("The chart", func() {
	It("is accepted, every object of every set of values", func(ctx SpecContext) {
		_, err := envtest.InstallCRDs(shared.config, envtest.CRDInstallOptions{Paths: []string{"testdata/monitoring.yaml"}})
		Expect(err).NotTo(HaveOccurred())
		c, err := chart.In("../..")
		Expect(err).NotTo(HaveOccurred())
		sets, err := c.ValueSets()
		Expect(err).NotTo(HaveOccurred())
		Expect(client.IgnoreAlreadyExists(shared.client.Create(ctx,
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "monitoring"}}))).To(Succeed())
		for name, file := range sets {
			namespace := shared.namespace(ctx)
			objects := shared.apply(ctx, namespace, "--values", file)
			Expect(objects).NotTo(BeEmpty())
			before := shared.versions(ctx, objects)
			shared.apply(ctx, namespace, "--values", file)
			Expect(shared.versions(ctx, objects)).To(Equal(before), "%s: what is applied again changes nothing", name)
		}
	})

	It("is installed, upgraded and uninstalled by Helm, and leaves nothing that the documentation does not delete", func(ctx SpecContext) {
		c, err := chart.In("../..")
		Expect(err).NotTo(HaveOccurred())
		it := installed{cp: shared, namespace: shared.namespace(ctx)}
		it.objects, err = c.Render(ctx, it.namespace)
		Expect(err).NotTo(HaveOccurred())
		kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		Expect(os.WriteFile(kubeconfig, shared.env.KubeConfig, 0o600)).To(Succeed())
		helm := func(args ...string) {
			GinkgoHelper()
			out, err := c.Run(ctx, append(args, "--namespace", it.namespace, "--kubeconfig", kubeconfig)...)
			Expect(err).NotTo(HaveOccurred(), out)
		}
		helm("install", chart.Release, c.Dir, "--set", "config.mode=observe")
		helm("upgrade", chart.Release, c.Dir, "--reset-then-reuse-values", "--set", "config.mode=enforce")
		Expect(shared.versions(ctx, it.objects)).To(HaveLen(len(it.objects)))
		service := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: shared.namespace(ctx), Name: "cart"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}
		Expect(shared.client.Create(ctx, service)).To(Succeed())
		same := func(*discoveryv1.EndpointSlice) {}
		for _, s := range []*discoveryv1.EndpointSlice{
			flushSlice(it.namespace, same), flushIPv6(it.namespace, "2001:db8:0:1::1"), keepSlice(service.Namespace, "win-1", same),
			loadbalancer.NewSlice(service, netip.MustParseAddr("10.0.0.7")),
		} {
			Expect(shared.client.Create(ctx, s)).To(Succeed())
		}
		ours := func() (names []string) {
			var slices discoveryv1.EndpointSliceList
			Expect(shared.client.List(ctx, &slices)).To(Succeed())
			for _, s := range slices.Items {
				if strings.HasPrefix(s.Name, "hnsguard-") {
					names = append(names, s.Namespace+"/"+s.Name)
				}
			}
			return names
		}
		Expect(len(ours())).To(BeNumerically(">=", 4))
		helm("uninstall", chart.Release)
		shared.deleteAsDocumented(ctx, 3)
		Expect(ours()).To(BeEmpty())
		Expect(shared.versions(ctx, it.objects)).To(BeEmpty())
	})

	Describe("with its roles and policies", Ordered, func() {
		var (
			it          installed
			mine, other client.Client
			node        string
			elsewhere   string
		)

		BeforeAll(func(ctx SpecContext) {
			it = install(ctx, shared, "--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce")
			n := corners.Add(1)
			node, elsewhere = fmt.Sprintf("win-%d", n), fmt.Sprintf("win-%d-other", n)
			mine, other = clientOf(it.agentOn(ctx, node)), clientOf(it.agentOn(ctx, elsewhere))
			// Policies take effect some time after their creation: all of them do when the last one does.
			stranger := it.workload(ctx, it.namespace, "stranger", elsewhere)
			Eventually(func() error { return evict(ctx, mine, stranger, new(types.UID("of nobody"))) }).
				Should(refusedBy("eviction", "on the node that it runs on"))
			Eventually(func() error {
				return mine.Create(ctx, flushSlice(it.namespace, func(s *discoveryv1.EndpointSlice) { s.Labels = nil }), client.DryRunAll)
			}).Should(refusedBy("slices", ""))
			kept := keepSlice(it.namespace, elsewhere, func(*discoveryv1.EndpointSlice) {})
			Expect(shared.client.Create(ctx, kept)).To(Succeed())
			Eventually(func() error { return mine.Delete(ctx, kept, client.DryRunAll) }).
				Should(refusedBy("keep", "of nodes that do not exist"))
			Expect(shared.client.Delete(ctx, kept)).To(Succeed())
			Eventually(func() error {
				return mine.Create(ctx, event(it.namespace, corev1.ObjectReference{Kind: "Secret", Namespace: it.namespace},
					func(*eventsv1.Event) {}), client.DryRunAll)
			}).Should(refusedBy("events", ""))
		})

		It("evicts pods of its own node, and no others", func(ctx SpecContext) {
			namespace := shared.namespace(ctx)
			own, foreign := it.workload(ctx, namespace, "own", node), it.workload(ctx, namespace, "foreign", elsewhere)
			nowhere := it.workload(ctx, namespace, "nowhere", "")
			// The policy uses the API server's cache of pods, which may not have the new ones yet.
			Eventually(func() error { return evict(ctx, mine, nowhere, new(types.UID("of nobody"))) }).
				Should(refusedBy("eviction", "on the node that it runs on"))
			Expect(evict(ctx, mine, foreign, &foreign.UID)).To(refusedBy("eviction", "on the node that it runs on"))
			Expect(evict(ctx, mine, nowhere, &nowhere.UID)).To(refusedBy("eviction", "on the node that it runs on"))
			Expect(evict(ctx, mine, own, nil)).To(refusedBy("eviction", "names by its UID"))
			Expect(evict(ctx, mine, own, &foreign.UID)).To(refusedBy("eviction", "on the node that it runs on"))
			Expect(shared.client.Get(ctx, keyOf(own), own)).To(Succeed())

			Expect(evict(ctx, mine, own, &own.UID)).To(Succeed())
			Expect(shared.client.Get(ctx, keyOf(own), own)).To(WithTransform(apierrors.IsNotFound, BeTrue()))
			Expect(evict(ctx, other, foreign, &foreign.UID)).To(Succeed(), "that node's own agent may")
		})

		It("leaves others' evictions alone", func(ctx SpecContext) {
			namespace := shared.namespace(ctx)
			gone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "gone"}}
			Expect(evict(ctx, shared.client, gone, nil)).To(WithTransform(apierrors.IsNotFound, BeTrue()),
				"in a namespace without pods too")
			pod := it.workload(ctx, namespace, "web", elsewhere)
			Expect(evict(ctx, shared.client, pod, nil)).To(Succeed())
		})

		It("writes its flush slices, and no others", func(ctx SpecContext) {
			type slice = discoveryv1.EndpointSlice
			same := func(*slice) {}
			for what, s := range map[string]*slice{
				"another name":         flushSlice(it.namespace, func(s *slice) { s.Name = "web-abcde" }),
				"another family":       flushSlice(it.namespace, func(s *slice) { s.Name = "hnsguard-flush-ipv6" }),
				"another Service":      flushSlice(it.namespace, func(s *slice) { s.Labels[discoveryv1.LabelServiceName] = "web" }),
				"another manager":      flushSlice(it.namespace, func(s *slice) { delete(s.Labels, discoveryv1.LabelManagedBy) }),
				"another address":      flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Addresses[0] = "10.0.0.1" }),
				"a second endpoint":    flushSlice(it.namespace, func(s *slice) { s.Endpoints = append(s.Endpoints, s.Endpoints[0]) }),
				"another range":        flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Addresses[0] = "203.0.113.1" }),
				"the first address":    flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Addresses[0] = "198.51.100.0" }),
				"the last address":     flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Addresses[0] = "198.51.100.255" }),
				"a longer address":     flushIPv6(it.namespace, "2001:db8:0:1::1:1"),
				"another IPv6 address": flushIPv6(it.namespace, "2001:db8::1"),
				"the last of IPv6":     flushIPv6(it.namespace, "2001:db8:0:1::ff"),
				"two addresses": flushSlice(it.namespace, func(s *slice) {
					s.Endpoints[0].Addresses = []string{"198.51.100.1", "198.51.100.2"}
				}),
				"no endpoint":          flushSlice(it.namespace, func(s *slice) { s.Endpoints = []discoveryv1.Endpoint{} }),
				"an endpoint's node":   flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].NodeName = &node }),
				"another port":         flushSlice(it.namespace, func(s *slice) { s.Ports[0].Port = new(int32(443)) }),
				"port 2":               flushSlice(it.namespace, func(s *slice) { s.Ports[0].Port = new(int32(2)) }),
				"no port":              flushSlice(it.namespace, func(s *slice) { s.Ports = nil }),
				"an endpoint's target": flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod"} }),
				"an endpoint's name":   flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Hostname = new("web") }),
				"an endpoint's zone":   flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Zone = new("z") }),
				"an endpoint's hints": flushSlice(it.namespace, func(s *slice) {
					s.Endpoints[0].Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z"}}}
				}),
				"an endpoint's conditions": flushSlice(it.namespace, func(s *slice) { s.Endpoints[0].Conditions.Ready = new(true) }),
				"another port's name":      flushSlice(it.namespace, func(s *slice) { s.Ports[0].Name = new("http") }),
				"a port's protocol":        flushSlice(it.namespace, func(s *slice) { s.Ports[0].AppProtocol = new("http") }),
				"a third slice": flushSlice(it.namespace, func(s *slice) {
					s.Name, s.AddressType, s.Endpoints[0].Addresses[0] = "hnsguard-flush-fqdn", discoveryv1.AddressTypeFQDN, "a.example"
				}),
			} {
				Expect(mine.Create(ctx, s)).To(refusedBy("slices", "hnsguard may only"), what)
			}
			for what, change := range spoiled() {
				Expect(mine.Create(ctx, flushSlice(it.namespace, func(s *slice) { change(s) }))).
					To(refusedBy("slices", "hnsguard may only"), what)
			}
			Expect(mine.Create(ctx, flushSlice("default", same))).To(refusedBy("slices", "that are its own"))

			flush := flushSlice(it.namespace, same)
			Expect(mine.Create(ctx, flush)).To(Succeed())
			for _, addr := range []string{"198.51.100.10", "198.51.100.99", "198.51.100.100", "198.51.100.254"} {
				Expect(other.Patch(ctx, flush, moved(addr))).To(Succeed(), "one slice is for all")
			}
			second := flushIPv6(it.namespace, "2001:db8:0:1::1")
			Expect(mine.Create(ctx, second)).To(Succeed())
			for _, addr := range []string{"2001:db8:0:1::f", "2001:db8:0:1::10", "2001:db8:0:1::fe"} {
				Expect(mine.Patch(ctx, second, moved(addr))).To(Succeed(), addr)
			}
			Expect(mine.Patch(ctx, flush, client.RawPatch(types.MergePatchType, []byte(`{"endpoints": []}`)))).
				To(refusedBy("slices", "documentation address"))
			for what, change := range spoiled() {
				changed := flush.DeepCopy()
				change(changed)
				Expect(mine.Patch(ctx, changed, client.MergeFrom(flush.DeepCopy()))).To(refusedBy("slices", "hnsguard may only"), what)
			}
			for what, fields := range map[string]string{
				"a long field":   `{"f:` + strings.Repeat("x", 200) + `": {}}`,
				"a long label":   `{"f:metadata": {"f:labels": {"f:` + strings.Repeat("x", 200) + `": {}}}}`,
				"a deep field":   `{"f:metadata": {"f:labels": {"f:a": {"f:b": {"f:c": {}}}}}}`,
				"another writer": `{"f:ports": {}}}, {"manager": "y", "operation": "Update", "apiVersion": "discovery.k8s.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:endpoints": {}}`,
			} {
				managed := `{"metadata": {"managedFields": [{"manager": "x", "operation": "Update", "apiVersion": "discovery.k8s.io/v1", ` +
					`"fieldsType": "FieldsV1", "fieldsV1": ` + fields + `}]}}`
				Expect(mine.Patch(ctx, flush.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(managed)))).
					To(refusedBy("slices", "managed fields"), what)
			}
			Expect(mine.Delete(ctx, flush)).To(refusedBy("slices", "that are its own"))
			foreign := flushSlice(it.namespace, func(s *slice) { s.Name = "web-abcde" })
			Expect(shared.client.Create(ctx, foreign)).To(Succeed(), "others may write what they like")
			Expect(mine.Patch(ctx, foreign, moved("198.51.100.1"))).To(forbidden("cannot patch resource"))
		})

		It("keeps addresses listed for pods of its own node, where they receive no traffic", func(ctx SpecContext) {
			type slice = discoveryv1.EndpointSlice
			namespace := shared.namespace(ctx)
			keep := func(change func(*slice)) *slice { return keepSlice(namespace, node, change) }
			for what, s := range map[string]*slice{
				"another name":    keep(func(s *slice) { s.Name = "cart-abcde" }),
				"a name too long": keep(func(s *slice) { s.Name += "0" }),
				"a generated name": keep(func(s *slice) {
					s.Name, s.GenerateName = "", "hnsguard-keep-"
				}),
				"of no Service":   keep(func(s *slice) { delete(s.Labels, discoveryv1.LabelServiceName) }),
				"another manager": keep(func(s *slice) { s.Labels[discoveryv1.LabelManagedBy] = "hnsguard" }),
				"a third label":   keep(func(s *slice) { s.Labels["a"] = "b" }),
				"another node's":  keepSlice(namespace, elsewhere, func(*slice) {}),
				"without a node":  keep(func(s *slice) { s.Annotations = nil }),
				"more annotations": keep(func(s *slice) {
					s.Annotations["a"] = "b"
				}),
				"ready by default":        keep(func(s *slice) { s.Endpoints[0].Conditions = discoveryv1.EndpointConditions{} }),
				"a ready endpoint":        keep(func(s *slice) { s.Endpoints[0].Conditions.Ready = new(true) }),
				"a serving endpoint":      keep(func(s *slice) { s.Endpoints[0].Conditions.Serving = new(true) }),
				"a terminating endpoint":  keep(func(s *slice) { s.Endpoints[0].Conditions.Terminating = new(true) }),
				"an endpoint's node":      keep(func(s *slice) { s.Endpoints[0].NodeName = &node }),
				"an endpoint's zone":      keep(func(s *slice) { s.Endpoints[0].Zone = new("z") }),
				"an endpoint's name":      keep(func(s *slice) { s.Endpoints[0].Hostname = new("web") }),
				"an endpoint's target":    keep(func(s *slice) { s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod"} }),
				"an endpoint's condition": keep(func(s *slice) { s.Endpoints[0].Conditions.Terminating = nil }),
				"no endpoint":             keep(func(s *slice) { s.Endpoints = nil }),
				"a second endpoint":       keep(func(s *slice) { s.Endpoints = append(s.Endpoints, s.Endpoints[0]) }),
				"two addresses":           keep(func(s *slice) { s.Endpoints[0].Addresses = []string{"10.0.0.7", "10.0.0.8"} }),
				"no address of a pod": keep(func(s *slice) {
					s.AddressType, s.Endpoints[0].Addresses[0] = discoveryv1.AddressTypeFQDN, "a.example"
				}),
				"another port":        keep(func(s *slice) { s.Ports[0].Port = new(int32(80)) }),
				"another port's name": keep(func(s *slice) { s.Ports[0].Name = new("http") }),
				"a port's protocol":   keep(func(s *slice) { s.Ports[0].AppProtocol = new("http") }),
				"a second port": keep(func(s *slice) {
					s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: new("http"), Port: new(int32(80))})
				}),
				"no port": keep(func(s *slice) { s.Ports = nil }),
			} {
				Expect(mine.Create(ctx, s)).To(refusedBy("slices", "hnsguard may"), what)
			}
			for what, change := range spoiled() {
				Expect(mine.Create(ctx, keep(func(s *slice) { change(s) }))).To(refusedBy("slices", "hnsguard may"), what)
			}
			s := keep(func(*slice) {})
			Expect(mine.Create(ctx, s)).To(Succeed())
			Expect(mine.Patch(ctx, s.DeepCopy(), moved("10.0.0.8"))).To(forbidden("cannot patch resource"))
			Expect(mine.Delete(ctx, s)).To(Succeed())
			Expect(mine.Create(ctx, keep(func(s *slice) {
				s.AddressType, s.Endpoints[0].Addresses[0] = discoveryv1.AddressTypeIPv6, "fd00::7"
			}))).To(Succeed())
		})

		It("lets go of what its own node keeps, and nodes that are gone", func(ctx SpecContext) {
			namespace, gone := shared.namespace(ctx), node+"-gone"
			kept := func(name, by string) *discoveryv1.EndpointSlice {
				return keepSlice(namespace, by, func(s *discoveryv1.EndpointSlice) { s.Name = "hnsguard-keep-000000000000000" + name })
			}
			former := clientOf(it.agentOn(ctx, gone))
			left := kept("1", gone)
			Expect(former.Create(ctx, left)).To(Succeed())
			Eventually(func() error { return mine.Delete(ctx, left) }).Should(refusedBy("keep", "of nodes that do not exist"))
			Expect(shared.client.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: gone}})).To(Succeed())
			Eventually(func() error { return mine.Delete(ctx, left) }).Should(Succeed(), "when the API server's cache knows")

			others := kept("2", elsewhere)
			Expect(other.Create(ctx, others)).To(Succeed())
			Expect(mine.Delete(ctx, others)).To(refusedBy("keep", "of nodes that do not exist"))
			changed := kept("3", node)
			changed.Annotations = nil
			Expect(shared.client.Create(ctx, changed)).To(Succeed(), "others may write what they like")
			Expect(mine.Delete(ctx, changed)).To(refusedBy("keep", "of nodes that do not exist"))
			foreign := kept("4", node)
			foreign.Name = "cart-abcde"
			Expect(shared.client.Create(ctx, foreign)).To(Succeed())
			Expect(mine.Delete(ctx, foreign)).To(refusedBy("slices", "that are its own"))
			Expect(shared.client.DeleteAllOf(ctx, others, client.InNamespace(namespace),
				client.MatchingLabels{discoveryv1.LabelManagedBy: "hnsguard-keep"})).To(Succeed(), "an administrator may")
		})

		It("makes kube-proxy program Services again, and does them no other harm", func(ctx SpecContext) {
			type slice = discoveryv1.EndpointSlice
			namespace := shared.namespace(ctx)
			disturbing := func(change func(*slice)) *slice {
				s := loadbalancer.NewSlice(&corev1.Service{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cart", UID: "1"},
				}, netip.MustParseAddr("10.0.0.7"))
				change(s)
				return s
			}
			for what, s := range map[string]*slice{
				"another name":       disturbing(func(s *slice) { s.Name = "cart-abcde" }),
				"of another Service": disturbing(func(s *slice) { s.Labels[discoveryv1.LabelServiceName] = "web" }),
				"another manager":    disturbing(func(s *slice) { s.Labels[discoveryv1.LabelManagedBy] = "hnsguard" }),
				"not owned":          disturbing(func(s *slice) { s.OwnerReferences = nil }),
				"another address":    disturbing(func(s *slice) { s.Endpoints[0].Addresses[0] = "10.0.0.1" }),
				"an endpoint's node": disturbing(func(s *slice) { s.Endpoints[0].NodeName = &node }),
				"a ready endpoint":   disturbing(func(s *slice) { s.Endpoints[0].Conditions.Ready = nil }),
				"a serving endpoint": disturbing(func(s *slice) { s.Endpoints[0].Conditions.Serving = new(true) }),
				"an endpoint's zone": disturbing(func(s *slice) { s.Endpoints[0].Zone = new("z") }),
				"an endpoint's hints": disturbing(func(s *slice) {
					s.Endpoints[0].Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z"}}}
				}),
				"another port":         disturbing(func(s *slice) { s.Ports[0].Port = new(int32(80)) }),
				"a controller":         disturbing(func(s *slice) { s.OwnerReferences[0].Controller = new(true) }),
				"an owner that stays":  disturbing(func(s *slice) { s.OwnerReferences[0].BlockOwnerDeletion = new(true) }),
				"the flush, elsewhere": flushSlice(namespace, func(*slice) {}),
			} {
				Expect(mine.Create(ctx, s)).To(refusedBy("slices", "hnsguard may"), what)
			}
			for what, change := range spoiled() {
				Expect(mine.Create(ctx, disturbing(func(s *slice) { change(s) }))).To(refusedBy("slices", "hnsguard may"), what)
			}
			s := disturbing(func(*slice) {})
			Expect(mine.Create(ctx, s)).To(Succeed())
			Expect(mine.Delete(ctx, s)).To(Succeed())
			foreign := disturbing(func(s *slice) { s.Name, s.Labels[discoveryv1.LabelManagedBy] = "cart-abcde", "somebody" })
			Expect(shared.client.Create(ctx, foreign)).To(Succeed(), "others may write what they like")
			Expect(mine.Delete(ctx, foreign)).To(refusedBy("slices", "that are its own"))
		})

		It("reports about pods and its own node, as itself", func(ctx SpecContext) {
			same := func(*eventsv1.Event) {}
			pod := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: it.namespace, Name: "web"}
			on := func(name string) corev1.ObjectReference { return corev1.ObjectReference{Kind: "Node", Name: name} }
			Expect(mine.Create(ctx, event(it.namespace, pod, same))).To(Succeed())
			own := event("default", on(node), same)
			Expect(mine.Create(ctx, own)).To(Succeed())
			Expect(mine.Patch(ctx, own, client.RawPatch(types.MergePatchType,
				[]byte(`{"series": {"count": 2, "lastObservedTime": "2030-01-01T00:00:00.000000Z"}}`)))).To(Succeed())

			Expect(mine.Create(ctx, event("default", on(elsewhere), same))).To(refusedBy("events", "the node that it runs on"))
			Expect(mine.Create(ctx, event(it.namespace, pod, func(e *eventsv1.Event) { e.ReportingController = "kubelet" }))).
				To(refusedBy("events", "as itself"))
			long := strings.Repeat("x", 254)
			for what, change := range map[string]func(*eventsv1.Event){
				"annotations": func(e *eventsv1.Event) { e.Annotations = map[string]string{"a": "b"} },
				"labels":      func(e *eventsv1.Event) { e.Labels = map[string]string{"a": "b"} },
				"finalizers":  func(e *eventsv1.Event) { e.Finalizers = []string{"example.com/never"} },
				"an owner": func(e *eventsv1.Event) {
					e.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "x", UID: "1"}}
				},
				"a relation":     func(e *eventsv1.Event) { e.Related = new(on(elsewhere)) },
				"a field":        func(e *eventsv1.Event) { e.Regarding.FieldPath = "spec" },
				"a long name":    func(e *eventsv1.Event) { e.Regarding.Name = long },
				"a long UID":     func(e *eventsv1.Event) { e.Regarding.UID = types.UID(long) },
				"a long version": func(e *eventsv1.Event) { e.Regarding.ResourceVersion = long },
			} {
				Expect(mine.Create(ctx, event(it.namespace, pod, change))).To(refusedBy("events", "hnsguard may only"), what)
			}
			annotated := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"a": "b"}}}`))
			Expect(mine.Patch(ctx, own, annotated)).To(refusedBy("events", "without annotations"))
			kubelets := event(it.namespace, pod, func(e *eventsv1.Event) { e.ReportingController = "kubelet" })
			Expect(shared.client.Create(ctx, kubelets)).To(Succeed())
			Expect(mine.Patch(ctx, kubelets, client.RawPatch(types.MergePatchType, []byte(`{"reportingController": "hnsguard"}`)))).
				NotTo(Succeed(), "it may not make another's Event its own")
		})

		It("may do nothing else", func(ctx SpecContext) {
			Expect(mine.List(ctx, &corev1.SecretList{})).To(forbidden("cannot list resource"))
			Expect(mine.Get(ctx, client.ObjectKey{Namespace: it.namespace, Name: "x"}, &corev1.Secret{})).To(forbidden("cannot get"))
			Expect(mine.List(ctx, &corev1.ConfigMapList{})).To(forbidden("cannot list resource"))
			Expect(mine.List(ctx, &corev1.NodeList{})).To(forbidden("cannot list resource"))
			own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
			Expect(mine.Patch(ctx, own, client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"labels": {"a": "b"}}}`)))).
				To(forbidden("cannot patch resource"))
			pod := it.workload(ctx, it.namespace, "web", node)
			Expect(mine.Delete(ctx, pod)).To(forbidden("cannot delete resource"))
			Expect(mine.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "more"}})).To(forbidden("cannot create"))
		})

		It("may write nothing with a token that no pod has", func(ctx SpecContext) {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: it.namespace, Name: "hnsguard"}}
			unbound := clientOf(shared.as(ctx, account, nil))
			pod := it.workload(ctx, it.namespace, "web-of-nobody", node)
			Expect(evict(ctx, unbound, pod, &pod.UID)).To(refusedBy("eviction", "not that of a pod on a node"))
			for _, s := range []*discoveryv1.EndpointSlice{
				flushSlice(it.namespace, func(*discoveryv1.EndpointSlice) {}),
				keepSlice(it.namespace, "", func(*discoveryv1.EndpointSlice) {}),
			} {
				Expect(unbound.Create(ctx, s)).To(refusedBy("slices", "not that of a pod on a node"))
			}
		})
	})

	It("lets the agent do all of its work", func(ctx SpecContext) {
		it := install(ctx, shared, "--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce")
		n := newNode(ctx, shared, hnstest.Options{})
		n.api, n.agentNamespace = it.agentOn(ctx, n.name), it.namespace
		n.kubeProxy = "v1.31.0" // its record has to be flushed
		n.followFlushes(ctx)
		n.evictsVictims()
		stale, orphan := n.remote(n.addr(1)), n.remote(n.addr(2))
		pod := n.pod(ctx, "web", n.addr(1))
		local := n.local(n.addr(1))
		controller := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "1", Controller: new(true)}
		victim := n.podWith(ctx, "victim", func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{controller}
			p.Spec.TerminationGracePeriodSeconds = new(int64(0))
		}, n.addr(3))
		n.slice(ctx, "known", "lin-1", nil, n.addr(9))
		n.config.Reprogram.Mode = config.Enforce
		service := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "cart"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}
		Expect(shared.client.Create(ctx, service)).To(Succeed())
		_, err := n.service.CreateLoadBalancer(hns.LoadBalancer{
			Endpoints: []hns.EndpointID{stale}, FrontendVIPs: []netip.Addr{netip.MustParseAddr(service.Spec.ClusterIP)},
			Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 80}},
		})
		Expect(err).NotTo(HaveOccurred())
		n.start()

		Eventually(n.there).Should(ConsistOf(local), "the conflict and the orphan are removed")
		Expect(n.service.Deleted()).To(ContainElements(stale, orphan))
		Eventually(n.events(ctx, n.namespace, pod.Name)).Should(ContainElement(removal.EventRemoved))
		Eventually(n.events(ctx, n.namespace, victim.Name)).Should(ContainElements(eviction.EventVictim, eviction.EventEvicted))
		Expect(shared.client.Get(ctx, keyOf(victim), victim)).To(WithTransform(apierrors.IsNotFound, BeTrue()))
		Eventually(func() error {
			return shared.client.Get(ctx, client.ObjectKey{Namespace: it.namespace, Name: "hnsguard-flush-ipv4"},
				&discoveryv1.EndpointSlice{})
		}).Should(Succeed(), "kube-proxy's record is flushed")
		Eventually(n.events(ctx, n.namespace, service.Name)).Should(ContainElement(loadbalancer.EventDangling))
		disturbing := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: loadbalancer.SliceName(service.Name)},
		}
		Eventually(func() float64 { return n.metric(`hnsguard_reprograms_total{result="done"}`) }).Should(BeNumerically(">", 0))
		Eventually(func() error { return shared.client.Get(ctx, keyOf(disturbing), disturbing) }).
			Should(WithTransform(apierrors.IsNotFound, BeTrue()), "kube-proxy is made to program the Service again")
		Expect(n.metric(`hnsguard_flushes_total{result="failed"}`)).To(BeZero())
		Expect(n.metric(`hnsguard_evictions_total{result="failed"}`)).To(BeZero())
	})

	It("asks in alerts and dashboards for series that the agent has", func(ctx SpecContext) {
		c, err := chart.In("../..")
		Expect(err).NotTo(HaveOccurred())
		objects, err := c.Render(ctx, chart.Namespace, "--set", "prometheusRule.enabled=true,dashboards.enabled=true")
		Expect(err).NotTo(HaveOccurred())
		n := newNode(ctx, shared, hnstest.Options{})
		n.start()
		var has []string
		families, err := n.running.Metrics().Gather()
		Expect(err).NotTo(HaveOccurred())
		for _, f := range families {
			has = append(has, f.GetName())
		}
		asked := map[string]bool{}
		for _, u := range append(objects.Of("PrometheusRule"), objects.Of("ConfigMap")...) {
			text, err := u.MarshalJSON()
			Expect(err).NotTo(HaveOccurred())
			for _, found := range regexp.MustCompile(`hnsguard_[a-z_]+`).FindAllString(string(text), -1) {
				asked[strings.TrimSuffix(strings.TrimSuffix(found, "_bucket"), "_count")] = true
			}
		}
		Expect(len(asked)).To(BeNumerically(">", 12))
		for series := range asked {
			Expect(has).To(ContainElement(series))
		}
	})
})

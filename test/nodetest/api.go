// SPDX-License-Identifier: Apache-2.0

package nodetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// API is an API server in memory. Pods are in controller-runtime's fake client, with the field selectors of the real
// server. EndpointSlices are stored here, because the fake has no common revision for them.
type API struct {
	client.WithWatch

	// OnPods and OnSlices run before a list of pods or EndpointSlices is served, if set. An error is the answer.
	OnPods, OnSlices func(ctx context.Context, o client.ListOptions) error
	// Requests are the requested lists, in order.
	Requests []Request

	mu       sync.Mutex
	revision int
	// slices are the slices by namespace and name, and names their sorted keys.
	slices map[string]*discoveryv1.EndpointSlice
	names  []string
}

// Request is a requested list.
type Request struct {
	// Kind is "pods" or "slices".
	Kind    string
	Options client.ListOptions
}

func newAPI() *API {
	a := &API{slices: map[string]*discoveryv1.EndpointSlice{}, revision: 100}
	// With all types of Kubernetes, the default, creating the server takes longer than most tests.
	scheme := runtime.NewScheme()
	utilruntime.Must(errors.Join(corev1.AddToScheme(scheme), discoveryv1.AddToScheme(scheme)))
	server := fake.NewClientBuilder().
		WithScheme(scheme).
		WithTypeConverters(managedfields.NewDeducedTypeConverter()).
		WithIndex(&corev1.Pod{}, "spec.nodeName", podIndex(func(p *corev1.Pod) string { return p.Spec.NodeName })).
		WithIndex(&corev1.Pod{}, "status.podIP", podIndex(func(p *corev1.Pod) string { return p.Status.PodIP })).
		Build()
	a.WithWatch = interceptor.NewClient(server, interceptor.Funcs{List: a.list})
	return a
}

func podIndex(field func(*corev1.Pod) string) client.IndexerFunc {
	return func(obj client.Object) []string {
		pod, is := obj.(*corev1.Pod)
		if !is {
			return nil
		}
		return []string{field(pod)}
	}
}

func (a *API) list(
	ctx context.Context, next client.WithWatch, into client.ObjectList, opts ...client.ListOption,
) error {
	options := client.ListOptions{}
	options.ApplyOptions(opts)
	switch list := into.(type) {
	case *corev1.PodList:
		if err := a.request(ctx, "pods", a.OnPods, options); err != nil {
			return err
		}
	case *discoveryv1.EndpointSliceList:
		if err := a.request(ctx, "slices", a.OnSlices, options); err != nil {
			return err
		}
		a.page(list, options)
		return nil
	}
	return next.List(ctx, into, opts...)
}

func (a *API) request(
	ctx context.Context, kind string, on func(context.Context, client.ListOptions) error, options client.ListOptions,
) error {
	a.mu.Lock()
	a.Requests = append(a.Requests, Request{Kind: kind, Options: options})
	a.mu.Unlock()
	if on == nil {
		return nil
	}
	return on(ctx, options)
}

// Requested returns the number of requested lists of a kind.
func (a *API) Requested(kind string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.Requests {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

// Version returns the server's revision.
func (a *API) Version() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strconv.Itoa(a.revision)
}

// Advance raises the revision, like the change of an object that the agent does not watch.
func (a *API) Advance() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revision++
}

// set stores a slice at a new revision.
func (a *API) set(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revision++
	s = s.DeepCopy()
	s.ResourceVersion = strconv.Itoa(a.revision)
	name := client.ObjectKeyFromObject(s).String()
	if at, known := slices.BinarySearch(a.names, name); !known {
		a.names = slices.Insert(a.names, at, name)
	}
	a.slices[name] = s
	return s.DeepCopy()
}

// remove deletes a slice at a new revision, and returns its last state; nil if there was none.
func (a *API) remove(key types.NamespacedName) *discoveryv1.EndpointSlice {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := key.String()
	s, known := a.slices[name]
	if !known {
		return nil
	}
	a.revision++
	delete(a.slices, name)
	at, _ := slices.BinarySearch(a.names, name)
	a.names = slices.Delete(a.names, at, at+1)
	s = s.DeepCopy()
	s.ResourceVersion = strconv.Itoa(a.revision)
	return s
}

// page lists the slices sorted by name, up to the limit of the options. The name of the first slice that follows is the
// token for the next page.
func (a *API) page(list *discoveryv1.EndpointSliceList, options client.ListOptions) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list.ResourceVersion = strconv.Itoa(a.revision)
	from, _ := slices.BinarySearch(a.names, options.Continue)
	names := a.names[from:]
	if limit := int(options.Limit); limit > 0 && len(names) > limit {
		names, list.Continue = names[:limit], names[limit]
	}
	for _, name := range names {
		list.Items = append(list.Items, *a.slices[name].DeepCopy())
	}
}

// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// APIFault is the closed set of ways in which the API server fails for an agent.
type APIFault int

// The faults.
const (
	APIWell APIFault = iota
	// APIAway: it refuses connections.
	APIAway
	// APIBusy: it answers 429.
	APIBusy
	// APIHangs: it does not answer.
	APIHangs
	// APILosesAnswers: a write takes effect, but the answer is a timeout.
	APILosesAnswers
)

// apiClient is the [client.Client] of one agent. It reads the current state, and every request takes time.
type apiClient struct {
	agent  *Agent
	scheme *runtime.Scheme
}

var _ client.WithWatch = apiClient{}

// errNotModelled is the answer to requests that no agent makes so far.
var errNotModelled = errors.New("the world's API server does not serve this request")

// apiRequest makes one request.
func apiRequest[T any](ctx context.Context, c apiClient, verb string, writes bool, effect func() (T, error)) (T, error) {
	w := c.agent.node.world
	got, err := ask(ctx, w, c.agent.Name, verb, w.Setup.APILatency, func(reply func(answer[T])) {
		var a answer[T]
		switch fault := c.agent.apiFault; {
		case c.agent.dead:
			a.err = context.Canceled
		case fault == APIAway:
			a.err = fmt.Errorf("%s: dial tcp 10.96.0.1:443: connect: connection refused", verb)
		case fault == APIBusy:
			a.err = apierrors.NewTooManyRequests("the server is busy", 1)
		case fault == APIHangs:
			c.agent.unanswered = append(c.agent.unanswered, func() { reply(answer[T]{err: context.Canceled}) })
			return
		case fault == APILosesAnswers && writes:
			_, _ = effect() // the write takes effect, but its answer is lost
			a.err = apierrors.NewTimeoutError("the request took too long", 1)
		default:
			a.value, a.err = effect()
		}
		reply(a)
	})
	if err != nil {
		return got.value, fmt.Errorf("%s: %w", verb, err)
	}
	return got.value, got.err
}

// Get implements [client.Client].
func (c apiClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	kind := kindOf(obj)
	read, err := apiRequest(ctx, c, "get "+string(kind)+" "+key.String(), false, func() (client.Object, error) {
		found := c.agent.node.world.API.Get(kind, key)
		if found == nil {
			return nil, apierrors.NewNotFound(resourceOf(kind), key.Name)
		}
		return found, nil
	})
	if err != nil {
		return err
	}
	assign(obj, read)
	return nil
}

// page is the answer to a list request.
type page struct {
	items   []client.Object
	version string
	proceed string
}

// List implements [client.Client].
func (c apiClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	kind, err := kindOfList(list)
	if err != nil {
		return err
	}
	got, err := apiRequest(ctx, c, "list "+string(kind), false, func() (page, error) { return c.page(kind, o), nil })
	if err != nil {
		return err
	}
	objects := make([]runtime.Object, 0, len(got.items))
	for _, item := range got.items {
		objects = append(objects, item.DeepCopyObject())
	}
	list.SetResourceVersion(got.version)
	list.SetContinue(got.proceed)
	return meta.SetList(list, objects)
}

func (c apiClient) page(kind Kind, o *client.ListOptions) page {
	api := c.agent.node.world.API
	p := page{version: api.Version()}
	after := o.Continue
	for _, obj := range api.All(kind) {
		name := obj.GetNamespace() + "/" + obj.GetName()
		if after != "" && name <= after || !selected(obj, o) {
			continue
		}
		if o.Limit > 0 && int64(len(p.items)) == o.Limit {
			last := p.items[len(p.items)-1]
			p.proceed = last.GetNamespace() + "/" + last.GetName()
			return p
		}
		p.items = append(p.items, obj)
	}
	return p
}

func selected(obj client.Object, o *client.ListOptions) bool {
	if o.Namespace != "" && obj.GetNamespace() != o.Namespace {
		return false
	}
	if o.LabelSelector != nil && !o.LabelSelector.Matches(labels.Set(obj.GetLabels())) {
		return false
	}
	return o.FieldSelector == nil || o.FieldSelector.Matches(fieldsOf(obj))
}

// fieldsOf returns the fields for field selectors.
func fieldsOf(obj client.Object) fields.Set {
	set := fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}
	switch o := obj.(type) {
	case *corev1.Pod:
		set["spec.nodeName"], set["status.podIP"] = o.Spec.NodeName, o.Status.PodIP
		set["status.phase"] = string(o.Status.Phase)
	case *corev1.Service:
		set["spec.clusterIP"], set["spec.type"] = o.Spec.ClusterIP, string(o.Spec.Type)
	}
	return set
}

// Watch implements [client.WithWatch]: it begins with the changes since the resource version of a list.
func (c apiClient) Watch(
	ctx context.Context, list client.ObjectList, opts ...client.ListOption,
) (watch.Interface, error) {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	kind, err := kindOfList(list)
	if err != nil {
		return nil, err
	}
	since := 0
	if o.Raw != nil {
		since, _ = strconv.Atoi(o.Raw.ResourceVersion) // without one, everything is new
	}
	return apiRequest(ctx, c, "watch "+string(kind), false, func() (watch.Interface, error) {
		return c.agent.node.world.API.stream(kind, o, since), nil
	})
}

// Create implements [client.Client].
func (c apiClient) Create(ctx context.Context, obj client.Object, _ ...client.CreateOption) error {
	kind, made := kindOf(obj), copyOf(obj)
	return c.write(ctx, "create", obj, func() (client.Object, error) {
		if c.agent.node.world.API.Get(kind, client.ObjectKeyFromObject(made)) != nil {
			return nil, apierrors.NewAlreadyExists(resourceOf(kind), made.GetName())
		}
		return made, nil
	})
}

// write changes an object, and assigns the stored result to it.
func (c apiClient) write(
	ctx context.Context, verb string, obj client.Object, change func() (client.Object, error),
) error {
	stored, err := apiRequest(ctx, c, verb+" "+string(kindOf(obj)), true, func() (client.Object, error) {
		made, err := change()
		if err != nil {
			return nil, err
		}
		c.agent.writes(made)
		return made, nil
	})
	if err != nil {
		return err
	}
	assign(obj, stored)
	return nil
}

// Update implements [client.Client].
func (c apiClient) Update(ctx context.Context, obj client.Object, _ ...client.UpdateOption) error {
	made := copyOf(obj)
	return c.replace(ctx, "update", obj, made.GetResourceVersion(), func(client.Object) (client.Object, error) {
		return made, nil
	})
}

// Patch implements [client.Client], for JSON patches.
func (c apiClient) Patch(ctx context.Context, obj client.Object, patch client.Patch, _ ...client.PatchOption) error {
	if patch.Type() != types.JSONPatchType {
		return fmt.Errorf("patching with %s: %w", patch.Type(), errNotModelled)
	}
	data, err := patch.Data(obj)
	if err != nil {
		return fmt.Errorf("reading the patch: %w", err)
	}
	steps, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return fmt.Errorf("reading the patch: %w", err)
	}
	return c.replace(ctx, "patch", obj, "", func(present client.Object) (client.Object, error) {
		return patched(present, steps)
	})
}

func patched(present client.Object, steps jsonpatch.Patch) (client.Object, error) {
	before, err := json.Marshal(present)
	if err != nil {
		return nil, fmt.Errorf("encoding the present object: %w", err)
	}
	after, err := steps.Apply(before)
	if err != nil {
		return nil, fmt.Errorf("applying the patch: %w", err)
	}
	made := reflect.New(reflect.TypeOf(present).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(after, made); err != nil {
		return nil, fmt.Errorf("decoding the patched object: %w", err)
	}
	if made.GetResourceVersion() != present.GetResourceVersion() {
		return nil, conflict(kindOf(present), present.GetName())
	}
	return made, nil
}

func conflict(kind Kind, name string) error {
	return apierrors.NewConflict(resourceOf(kind), name, errors.New("the object has been modified"))
}

// replace overwrites an object, which must exist, and must have the version if one is given.
func (c apiClient) replace(ctx context.Context, verb string, obj client.Object, version string,
	with func(client.Object) (client.Object, error),
) error {
	kind, key := kindOf(obj), client.ObjectKeyFromObject(obj)
	return c.write(ctx, verb, obj, func() (client.Object, error) {
		present := c.agent.node.world.API.Get(kind, key)
		switch {
		case present == nil:
			return nil, apierrors.NewNotFound(resourceOf(kind), key.Name)
		case version != "" && version != present.GetResourceVersion():
			return nil, conflict(kind, key.Name)
		default:
			return with(present)
		}
	})
}

// Delete implements [client.Client].
func (c apiClient) Delete(ctx context.Context, obj client.Object, _ ...client.DeleteOption) error {
	kind, key := kindOf(obj), client.ObjectKeyFromObject(obj)
	_, err := apiRequest(ctx, c, "delete "+string(kind), true, func() (struct{}, error) {
		present := c.agent.node.world.API.Get(kind, key)
		if present == nil {
			return struct{}{}, apierrors.NewNotFound(resourceOf(kind), key.Name)
		}
		c.agent.removes(present)
		return struct{}{}, nil
	})
	return err
}

// DeleteAllOf implements [client.Client].
func (c apiClient) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return errNotModelled
}

// Apply implements [client.Client].
func (c apiClient) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return errNotModelled
}

// Status implements [client.Client].
func (c apiClient) Status() client.SubResourceWriter { return subResource{c, "status"} }

// SubResource implements [client.Client].
func (c apiClient) SubResource(name string) client.SubResourceClient { return subResource{c, name} }

// Scheme implements [client.Client].
func (c apiClient) Scheme() *runtime.Scheme { return c.scheme }

// RESTMapper implements [client.Client].
func (c apiClient) RESTMapper() meta.RESTMapper { return meta.NewDefaultRESTMapper(nil) }

// GroupVersionKindFor implements [client.Client].
func (c apiClient) GroupVersionKindFor(runtime.Object) (schema.GroupVersionKind, error) {
	return schema.GroupVersionKind{}, errNotModelled
}

// IsObjectNamespaced implements [client.Client].
func (c apiClient) IsObjectNamespaced(obj runtime.Object) (bool, error) {
	_, node := obj.(*corev1.Node)
	return !node, nil
}

// subResource handles evictions.
type subResource struct {
	client apiClient
	name   string
}

// Create implements [client.SubResourceClient].
func (s subResource) Create(ctx context.Context, obj, sub client.Object, _ ...client.SubResourceCreateOption) error {
	eviction, ok := sub.(*policyv1.Eviction)
	if s.name != "eviction" || !ok {
		return fmt.Errorf("creating %s: %w", s.name, errNotModelled)
	}
	key := client.ObjectKeyFromObject(obj)
	_, err := apiRequest(ctx, s.client, "evict", true, func() (struct{}, error) {
		present := s.client.agent.node.world.API.Get(KindPod, key)
		if present == nil {
			return struct{}{}, apierrors.NewNotFound(resourceOf(KindPod), key.Name)
		}
		if d := eviction.DeleteOptions; d != nil && d.Preconditions != nil && d.Preconditions.UID != nil &&
			*d.Preconditions.UID != present.GetUID() {
			return struct{}{}, apierrors.NewConflict(resourceOf(KindPod), key.Name, errors.New("the UID is another"))
		}
		s.client.agent.evicts(key)
		return struct{}{}, nil
	})
	return err
}

// Get implements [client.SubResourceClient].
func (s subResource) Get(context.Context, client.Object, client.Object, ...client.SubResourceGetOption) error {
	return errNotModelled
}

// Update implements [client.SubResourceClient].
func (s subResource) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return errNotModelled
}

// Patch implements [client.SubResourceClient].
func (s subResource) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return errNotModelled
}

// Apply implements [client.SubResourceClient].
func (s subResource) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return errNotModelled
}

func kindOfList(list client.ObjectList) (Kind, error) {
	switch list.(type) {
	case *corev1.PodList:
		return KindPod, nil
	case *discoveryv1.EndpointSliceList:
		return KindSlice, nil
	case *corev1.ServiceList:
		return KindService, nil
	case *corev1.NodeList:
		return KindNode, nil
	default:
		return "", fmt.Errorf("listing %T: %w", list, errNotModelled)
	}
}

func resourceOf(kind Kind) schema.GroupResource {
	group := ""
	if kind == KindSlice {
		group = discoveryv1.GroupName
	}
	return schema.GroupResource{Group: group, Resource: string(kind)}
}

// assign copies an object into a caller's object.
func assign(to, from client.Object) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(copyOf(from)).Elem())
}

func copyOf(obj client.Object) client.Object { return obj.DeepCopyObject().(client.Object) }

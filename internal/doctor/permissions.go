// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Permission is one right on the API server.
type Permission struct {
	Verb, Group, Resource string
	// Subresource is empty for the resource itself.
	Subresource string
	// Namespace is empty for all namespaces.
	Namespace string
	// Name is empty for all names.
	Name string
	// For says what the agent needs the right for.
	For string
}

// String formats the right like kubectl: "create pods/eviction".
func (p Permission) String() string {
	resource := schema.GroupResource{Group: p.Group, Resource: p.Resource}.String()
	text := strings.TrimSpace(p.Verb + " " + strings.TrimSuffix(resource+"/"+p.Subresource, "/") + " " + p.Name)
	if p.Namespace != "" {
		text += " in namespace " + p.Namespace
	}
	return text
}

// Permissions lists exactly the rights that an agent with the configuration needs (invariant 4). Without a namespace,
// it omits the rights in the agent's own namespace. secure says that the agent authorizes the readers of its metrics.
func Permissions(c config.Config, namespace string, secure bool) []Permission {
	const discovery = "discovery.k8s.io"
	var all []Permission
	need := func(right Permission, verbs ...string) {
		for _, right.Verb = range verbs {
			all = append(all, right)
		}
	}
	need(Permission{Resource: "pods", For: "scan and explain"}, "get")
	need(Permission{Resource: "pods", For: "every verdict"}, "list", "watch")
	need(Permission{Group: discovery, Resource: "endpointslices", For: "every verdict"}, "list", "watch")
	need(Permission{Resource: "services", For: "verdicts on overlay networks, and load balancers"}, "list", "watch")
	need(Permission{Resource: "nodes", For: "the version of kube-proxy"}, "get")
	need(Permission{Group: "events.k8s.io", Resource: "events", For: "Events"}, "create", "patch")
	if c.Enforces(c.Keep.Mode) || c.Enforces(c.Reprogram.Mode) {
		need(Permission{Group: discovery, Resource: "endpointslices", For: "keep.mode or reprogram.mode: enforce"},
			"create", "delete")
	}
	if c.Enforces(c.Eviction.Mode) {
		need(Permission{Resource: "pods", Subresource: "eviction", For: "eviction.mode: enforce"}, "create")
	}
	if secure {
		need(Permission{Group: "authentication.k8s.io", Resource: "tokenreviews", For: "secure metrics"}, "create")
		need(Permission{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", For: "secure metrics"}, "create")
	}
	if c.Enforces(c.Flush.Mode) && namespace != "" {
		slice := Permission{Group: discovery, Resource: "endpointslices", Namespace: namespace, For: "flush.mode: enforce"}
		need(slice, "create")
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			slice.Name = stalerecord.SliceName(family)
			need(slice, "patch")
		}
	}
	return all
}

// permissions checks each right with the API server.
func (o Options) permissions(ctx context.Context) Result {
	advice := "Apply the roles of the chart of this version (rbac.create); " +
		version.DocsURL("security.md") + " says what each is for."
	needed := Permissions(o.Config, o.Namespace, o.MetricsSecure)
	missing, err := missingOf(ctx, o.API, needed)
	if err != nil {
		return fail(advice, "%v", err)
	}
	switch {
	case len(missing) > 0:
		return fail(advice, "missing %d of %d rights: %s", len(missing), len(needed), strings.Join(missing, "; "))
	case o.Namespace == "" && o.Config.Enforces(o.Config.Flush.Mode):
		return warn("Give --namespace or $POD_NAMESPACE.",
			"all of %d rights are granted; those to EndpointSlices in the agent's namespace are unknown", len(needed))
	default:
		return pass("all of %d rights are granted", len(needed))
	}
}

// review returns the access review of the right.
func (p Permission) review() *authorizationv1.SelfSubjectAccessReview {
	return &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: p.Verb, Group: p.Group, Resource: p.Resource, Subresource: p.Subresource,
			Namespace: p.Namespace, Name: p.Name,
		}},
	}
}

// missingOf returns the rights that the API server does not grant, each with its purpose.
func missingOf(ctx context.Context, api *rest.Config, needed []Permission) ([]string, error) {
	// client-go's rate limit is meant for controllers: with it, this would take seconds.
	unlimited := rest.CopyConfig(api)
	unlimited.QPS = -1
	authorization, err := authorizationclient.NewForConfig(unlimited)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, p := range needed {
		review, err := authorization.SelfSubjectAccessReviews().Create(ctx, p.review(), metav1.CreateOptions{})
		switch {
		case err != nil:
			return nil, fmt.Errorf("checking the right to %s: %w", p, err)
		case review.Status.Allowed:
		case review.Status.EvaluationError != "": // invariant 1: an uncertain answer is not a grant
			missing = append(missing, fmt.Sprintf("%s (for %s; uncertain: %s)", p, p.For, review.Status.EvaluationError))
		default:
			missing = append(missing, fmt.Sprintf("%s (for %s)", p, p.For))
		}
	}
	return missing, nil
}

// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// For is what the agent needs the right for.
	For string
}

// String names the right as kubectl does: "create pods/eviction".
func (p Permission) String() string {
	text := p.Verb + " " + p.Resource
	if p.Group != "" {
		text += "." + p.Group
	}
	if p.Subresource != "" {
		text += "/" + p.Subresource
	}
	if p.Name != "" {
		text += " " + p.Name
	}
	if p.Namespace != "" {
		text += " in namespace " + p.Namespace
	}
	return text
}

// Permissions lists the rights that an agent needs with the configuration, and no others (invariant 4). An empty
// namespace leaves out those that are limited to the agent's own one. Secure says that the agent authorizes who reads
// its metrics.
func Permissions(c config.Config, namespace string, secure bool) []Permission {
	const discovery = "discovery.k8s.io"
	needed := []Permission{
		{Verb: "get", Resource: "pods", For: "scan and explain"},
		{Verb: "list", Resource: "pods", For: "every verdict"},
		{Verb: "watch", Resource: "pods", For: "every verdict"},
		{Verb: "list", Group: discovery, Resource: "endpointslices", For: "every verdict"},
		{Verb: "watch", Group: discovery, Resource: "endpointslices", For: "every verdict"},
		{Verb: "list", Resource: "services", For: "verdicts on overlay networks, and load balancers"},
		{Verb: "watch", Resource: "services", For: "verdicts on overlay networks, and load balancers"},
		{Verb: "get", Resource: "nodes", For: "the version of kube-proxy"},
		{Verb: "create", Group: "events.k8s.io", Resource: "events", For: "Events"},
		{Verb: "patch", Group: "events.k8s.io", Resource: "events", For: "Events that repeat"},
	}
	if c.Enforces(c.Reprogram.Mode) {
		needed = append(needed,
			Permission{Verb: "create", Group: discovery, Resource: "endpointslices", For: "reprogram.mode: enforce"},
			Permission{Verb: "delete", Group: discovery, Resource: "endpointslices", For: "reprogram.mode: enforce"})
	}
	if c.Enforces(c.Eviction.Mode) {
		needed = append(needed,
			Permission{Verb: "create", Resource: "pods", Subresource: "eviction", For: "eviction.mode: enforce"})
	}
	if secure {
		needed = append(needed,
			Permission{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews", For: "secure metrics"},
			Permission{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews", For: "secure metrics"})
	}
	if c.Enforces(c.Flush.Mode) && namespace != "" {
		slice := Permission{
			Verb: "create", Group: discovery, Resource: "endpointslices", Namespace: namespace, For: "flush.mode: enforce",
		}
		needed = append(needed, slice)
		slice.Verb = "patch"
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			slice.Name = stalerecord.SliceName(family)
			needed = append(needed, slice)
		}
	}
	return needed
}

// permissions checks each right with the API server.
func (o Options) permissions(ctx context.Context) Result {
	advice := "Apply the roles of the chart of this version (rbac.create); " +
		version.DocsURL("security.md") + " says what each is for."
	needed := Permissions(o.Config, o.Namespace, o.MetricsSecure)
	// client-go limits requests as controllers need it: with that limit, this would take seconds.
	unlimited := rest.CopyConfig(o.API)
	unlimited.QPS = -1
	authorization, err := authorizationclient.NewForConfig(unlimited)
	if err != nil {
		return fail(advice, "%v", err)
	}
	var missing []string
	for _, p := range needed {
		doubt, err := p.denied(ctx, authorization)
		if err != nil {
			return fail(advice, "checking the right to %s: %v", p, err)
		}
		if doubt != "" {
			missing = append(missing, fmt.Sprintf("%s (for %s%s", p, p.For, doubt))
		}
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

// denied returns an empty string if the API server grants the right, or else what follows its purpose. An
// answer that is uncertain is not a grant (invariant 1).
func (p Permission) denied(ctx context.Context, api authorizationclient.AuthorizationV1Interface) (string, error) {
	review, err := api.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: p.Verb, Group: p.Group, Resource: p.Resource, Subresource: p.Subresource,
			Namespace: p.Namespace, Name: p.Name,
		}},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return "", err
	case review.Status.Allowed:
		return "", nil
	case review.Status.EvaluationError != "":
		return "; uncertain: " + review.Status.EvaluationError + ")", nil
	default:
		return ")", nil
	}
}

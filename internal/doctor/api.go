// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	apiversion "k8s.io/apimachinery/pkg/version"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/hnsguard/hnsguard/internal/identity"
)

// The checks of the API server, and of what it says about the agent and its node.

// oldest is the oldest Kubernetes that the chart installs on.
const oldest = "1.26.0"

func (o Options) apiServer(ctx context.Context) finding {
	const advice = "If the Service kubernetes cannot be reached from the node, set apiServer.host and apiServer.port of " +
		"the chart. Outside of a pod, use --kubeconfig."
	if o.APIErr != nil {
		return fail(advice, "%v", o.APIErr)
	}
	answer, err := o.askVersion(ctx)
	if err != nil {
		return fail(advice, "%v", err)
	}
	v, err := utilversion.ParseGeneric(answer.version)
	switch {
	case err != nil:
		return warn("Look at what answers there.", "%s answers, but does not tell its version: %s",
			o.API.Host, answer.version)
	case v.LessThan(utilversion.MustParseGeneric(oldest)):
		return warn("Upgrade the cluster.", "%s at %s is older than %s, the oldest version that hnsguard is made for",
			answer.version, o.API.Host, oldest)
	default:
		return pass("%s at %s, answers in %s", answer.version, o.API.Host, answer.took.Round(time.Millisecond))
	}
}

// versionAnswer is the API server's answer to the question for its version.
type versionAnswer struct {
	// version is the version, or what is there in its place.
	version string
	// date is what the server's clock showed, or zero; took is how long the answer took, and at when it was here.
	date, at time.Time
	took     time.Duration
}

// askVersion asks the API server for its version. An answer of any kind shows that it can be reached.
func (o Options) askVersion(ctx context.Context) (versionAnswer, error) {
	failed := func(err error) (versionAnswer, error) {
		return versionAnswer{}, fmt.Errorf("reaching the API server at %s: %w", o.API.Host, err)
	}
	transport, err := rest.HTTPClientFor(o.API)
	if err != nil {
		return failed(err)
	}
	server, _, err := rest.DefaultServerUrlFor(o.API)
	if err != nil {
		return failed(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.JoinPath("version").String(), nil)
	if err != nil {
		return failed(err)
	}
	asked := o.Clock.Now()
	response, err := transport.Do(request)
	if err != nil {
		return failed(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	answer := versionAnswer{version: response.Status, at: o.Clock.Now()}
	answer.took = answer.at.Sub(asked)
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		answer.date = date
	}
	var info apiversion.Info
	body := json.NewDecoder(io.LimitReader(response.Body, 1<<20))
	if response.StatusCode == http.StatusOK && body.Decode(&info) == nil && info.GitVersion != "" {
		answer.version = info.GitVersion
	}
	return answer, nil
}

// skewAllowed is how far the clocks may differ. The header counts whole seconds.
const skewAllowed = 5 * time.Second

// clock compares the node's clock with that of the API server.
func (o Options) clock(ctx context.Context) finding {
	answer, err := o.askVersion(ctx)
	switch {
	case err != nil:
		return warn("Look at the check of the API server, and repeat.", "%v", err)
	case answer.date.IsZero():
		return warn("Compare the clocks by hand.", "the API server's answer has no date")
	}
	// The date was written between question and answer, and some time within its second.
	skew := answer.at.Add(-answer.took / 2).Sub(answer.date.Add(time.Second / 2))
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	off := skew.Abs().Round(time.Second)
	if skew.Abs() > skewAllowed+answer.took/2 {
		return warn("Synchronize the node's clock (w32tm /resync): tokens and certificates depend on it, and reports of "+
			"times mislead.", "the node's clock is %s %s the API server's", off, direction)
	}
	return pass("the node's clock is that of the API server, within %s", max(off, time.Second))
}

// identity asks the API server who the agent is.
func (o Options) identity(ctx context.Context) finding {
	const advice = "Run this in the agent's pod. With another identity, other checks may find what does not hold for " +
		"the agent."
	authentication, err := authenticationclient.NewForConfig(o.API)
	if err != nil {
		return fail(advice, "%v", err)
	}
	question := &authenticationv1.SelfSubjectReview{}
	review, err := authentication.SelfSubjectReviews().Create(ctx, question, metav1.CreateOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		return warn("Nothing, if Kubernetes is older than 1.28.", "the API server does not say who this is: %v", err)
	case err != nil:
		return fail("Look at the agent's token.", "%v", err)
	}
	user := review.Status.UserInfo
	if err := identity.Judge(user, o.Node); err != nil {
		return fail("Correct --node-name or $NODE_NAME, and use the token of the agent's own pod.", "%v", err)
	}
	if !identity.Bound(user, o.Node) {
		return warn(advice+" Before Kubernetes 1.30, no token names a node.",
			"%s, whose token does not name a node: the admission policies let it write nothing", user.Username)
	}
	return pass("%s, in a pod of this node", user.Username)
}

func (o Options) node(ctx context.Context) finding {
	core, err := coreclient.NewForConfig(o.API)
	if err != nil {
		return fail("See the text of the error.", "%v", err)
	}
	node, err := core.Nodes().Get(ctx, o.Node, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fail("Correct --node-name or $NODE_NAME: it has to be the pod's spec.nodeName.", "there is no Node %q", o.Node)
	case err != nil:
		return warn("Look at the check of permissions.", "%v", err)
	}
	info := node.Status.NodeInfo
	if os := systemOf(node); os != string(corev1.Windows) {
		return fail("Correct --node-name or $NODE_NAME: only Windows nodes have HNS.", "Node %q runs %s", o.Node, os)
	}
	return pass("%q: %s, kubelet %s, %s", o.Node, orUnknown(info.OSImage), orUnknown(info.KubeletVersion),
		orUnknown(info.ContainerRuntimeVersion))
}

// systemOf returns the operating system that the Node shows.
func systemOf(node *corev1.Node) string {
	if os := node.Status.NodeInfo.OperatingSystem; os != "" {
		return os
	}
	return orUnknown(node.Labels[corev1.LabelOSStable])
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

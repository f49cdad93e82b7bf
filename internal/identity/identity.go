// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// Reviewer creates SelfSubjectReviews, which the API server answers with the identity of the client.
type Reviewer interface {
	Create(ctx context.Context, review *authenticationv1.SelfSubjectReview, opts metav1.CreateOptions) (
		*authenticationv1.SelfSubjectReview, error)
}

// ErrForeign is the error of an agent that acts with the identity of another.
var ErrForeign = errors.New("this is not hnsguard's own identity")

// Checker checks the identity of this process.
type Checker struct {
	reviewer Reviewer
	node     string
	every    time.Duration
	answered bool
}

// Every is the usual interval between requests to an API server that does not answer.
const Every = 5 * time.Second

// New returns a checker for the agent of a node.
func New(reviewer Reviewer, node string, every time.Duration) *Checker {
	return &Checker{reviewer: reviewer, node: node, every: every}
}

// reviewTimeout limits one request.
const reviewTimeout = 5 * time.Second

// Check sends one request. It returns [ErrForeign] if the answer is a reason to stop. It returns nil without an answer.
func (c *Checker) Check(ctx context.Context) error {
	reviewing, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	log := logf.FromContext(ctx).WithName("identity")
	review, err := c.reviewer.Create(reviewing, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.answered = true
		user := review.Status.UserInfo
		log.Info("Verified the identity of this agent", "user", user.Username, "groups", user.Groups, "extra", user.Extra)
		return Judge(user, c.node)
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		c.answered = true
		log.Info("The API server does not support verifying the identity of this agent; continuing", "reason", err.Error())
	default:
		log.Info("Cannot verify the identity of this agent yet; retrying", "reason", err.Error(), "interval", c.every)
	}
	return nil
}

// Start repeats the check until it is answered or the context ends. It is a
// [sigs.k8s.io/controller-runtime/pkg/manager.Runnable]: its error stops the manager.
func (c *Checker) Start(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, c.every, false, func(ctx context.Context) (bool, error) {
		if c.answered {
			return true, nil
		}
		return false, c.Check(ctx)
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was stopped
	}
	return err
}

// The user and group of nodes, and the claim in a pod's token that names its node.
const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
	nodeClaim = "authentication.kubernetes.io/node-name"
)

// Bound reports whether the user's token is that of a pod on the node. Since 1.30 Kubernetes writes the node into
// tokens.
func Bound(user authenticationv1.UserInfo, node string) bool {
	return slices.Contains(user.Extra[nodeClaim], node)
}

// Judge returns [ErrForeign] if the agent of the node must not act as the user.
func Judge(user authenticationv1.UserInfo, node string) error {
	if strings.HasPrefix(user.Username, nodeUser) || slices.Contains(user.Groups, nodeGroup) {
		return fmt.Errorf("%w: it authenticates as the node's kubelet, %q (groups %s), probably with a kubeconfig of the "+
			"host, whose files a HostProcess container sees; do not set --kubeconfig to a file of the host, and mount a "+
			"token of hnsguard's ServiceAccount",
			ErrForeign, user.Username, strings.Join(user.Groups, ", "))
	}
	if claims := user.Extra[nodeClaim]; len(claims) > 0 && !slices.Contains(claims, node) {
		return fmt.Errorf("%w: its token belongs to a pod on node %s, but --node-name (or $NODE_NAME) is %s; "+
			"set the name from the pod's spec.nodeName, and do not mount the token of another pod",
			ErrForeign, strings.Join(claims, ", "), node)
	}
	return nil
}

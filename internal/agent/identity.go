// SPDX-License-Identifier: Apache-2.0

package agent

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
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// ErrForeignIdentity says that the agent acts with the identity of something else.
var ErrForeignIdentity = errors.New("this is not hnsguard's own identity")

// IdentityChecker checks that the agent acts with its own identity (invariant 2).
//
// A HostProcess container sees the files and the environment of the host. This made agents of other projects use the
// kubelet's kubeconfig, unnoticed because its rights were sufficient. The checker therefore requests the agent's
// identity from the API server, and refuses the identity of a node. The token of a pod also names its node: an agent
// with the wrong node name would judge the endpoints of one node by the pods of another.
//
// Only an answer is a reason to refuse. If the API server cannot be reached, the checker repeats the request until it
// gets an answer. If the server has no such API (before Kubernetes 1.28) or forbids the request, the checker does not
// repeat it. Nothing waits for the answer: without an API server the guard does nothing in any case.
type IdentityChecker struct {
	reviewer authenticationclient.SelfSubjectReviewInterface
	node     string
	every    time.Duration
	answered bool
}

// identityEvery is the interval between requests to an API server that does not answer.
const identityEvery = 5 * time.Second

// NewIdentityChecker returns a checker for the agent on the node.
func NewIdentityChecker(
	reviewer authenticationclient.SelfSubjectReviewInterface, node string, every time.Duration,
) *IdentityChecker {
	return &IdentityChecker{reviewer: reviewer, node: node, every: every}
}

// reviewTimeout is the timeout of one request.
const reviewTimeout = 5 * time.Second

// Check sends one request. It returns [ErrForeignIdentity] if the identity is foreign, and nil without an answer.
func (c *IdentityChecker) Check(ctx context.Context) error {
	reviewing, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	log := logf.FromContext(ctx).WithName("identity")
	review, err := c.reviewer.Create(reviewing, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.answered = true
		user := review.Status.UserInfo
		log.Info("Verified the identity of this agent", "user", user.Username, "groups", user.Groups, "extra", user.Extra)
		return JudgeIdentity(user, c.node)
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
func (c *IdentityChecker) Start(ctx context.Context) error {
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

// The user and group of nodes, and the claim of a pod's token that names its node.
const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
	nodeClaim = "authentication.kubernetes.io/node-name"
)

// JudgeIdentity returns [ErrForeignIdentity] if the agent on the node must not act as the user.
func JudgeIdentity(user authenticationv1.UserInfo, node string) error {
	if strings.HasPrefix(user.Username, nodeUser) || slices.Contains(user.Groups, nodeGroup) {
		return fmt.Errorf("%w: it authenticates as the node's kubelet, %q (groups %s), probably with a kubeconfig of the "+
			"host, whose files a HostProcess container sees; do not set --kubeconfig to a file of the host, and mount a "+
			"token of hnsguard's ServiceAccount",
			ErrForeignIdentity, user.Username, strings.Join(user.Groups, ", "))
	}
	if claims := user.Extra[nodeClaim]; len(claims) > 0 && !slices.Contains(claims, node) {
		return fmt.Errorf("%w: its token belongs to a pod on node %s, but --node-name (or $NODE_NAME) is %s; "+
			"set the name from the pod's spec.nodeName, and do not mount the token of another pod",
			ErrForeignIdentity, strings.Join(claims, ", "), node)
	}
	return nil
}

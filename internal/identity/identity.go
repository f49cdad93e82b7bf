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

// Reviewer asks the API server who it takes the asker for.
type Reviewer interface {
	Create(ctx context.Context, review *authenticationv1.SelfSubjectReview, opts metav1.CreateOptions) (
		*authenticationv1.SelfSubjectReview, error)
}

// ErrForeign says that the agent acts as somebody that it should not be.
var ErrForeign = errors.New("this is not hnsguard's own identity")

// Checker checks the identity of this process.
type Checker struct {
	reviewer Reviewer
	node     string
	every    time.Duration
	answered bool
}

// Every is how often to ask an API server that does not answer, unless there is a reason for something else.
const Every = 5 * time.Second

// New makes a checker for the agent of the node of that name.
func New(reviewer Reviewer, node string, every time.Duration) *Checker {
	return &Checker{reviewer: reviewer, node: node, every: every}
}

// askTimeout bounds one question.
const askTimeout = 5 * time.Second

// Check asks once. It returns [ErrForeign] if the answer is a reason to stop; no answer is none.
func (c *Checker) Check(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	log := logf.FromContext(ctx).WithName("identity")
	review, err := c.reviewer.Create(asking, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.answered = true
		user := review.Status.UserInfo
		log.Info("The API server knows this agent", "user", user.Username, "groups", user.Groups, "extra", user.Extra)
		return Judge(user, c.node)
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		c.answered = true
		log.Info("The API server does not tell who this agent is; going on without", "because", err.Error())
	default:
		log.Info("The API server did not tell who this agent is; asking again", "because", err.Error(), "in", c.every)
	}
	return nil
}

// Start asks until there is an answer, or the context ends. It is a
// [sigs.k8s.io/controller-runtime/pkg/manager.Runnable], which ends the manager with what it returns.
func (c *Checker) Start(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, c.every, false, func(ctx context.Context) (bool, error) {
		if c.answered {
			return true, nil
		}
		return false, c.Check(ctx)
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to stop
	}
	return err
}

// The names of nodes, and the claim of a pod's token that names its node.
const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
	nodeClaim = "authentication.kubernetes.io/node-name"
)

// Judge returns [ErrForeign] if the agent of a node must not act as the user.
func Judge(user authenticationv1.UserInfo, node string) error {
	if strings.HasPrefix(user.Username, nodeUser) || slices.Contains(user.Groups, nodeGroup) {
		return fmt.Errorf("%w: the API server knows this process as the node's kubelet, %q (groups %s). "+
			"A HostProcess container sees the host's files, and so came to use the kubelet's kubeconfig. "+
			"Name no kubeconfig of the host with --kubeconfig, and give the pod a token of hnsguard's ServiceAccount",
			ErrForeign, user.Username, strings.Join(user.Groups, ", "))
	}
	if claims := user.Extra[nodeClaim]; len(claims) > 0 && !slices.Contains(claims, node) {
		return fmt.Errorf("%w: its token belongs to a pod on node %s, but --node-name (or $NODE_NAME) is %s. "+
			"Take the name from the pod's spec.nodeName, and mount no other pod's token",
			ErrForeign, strings.Join(claims, ", "), node)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hnsguard/hnsguard/internal/agent"
)

// identityEvery is the interval between requests to an API server that does not answer.
const identityEvery = 5 * time.Second

func TestJudge(t *testing.T) {
	nodeName := func(name string) map[string]authenticationv1.ExtraValue {
		return map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/node-name": {name}}
	}
	for name, tc := range map[string]struct {
		user authenticationv1.UserInfo
		want string
	}{
		"its own account": {user: authenticationv1.UserInfo{
			Username: "system:serviceaccount:hnsguard:hnsguard",
			Groups:   []string{"system:serviceaccounts", "system:authenticated"},
		}},
		"its own account on its own node": {user: authenticationv1.UserInfo{
			Username: "system:serviceaccount:hnsguard:hnsguard", Extra: nodeName("win-1"),
		}},
		"an administrator, with --kubeconfig": {user: authenticationv1.UserInfo{
			Username: "kubernetes-admin", Groups: []string{"system:masters"},
		}},
		"an account whose name only looks like it": {user: authenticationv1.UserInfo{Username: "system:node-problem-detector"}},
		"this node's kubelet": {
			authenticationv1.UserInfo{Username: "system:node:win-1", Groups: []string{"system:nodes"}}, "the node's kubelet",
		},
		"a kubelet without its group": {authenticationv1.UserInfo{Username: "system:node:win-1"}, `"system:node:win-1"`},
		"a node by another name": {
			authenticationv1.UserInfo{Username: "arn:aws:role", Groups: []string{"a", "system:nodes"}}, "a, system:nodes",
		},
		"the token of a pod on another node": {
			authenticationv1.UserInfo{Username: "system:serviceaccount:hnsguard:hnsguard", Extra: nodeName("win-2")},
			"belongs to a pod on node win-2, but --node-name (or $NODE_NAME) is win-1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			err := agent.JudgeIdentity(tc.user, "win-1")
			if tc.want == "" {
				g.Expect(err).NotTo(HaveOccurred())
				return
			}
			g.Expect(err).To(MatchError(agent.ErrForeignIdentity))
			g.Expect(err).To(MatchError(ContainSubstring(tc.want)))
		})
	}
}

// reviewer answers reviews: with an error as long as one is set, then with a user.
type reviewer struct {
	err   atomic.Pointer[error]
	user  string
	asked atomic.Int32
}

func (s *reviewer) Create(
	context.Context, *authenticationv1.SelfSubjectReview, metav1.CreateOptions,
) (*authenticationv1.SelfSubjectReview, error) {
	s.asked.Add(1)
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{
		UserInfo: authenticationv1.UserInfo{Username: s.user},
	}}, nil
}

func (s *reviewer) fail(err error) { s.err.Store(&err) }

// Invariant 2.
func TestAServerThatIsAwayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		s := &reviewer{user: "system:node:win-1"}
		s.fail(errors.New("connection refused"))
		checker := agent.NewIdentityChecker(s, "win-1", identityEvery)
		g.Expect(checker.Check(t.Context())).To(Succeed())
		ended := make(chan error, 1)
		go func() { ended <- checker.Start(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		g.Expect(ended).NotTo(Receive())
		g.Expect(s.asked.Load()).To(BeNumerically("~", time.Minute/identityEvery, 1))
		s.err.Store(nil)
		time.Sleep(identityEvery)
		g.Expect(<-ended).To(MatchError(agent.ErrForeignIdentity))
	})
}

func TestAnAnswerIsEnough(t *testing.T) {
	resource := schema.GroupResource{Group: "authentication.k8s.io", Resource: "selfsubjectreviews"}
	for name, err := range map[string]error{
		"an account of its own":       nil,
		"an old server":               apierrors.NewNotFound(resource, ""),
		"one that forbids to ask":     apierrors.NewForbidden(resource, "", errors.New("no")),
		"one that does not know POST": apierrors.NewMethodNotSupported(resource, "create"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewWithT(t)
				s := &reviewer{user: "system:serviceaccount:hnsguard:hnsguard"}
				if err != nil {
					s.fail(err)
				}
				checker := agent.NewIdentityChecker(s, "win-1", identityEvery)
				g.Expect(checker.Check(t.Context())).To(Succeed())
				g.Expect(checker.Start(t.Context())).To(Succeed())
				g.Expect(s.asked.Load()).To(BeEquivalentTo(1))
			})
		})
	}
}

func TestItStopsWhenTold(t *testing.T) {
	g := NewWithT(t)
	s := &reviewer{}
	s.fail(errors.New("connection refused"))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	g.Expect(agent.NewIdentityChecker(s, "win-1", time.Hour).Start(ctx)).To(Succeed())
}

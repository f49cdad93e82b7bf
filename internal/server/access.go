// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
)

// How long an answer of the API server is used again. These are the kubelet's defaults for the same kind of endpoint on
// the same nodes, but for the negative answers.
const (
	// IdentityTTL is for accepted tokens: a revoked or expired one is served for so long at most.
	IdentityTTL = 2 * time.Minute
	// AllowTTL is for users who may read the path.
	AllowTTL = 5 * time.Minute
	// RefuseTTL is for rejected tokens, and for users who may not read the path. It is short because a TokenReview does
	// not tell a bad token from a failure to check it, and because operators wait for a new binding to take effect.
	RefuseTTL = 10 * time.Second
)

const (
	// knownTTL is how long a token counts as known after it was accepted. Its renewals are not limited.
	knownTTL = time.Hour
	// The sizes of the caches. An attacker can fill that of rejected tokens only.
	maxKnown, maxRejected, maxDecisions = 256, 1024, 256
	// defaultTimeout is below Prometheus' default scrape timeout of 10 s, so that a scrape fails with the reason.
	defaultTimeout = 5 * time.Second
)

// What a check can end in besides success. The texts are shown to clients.
var (
	errInvalidToken = errors.New("the API server does not accept the token")
	errForbidden    = errors.New("forbidden")
	errThrottled    = errors.New("too many requests with unknown tokens")
	errUnavailable  = errors.New("the API server cannot be reached to check the token")
)

// TokenReviews is the part of the authentication API that the filter uses.
type TokenReviews interface {
	Create(ctx context.Context, review *authenticationv1.TokenReview, opts metav1.CreateOptions) (
		*authenticationv1.TokenReview, error)
}

// AccessReviews is the part of the authorization API that the filter uses.
type AccessReviews interface {
	Create(ctx context.Context, review *authorizationv1.SubjectAccessReview, opts metav1.CreateOptions) (
		*authorizationv1.SubjectAccessReview, error)
}

// tokenKey is what a token is remembered by.
type tokenKey [sha256.Size]byte

// accepted is what the API server said about a token, and when.
type accepted struct {
	user authenticationv1.UserInfo
	at   time.Time
}

// access checks who may read what.
type access struct {
	tokens  TokenReviews
	access  AccessReviews
	clock   clock.PassiveClock
	timeout time.Duration
	budget  *budget
	flights singleflight.Group
	// secret makes the keys of tokens worthless to whoever reads a memory dump with a list of tokens at hand.
	secret [sha256.Size]byte

	known     *cache.LRUExpireCache // tokenKey: accepted
	rejected  *cache.LRUExpireCache // tokenKey: nothing
	decisions *cache.LRUExpireCache // a SubjectAccessReview's spec as JSON, hashed: error, or nil for yes
}

func newAccess(o FilterOptions) *access {
	a := &access{
		tokens:    o.Tokens,
		access:    o.Access,
		clock:     o.Clock,
		timeout:   o.Timeout,
		budget:    newBudget(o.Clock),
		known:     cache.NewLRUExpireCacheWithClock(maxKnown, o.Clock),
		rejected:  cache.NewLRUExpireCacheWithClock(maxRejected, o.Clock),
		decisions: cache.NewLRUExpireCacheWithClock(maxDecisions, o.Clock),
	}
	_, _ = rand.Read(a.secret[:]) // it never fails
	return a
}

// check reports whether the token's owner may get the path: nil, or one of the errors above, wrapped. Requests with the
// same token that arrive meanwhile share the answer.
func (a *access) check(ctx context.Context, token, path string, from source) error {
	key := a.keyOf(token)
	answer := a.flights.DoChan(string(key[:])+path, func() (any, error) {
		// The review goes on when the client that caused it has left: others may wait for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		defer cancel()
		user, err := a.identify(ctx, token, key, from)
		if err != nil {
			return nil, err
		}
		return nil, a.authorize(ctx, user, path)
	})
	select {
	case result := <-answer:
		return result.Err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnavailable, context.Cause(ctx))
	}
}

func (a *access) keyOf(token string) tokenKey {
	mac := hmac.New(sha256.New, a.secret[:])
	mac.Write([]byte(token))
	return tokenKey(mac.Sum(nil))
}

// identify returns whose token it is.
func (a *access) identify(
	ctx context.Context, token string, key tokenKey, from source,
) (authenticationv1.UserInfo, error) {
	remembered, isKnown := a.known.Get(key)
	if isKnown {
		if known := remembered.(accepted); a.clock.Since(known.at) < IdentityTTL { //nolint:forcetypeassert // see known
			return known.user, nil
		}
	} else {
		if _, isRejected := a.rejected.Get(key); isRejected {
			return authenticationv1.UserInfo{}, errInvalidToken
		}
		release, ok := a.budget.take(from)
		if !ok {
			return authenticationv1.UserInfo{}, errThrottled
		}
		defer release()
	}
	return a.reviewToken(ctx, token, key)
}

func (a *access) reviewToken(ctx context.Context, token string, key tokenKey) (authenticationv1.UserInfo, error) {
	review, err := a.tokens.Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: creating a TokenReview: %w", errUnavailable, err)
	case !review.Status.Authenticated || review.Status.User.Username == "":
		a.known.Remove(key)
		a.rejected.Add(key, struct{}{}, RefuseTTL)
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: %s", errInvalidToken, review.Status.Error)
	default:
		a.known.Add(key, accepted{user: review.Status.User, at: a.clock.Now()}, knownTTL)
		return review.Status.User, nil
	}
}

// authorize reports whether the user may get the path.
func (a *access) authorize(ctx context.Context, user authenticationv1.UserInfo, path string) error {
	spec := reviewOf(user, path)
	content, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("%w: encoding a SubjectAccessReview: %w", errUnavailable, err)
	}
	key := sha256.Sum256(content)
	if remembered, is := a.decisions.Get(key); is {
		refused, _ := remembered.(error)
		return refused
	}
	review, err := a.access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("%w: creating a SubjectAccessReview: %w", errUnavailable, err)
	}
	if review.Status.Allowed {
		a.decisions.Add(key, nil, AllowTTL)
		return nil
	}
	refused := fmt.Errorf("%w: user %q cannot get path %q", errForbidden, user.Username, path)
	if review.Status.Reason != "" {
		refused = fmt.Errorf("%w: %s", refused, review.Status.Reason)
	}
	a.decisions.Add(key, refused, RefuseTTL)
	return refused
}

func reviewOf(user authenticationv1.UserInfo, path string) authorizationv1.SubjectAccessReviewSpec {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	return authorizationv1.SubjectAccessReviewSpec{
		User:   user.Username,
		UID:    user.UID,
		Groups: user.Groups,
		Extra:  extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{
			Path: path,
			Verb: "get",
		},
	}
}

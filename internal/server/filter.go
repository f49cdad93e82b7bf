// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// How long answers of the API server are reused.
const (
	// AllowTTL is for users who may get the path. It is the kubelet's default for tokens: a revoked token or right remains
	// effective for at most this long.
	AllowTTL = 2 * time.Minute
	// RefuseTTL is for rejected tokens, and for users who may not get the path. It is short because a TokenReview does not
	// distinguish a bad token from a failure to check it, and because operators wait for a new binding to take effect.
	RefuseTTL = 10 * time.Second
)

const (
	// knownTTL is how long a token counts as known after its user was allowed to get a path, and its source as a
	// client's. Reviews of the token take nothing from the budget.
	knownTTL = time.Hour
	// The sizes of the caches. Only users who may get a path can fill the first (invariant 9).
	maxAllowed, maxRefused = 256, 1024
	// defaultTimeout is below Prometheus' default scrape timeout of 10 s, so that a scrape fails with the reason.
	defaultTimeout = 5 * time.Second
	// complainInterval is the minimum time between log messages about an unreachable API server, which any client can
	// cause.
	complainInterval = 30 * time.Second
)

// The errors of a check. The texts are shown to clients.
var (
	errNoToken      = errors.New("a bearer token is required")
	errInvalidToken = errors.New("the API server does not accept the token")
	errForbidden    = errors.New("forbidden")
	errThrottled    = errors.New("too many requests with unknown tokens")
	errUnavailable  = errors.New("the API server cannot be reached to check the token")
)

// FilterOptions configure a filter.
type FilterOptions struct {
	// Logger is the logger. Required.
	Logger logr.Logger
	// Clock measures the lifetimes of answers. Required.
	Clock clock.PassiveClock
	// Timeout bounds the reviews for one request.
	// Default: 5 s.
	Timeout time.Duration
}

// Filter admits only clients that the API server authenticates and authorizes. The servers of one filter share its
// budget.
type Filter struct {
	tokens  authenticationclient.TokenReviewInterface
	access  authorizationclient.SubjectAccessReviewInterface
	timeout time.Duration
	budget  *budget
	flights singleflight.Group
	// secret makes the hashes of tokens useless for checking a memory dump against a list of tokens.
	secret [sha256.Size]byte

	known   *cache.LRUExpireCache // tokenKey: nothing, of users who were allowed to get a path
	clients *cache.LRUExpireCache // source: nothing, of clients whose user was allowed
	allowed *cache.LRUExpireCache // question: nothing
	refused *cache.LRUExpireCache // question: error

	log      clientLog
	complain rate.Sometimes
}

// NewFilter returns a filter that sends reviews to the API server of the configuration.
func NewFilter(config *rest.Config, httpClient *http.Client, o FilterOptions) (*Filter, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	config = rest.CopyConfig(config)
	// The filter has its own limits. Metrics must not wait in one queue with the guard's writes.
	config.RateLimiter, config.QPS = nil, -1
	tokens, err := authenticationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("building a client for TokenReviews: %w", err)
	}
	access, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("building a client for SubjectAccessReviews: %w", err)
	}
	f := &Filter{
		tokens:   tokens.TokenReviews(),
		access:   access.SubjectAccessReviews(),
		timeout:  o.Timeout,
		budget:   newBudget(o.Clock),
		known:    cache.NewLRUExpireCacheWithClock(maxAllowed, o.Clock),
		clients:  cache.NewLRUExpireCacheWithClock(maxAllowed, o.Clock),
		allowed:  cache.NewLRUExpireCacheWithClock(maxAllowed, o.Clock),
		refused:  cache.NewLRUExpireCacheWithClock(maxRefused, o.Clock),
		log:      newClientLog(o.Logger),
		complain: rate.Sometimes{Interval: complainInterval},
	}
	_, _ = rand.Read(f.secret[:]) // it never fails
	return f, nil
}

// Protect returns a handler that serves only clients that may get the path. The path is a constant, not the client's.
func (f *Filter) Protect(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := f.check(r, path)
		mark(r, func(c *connection) { c.trusted = err == nil })
		if err != nil {
			f.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tokenKey is the hash of a token.
type tokenKey [sha256.Size]byte

// question asks whether the owner of a token may get a path.
type question struct {
	token tokenKey
	path  string
}

// check returns nil if the client may get the path, or one of the errors above, wrapped. Concurrent requests with the
// same token for the same path share the answer.
func (f *Filter) check(r *http.Request, path string) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errNoToken
	}
	mac := hmac.New(sha256.New, f.secret[:])
	mac.Write([]byte(token))
	asked := question{tokenKey(mac.Sum(nil)), path}
	if _, is := f.allowed.Get(asked); is {
		return nil
	}
	if refused, is := f.refused.Get(asked); is {
		return refused.(error) //nolint:forcetypeassert // nothing else is added
	}
	//nolint:contextcheck // the first client may leave while others wait for the answer
	answer := f.flights.DoChan(string(asked.token[:])+path, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), f.timeout)
		defer cancel()
		return nil, f.answer(ctx, token, asked, sourceOf(r.RemoteAddr))
	})
	select {
	case result := <-answer:
		return result.Err
	case <-r.Context().Done():
		return fmt.Errorf("%w: %w", errUnavailable, context.Cause(r.Context()))
	}
}

// answer answers a question with reviews, and remembers the answer.
func (f *Filter) answer(ctx context.Context, token string, asked question, from source) error {
	_, known := f.known.Get(asked.token)
	_, client := f.clients.Get(from)
	if !known && !f.budget.take(from, client) {
		return errThrottled
	}
	err := f.review(ctx, token, asked.path)
	switch {
	case err == nil:
		f.known.Add(asked.token, nil, knownTTL)
		f.clients.Add(from, nil, knownTTL)
		f.allowed.Add(asked, nil, AllowTTL)
	case errors.Is(err, errInvalidToken):
		f.known.Remove(asked.token)
		f.refused.Add(asked, err, RefuseTTL)
	case errors.Is(err, errForbidden):
		f.refused.Add(asked, err, RefuseTTL)
	}
	return err
}

// review asks the API server who owns the token, and whether that user may get the path.
func (f *Filter) review(ctx context.Context, token, path string) error {
	who, err := f.tokens.Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("%w: creating a TokenReview: %w", errUnavailable, err)
	case !who.Status.Authenticated || who.Status.User.Username == "":
		return fmt.Errorf("%w: %s", errInvalidToken, who.Status.Error)
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	may, err := f.access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
	}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("%w: creating a SubjectAccessReview: %w", errUnavailable, err)
	case !may.Status.Allowed:
		return fmt.Errorf("%w: user %q cannot get path %q: %s", errForbidden, user.Username, path, may.Status.Reason)
	}
	return nil
}

// refuse answers a request that is not permitted. The client sees neither why the API server cannot be reached, nor why
// it rejects the token (invariant 8).
func (f *Filter) refuse(w http.ResponseWriter, r *http.Request, err error) {
	header := w.Header()
	switch {
	case errors.Is(err, errUnavailable):
		if r.Context().Err() == nil { // the client is still waiting
			f.complain.Do(func() { f.log.Error(err, "Cannot review the token of a client; refusing the request") })
		}
		header.Set("Retry-After", "10")
		http.Error(w, errUnavailable.Error(), http.StatusServiceUnavailable)
	case errors.Is(err, errThrottled):
		header.Set("Retry-After", "10")
		http.Error(w, errThrottled.Error(), http.StatusTooManyRequests)
	case errors.Is(err, errForbidden):
		http.Error(w, err.Error(), http.StatusForbidden)
	case errors.Is(err, errNoToken):
		header.Set("WWW-Authenticate", "Bearer")
		http.Error(w, errNoToken.Error(), http.StatusUnauthorized)
	default:
		header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, errInvalidToken.Error(), http.StatusUnauthorized)
	}
	f.log.debug("Refused a request", "remoteAddress", r.RemoteAddr, "reason", err.Error())
}

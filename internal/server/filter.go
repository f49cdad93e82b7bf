// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// maxTokenLength is far above that of any token in use: a ServiceAccount's has about 1 KB, and one with hundreds of
// groups below 10. Longer ones are rejected without a review.
const maxTokenLength = 16 << 10

// FilterOptions configure the filter.
type FilterOptions struct {
	// Tokens reviews tokens. It is required.
	Tokens TokenReviews
	// Access reviews what a user may do. It is required.
	Access AccessReviews
	// Clock measures the lifetimes of answers. The default is the system's.
	Clock clock.PassiveClock
	// Timeout bounds the reviews for one request. The default is 5 s.
	Timeout time.Duration
}

// FilterProvider makes the filter that reviews with the API server of the configuration. It is for
// [metricsserver.Options].
func FilterProvider(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	config = rest.CopyConfig(config)
	// The filter has bounds of its own. Metrics must not wait in one queue with what the guard writes.
	config.RateLimiter, config.QPS = nil, -1
	tokens, err := authenticationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("building a client for TokenReviews: %w", err)
	}
	access, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("building a client for SubjectAccessReviews: %w", err)
	}
	return NewFilter(FilterOptions{Tokens: tokens.TokenReviews(), Access: access.SubjectAccessReviews()}), nil
}

// NewFilter makes a filter that lets through only requests of clients who may get the path.
func NewFilter(o FilterOptions) metricsserver.Filter {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	access := newAccess(o)
	return func(log logr.Logger, handler http.Handler) (http.Handler, error) {
		return &filter{access: access, next: handler, log: log, complain: rate.Sometimes{Interval: logInterval}}, nil
	}
}

// logInterval is how often failures to reach the API server are logged at most: anyone can cause them.
const logInterval = 30 * time.Second

// filter is a handler in front of another.
type filter struct {
	access   *access
	next     http.Handler
	log      logr.Logger
	complain rate.Sometimes
}

// ServeHTTP serves a request, or refuses it.
func (f *filter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Reading is all there is. One verb for the review, whatever a client makes up.
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	token, ok := bearerToken(r)
	switch {
	case !ok:
		unauthorized(w, "Bearer", "a bearer token is required")
	case len(token) > maxTokenLength:
		unauthorized(w, `Bearer error="invalid_token"`, "the token is too long")
	default:
		err := f.access.check(r.Context(), token, r.URL.Path, sourceOf(r.RemoteAddr))
		if err == nil {
			f.next.ServeHTTP(w, r)
			return
		}
		f.refuse(w, r, err)
	}
}

// refuse answers a request whose check did not succeed.
func (f *filter) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errUnavailable):
		if r.Context().Err() == nil { // the client has not gone away
			f.complain.Do(func() { f.log.Error(err, "Cannot check who reads; refusing the request") })
		}
		w.Header().Set("Retry-After", "10")
		http.Error(w, errUnavailable.Error(), http.StatusServiceUnavailable)
		return
	case errors.Is(err, errInvalidToken):
		unauthorized(w, `Bearer error="invalid_token"`, errInvalidToken.Error())
	case errors.Is(err, errThrottled):
		w.Header().Set("Retry-After", "10")
		http.Error(w, errThrottled.Error(), http.StatusTooManyRequests)
	default:
		http.Error(w, err.Error(), http.StatusForbidden)
	}
	f.log.V(1).Info("Refused a request", "remoteAddress", r.RemoteAddr, "reason", err.Error())
}

func unauthorized(w http.ResponseWriter, challenge, why string) {
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, why, http.StatusUnauthorized)
}

// bearerToken returns the token of a request.
func bearerToken(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

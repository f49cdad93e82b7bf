// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/server"
)

// The paths of the two reviews.
const (
	tokenReviews  = "/apis/authentication.k8s.io/v1/tokenreviews"
	accessReviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
)

// api is an API server that only handles reviews.
type api struct {
	*httptest.Server

	mu sync.Mutex
	// users are the owners of valid tokens, and complaints the messages about invalid ones.
	users      map[string]authenticationv1.UserInfo
	complaints map[string]string
	// may has the names of users who may get the paths.
	may   map[string]bool
	paths []string
	// broken has the paths that fail, with their status.
	broken map[string]int
	// hold keeps reviews waiting until it is closed.
	hold <-chan struct{}
	// created counts the requested reviews by path.
	created map[string]int
	// inFlight counts reviews of waiting tokens, and most is the maximum.
	inFlight, most int
	last           authorizationv1.SubjectAccessReviewSpec
}

func startAPI(t *testing.T) *api {
	t.Helper()
	a := &api{
		users: map[string]authenticationv1.UserInfo{
			"prometheus-token": {
				Username: "system:serviceaccount:monitoring:prometheus", UID: "42",
				Groups: []string{"system:serviceaccounts", "system:authenticated"},
				Extra:  map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/pod-name": {"prometheus-0"}},
			},
			"stranger-token": {Username: "stranger", Groups: []string{"system:authenticated"}},
		},
		complaints: map[string]string{"expired-token": "[invalid bearer token, service account token has expired]"},
		paths:      []string{"/metrics"},
		may:        map[string]bool{"system:serviceaccount:monitoring:prometheus": true},
		broken:     map[string]int{},
		created:    map[string]int{},
	}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The server notices that a client leaves only after the body has been read.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	a.created[r.URL.Path]++
	status, broken := a.broken[r.URL.Path]
	hold := a.hold
	if r.URL.Path == tokenReviews {
		a.inFlight++
		a.most = max(a.most, a.inFlight)
		defer func() { a.mu.Lock(); a.inFlight--; a.mu.Unlock() }()
	}
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if broken {
		http.Error(w, "out of order", status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case tokenReviews:
		a.reviewToken(w, body)
	case accessReviews:
		a.reviewAccess(w, body)
	default:
		http.NotFound(w, r)
	}
}

func (a *api) reviewToken(w http.ResponseWriter, body []byte) {
	var review authenticationv1.TokenReview
	if err := json.Unmarshal(body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	user, valid := a.users[review.Spec.Token]
	review.Status = authenticationv1.TokenReviewStatus{Authenticated: valid, User: user}
	if !valid {
		review.Status.Error = "[invalid bearer token]"
		if complaint := a.complaints[review.Spec.Token]; complaint != "" {
			review.Status.Error = complaint
		}
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review)
}

func (a *api) reviewAccess(w http.ResponseWriter, body []byte) {
	var review authorizationv1.SubjectAccessReview
	if err := json.Unmarshal(body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = review.Spec
	attributes := review.Spec.NonResourceAttributes
	review.Status.Allowed = attributes.Verb == "get" && slices.Contains(a.paths, attributes.Path) && a.may[review.Spec.User]
	if !review.Status.Allowed {
		review.Status.Reason = "no ClusterRole grants it"
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review)
}

func (a *api) change(do func(*api)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do(a)
}

// reviews returns how many reviews of tokens and of access were requested.
func (a *api) reviews() (tokens, access int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.created[tokenReviews], a.created[accessReviews]
}

// guarded is a handler behind the filter, and the clock of the filter.
type guarded struct {
	http.Handler
	clock *clocktesting.FakePassiveClock
}

// guard puts the filter in front of a handler that answers "metrics".
func guard(t *testing.T, a *api, timeout time.Duration) guarded {
	t.Helper()
	c := clocktesting.NewFakePassiveClock(time.Unix(1_700_000_000, 0))
	return guarded{a.filter(t, server.FilterOptions{Clock: c, Timeout: timeout}).Protect("/metrics", metricsHandler), c}
}

// filter returns a filter that sends reviews to the API server.
func (a *api) filter(t *testing.T, o server.FilterOptions) *server.Filter {
	t.Helper()
	config := &rest.Config{Host: a.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}} // not protobuf
	filter, err := server.NewFilter(config, a.Client(), o)
	if err != nil {
		t.Fatal(err)
	}
	return filter
}

var metricsHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) })

func (g guarded) pass(d time.Duration) { g.clock.SetTime(g.clock.Now().Add(d)) }

// request is a request for the metrics: with a token, from an address.
type request struct {
	method, path, authorization, from string
}

func with(token string) request { return request{authorization: "Bearer " + token} }

func (g guarded) answer(r request) *httptest.ResponseRecorder {
	if r.method == "" {
		r.method = http.MethodGet
	}
	if r.path == "" {
		r.path = "/metrics"
	}
	req := httptest.NewRequest(r.method, r.path, nil)
	if r.authorization != "" {
		req.Header.Set("Authorization", r.authorization)
	}
	if r.from != "" {
		req.RemoteAddr = r.from
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, req)
	return w
}

func (g guarded) status(r request) int { return g.answer(r).Code }

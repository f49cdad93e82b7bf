// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/server"
)

// Another process may listen at the address of the agent.
func TestRedirectsAreNotFollowed(t *testing.T) {
	g := NewWithT(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the client follows")
	}))
	defer elsewhere.Close()
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer redirect.Close()
	_, err := server.Get(t.Context(), redirect.URL)
	g.Expect(err).To(MatchError("302 Found"))
}

// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/removal"
)

// table is the response of Kubernetes 1.37.2, without descriptions and the last columns.
const table = `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1234"},"columnDefinitions":[
{"name":"Name","type":"string","format":"name"},{"name":"Ready","type":"string"},{"name":"Status","type":"string"},
{"name":"Restarts","type":"string"},{"name":"Age","type":"string"},{"name":"IP","type":"string","priority":1},
{"name":"Node","type":"string","priority":1}],"rows":[
{"cells":["cart","1/1","Running","2 (5m ago)","3d","10.240.0.11","lin-1"],"object":null},
{"cells":["db","1/1","Terminating","0","3d","10.240.0.12","lin-2"],"object":null},
{"cells":["new","0/1","ContainerCreating","0","1s","\u003cnone\u003e","lin-2"],"object":null}]}
`

// answering returns a table of pods on an API server that answers with a text, and the request that it got.
func answering(t *testing.T, text string) (removal.PodTable, *http.Request) {
	t.Helper()
	requested := &http.Request{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requested = *r
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	client, err := rest.RESTClientFor(&rest.Config{
		Host: server.URL, APIPath: "/api",
		ContentConfig: rest.ContentConfig{GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: scheme.Codecs.WithoutConversion()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return removal.PodTable{Client: client}, requested
}

func TestPodsAreReadFromATable(t *testing.T) {
	g := NewWithT(t)
	pods, requested := answering(t, table)
	var read []cluster.Pod
	g.Expect(pods.List(t.Context(), metav1.ListOptions{
		ResourceVersion: "1234", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}, func(p cluster.Pod) { read = append(read, p) })).To(Succeed())
	g.Expect(read).To(Equal([]cluster.Pod{
		{Key: types.NamespacedName{Name: "cart"}, Node: "lin-1", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}},
		{Key: types.NamespacedName{Name: "db"}, Node: "lin-2", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.12")}, Deleting: true},
		{Key: types.NamespacedName{Name: "new"}, Node: "lin-2"},
	}))
	g.Expect(requested.URL.Path).To(Equal("/api/v1/pods"))
	g.Expect(requested.Header.Get("Accept")).To(Equal("application/json;as=Table;v=v1;g=meta.k8s.io"))
	g.Expect(requested.URL.Query()).To(And(
		HaveKeyWithValue("includeObject", ConsistOf("None")), HaveKeyWithValue("resourceVersion", ConsistOf("1234")),
		HaveKeyWithValue("resourceVersionMatch", ConsistOf("NotOlderThan")),
		HaveKeyWithValue("fieldSelector", ConsistOf("status.phase!=Succeeded,status.phase!=Failed"))))
}

// upTo returns the table, cut off before a text.
func upTo(text string) string {
	head, _, _ := strings.Cut(table, text)
	return head
}

// Unknown is not absent: a table that is incomplete, or not one of pods, proves nothing.
func TestATableThatCannotBeReadIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"it is cut off between rows":  strings.TrimSuffix(upTo(`{"cells":["new"`), ",\n"),
		"it is cut off in a row":      upTo(`"Terminating"`),
		"it is cut off after rows":    table[:strings.LastIndex(table, "}")],
		"it is cut off in the header": upTo(`"priority"`),
		"there is no address":         strings.Replace(table, `"IP"`, `"Address"`, 1),
		"there is no node":            strings.Replace(table, `"Node"`, `"Host"`, 1),
		"there is no status":          strings.Replace(table, `"Status"`, `"State"`, 1),
		"a cell is no text":           strings.Replace(table, `"10.240.0.12"`, `12`, 1),
		"a row is short":              strings.Replace(table, `,"lin-2"`, ``, 1),
		"the rows are no list":        strings.Replace(table, `"rows":[`, `"rows":null,"more":[`, 1),
		"the rows are an object":      upTo(`"rows"`) + `"rows":{}}`,
		"a row has cells twice":       strings.Replace(table, `"object":null`, `"cells":7`, 1),
		"the columns are no list":     `{"columnDefinitions":7,"rows":[]}`,
		"a comma is missing":          upTo(`"rows"`) + `"rows":[] 7}`,
		"it is no table":              `[]`,
		"it is a list of pods":        `{"kind":"PodList","items":[{}]}`,
		"there is nothing":            ``,
	} {
		t.Run(name, func(t *testing.T) {
			pods, _ := answering(t, text)
			NewWithT(t).Expect(pods.List(t.Context(), metav1.ListOptions{}, func(cluster.Pod) {})).NotTo(Succeed())
		})
	}
}

func TestATableThatTheServerRefusesIsAnError(t *testing.T) {
	pods := removal.PodTable{Client: refusing(t)}
	NewWithT(t).Expect(pods.List(t.Context(), metav1.ListOptions{}, func(cluster.Pod) {})).To(
		MatchError(ContainSubstring("listing pods as a table")))
}

func refusing(t *testing.T) rest.Interface {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	client, err := rest.RESTClientFor(&rest.Config{
		Host: server.URL, APIPath: "/api",
		ContentConfig: rest.ContentConfig{GroupVersion: &corev1.SchemeGroupVersion, NegotiatedSerializer: scheme.Codecs.WithoutConversion()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// now is when the logs below are read.
var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const (
	remoteMade = "0395d916-40ef-57c4-a4c6-1ee49881d8ac"
	podsOwn    = "7e86ec01-8700-52df-a2ba-5169ea808e27"
)

// logOf is a log of klog with these messages.
func logOf(messages ...string) string {
	var log strings.Builder
	for i, m := range messages {
		fmt.Fprintf(&log, "I1130 03:00:%02d.271991    4711 %s\n", i, m)
	}
	return log.String()
}

// staleRecord is what kube-proxy 1.32.3 logs when it deletes first its own endpoint and then that of a pod.
func staleRecord() string {
	return logOf(
		`proxier.go:1201] "Syncing Policies"`,
		`proxier.go:1242] "Applying Policy" serviceInfo="default/cart:http"`,
		`proxier.go:1383] "Hns endpoint resource" endpointInfo="10.240.0.17:0"`,
		`proxier.go:1396] "Endpoint resource found" endpointInfo="10.240.0.17:80"`,
		`hns.go:428] "Created Hns loadbalancer policy resource" loadBalancer={"Id":"06f6c94b-d2c0-58a9-a717-afe9feb13345",`+
			`"HostComputeEndpoints":["`+remoteMade+`"],"FrontendVIPs":["10.96.0.250"]}`,
		`proxier.go:401] "Endpoints are modified. Service is stale" servicePortName="default/cart:http"`,
		`proxier.go:491] "Decrementing Endpoint RefCount" endpointInfo="10.240.0.17:80"`,
		`proxier.go:1712] "Deleting unreferenced remote endpoint" hnsID="`+remoteMade+`"`,
		`hns.go:296] "Remote endpoint resource deleted" hnsID="`+remoteMade+`"`,
		`proxier.go:1712] "Deleting unreferenced remote endpoint" hnsID="`+podsOwn+`"`,
		`hns.go:296] "Remote endpoint resource deleted" hnsID="`+podsOwn+`"`,
		`proxier.go:1175] "Querying HNS for endpoints failed" err="failed to list endpoints"`,
		`proxier.go:1175] "Querying HNS for endpoints failed" err="failed to list endpoints"`,
	)
}

func readLog(t *testing.T, data string) recording.ProxyLog {
	t.Helper()
	log, err := recording.ReadProxyLog(file("kube-proxy.log", []byte(data)), now)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// Invariant 12: the log names who deleted the pod's endpoint, and when.
func TestProxyLogOfAStaleRecord(t *testing.T) {
	g := NewWithT(t)
	log := readLog(t, staleRecord())
	at := func(second int) time.Time { return time.Date(2026, 11, 30, 3, 0, second, 271991000, time.UTC) }
	address := netip.MustParseAddr("10.240.0.17")
	entry := func(result string, second int, id hns.EndpointID, addr netip.Addr, subject, detail string) history.Entry {
		return history.Entry{
			Act: history.KubeProxy, Result: result, First: at(second), Last: at(second), Count: 1, Endpoint: id, Address: addr,
			Subject: subject, Detail: detail,
		}
	}
	failed := entry(recording.ProxyFailed, 11, "", netip.Addr{}, "", "Querying HNS for endpoints failed: failed to list endpoints")
	failed.Last, failed.Count = at(12), 2
	g.Expect(log.Entries).To(Equal([]history.Entry{
		entry(recording.ProxyCreatedBalancer, 4, "", netip.MustParseAddr("10.96.0.250"), "default/cart",
			"load balancer 06f6c94b-d2c0-58a9-a717-afe9feb13345"),
		entry(recording.ProxyDeleted, 8, remoteMade, address, "", "EndpointSlices had dropped its address"),
		entry(recording.ProxyDeleted, 10, podsOwn, address, "", "EndpointSlices had dropped the address, by which kube-proxy "+
			"looks endpoints up; kube-proxy had neither made nor used it, so that it was a pod's own, if the log is whole"),
		failed,
	}))
	g.Expect(log.Note()).To(Equal(
		"kube-proxy's log has 13 lines about HNS, from 2026-11-30 03:00:00 to 2026-11-30 03:00:12, if it is in UTC"))
}

// Invariant 12: an address that the log does not tell is one of those that were dropped last, or unknown.
func TestProxyLogOfSeveralDroppedAddresses(t *testing.T) {
	g := NewWithT(t)
	const deleted = `hns.go:296] "Remote endpoint resource deleted" hnsID="` + podsOwn + `"`
	drop := func(second int, addr string) string {
		return fmt.Sprintf("I1130 03:00:%02d.5    4711 proxier.go:498] \"Endpoint cleanup\" endpointInfo=\"%s:80\"\n", second, addr)
	}
	addresses := func(lines ...string) (found []string) {
		for _, e := range readLog(t, strings.Join(lines, "")+"I1130 03:00:59.0    4711 "+deleted).Entries {
			found = append(found, e.Address.String())
		}
		return found
	}
	g.Expect(addresses(drop(1, "10.0.0.1"), drop(1, "10.0.0.2"))).To(Equal([]string{"10.0.0.1", "10.0.0.2"}))
	g.Expect(addresses(drop(1, "10.0.0.1"), drop(3, "10.0.0.3"))).To(Equal([]string{"10.0.0.3"}),
		"kube-proxy remembers the addresses of the last change only")
	g.Expect(addresses(drop(1, "10.0.0.1"), drop(3, "[fd00::2]"))).To(Equal([]string{"10.0.0.1", "fd00::2"}),
		"each family has a proxier of its own")
	g.Expect(addresses(drop(1, "10.0.0.1"), drop(1, "[fd00::2]"), logOf(`proxier.go:1383] "Hns endpoint resource" `+
		`endpointInfo="10.0.0.1:0"`))).To(Equal([]string{"fd00::2"}), "one is in use again")
	g.Expect(addresses()).To(Equal([]string{"invalid IP"}))
}

// Invariant 12: on a node with two families, two proxiers write into one log.
func TestProxyLogOfTwoProxiers(t *testing.T) {
	g := NewWithT(t)
	const other = "083b7faa-25d9-5308-83b6-8705b0341d47"
	log := readLog(t, logOf(
		`proxier.go:1242] "Applying Policy" serviceInfo="default/cart:http"`,
		`proxier.go:1383] "Hns endpoint resource" endpointInfo="10.240.0.17:0"`,
		`proxier.go:1383] "Hns endpoint resource" endpointInfo="[fd00::17]:0"`,
		`proxier.go:1383] "Hns endpoint resource" endpointInfo="10.240.0.18:0"`,
		`hns.go:428] "Created Hns loadbalancer policy resource" loadBalancer={"HostComputeEndpoints":["`+remoteMade+`","`+other+
			`"],"FrontendVIPs":["10.96.0.250"]}`,
		`proxier.go:1712] "Deleting unreferenced remote endpoint" hnsID="`+other+`"`,
		`proxier.go:505] "Removing endpoints, since no one is referencing it" endpoint="[fd00::17]:80"`,
		`hns.go:296] "Remote endpoint resource deleted" hnsID="`+other+`"`,
		`hns.go:296] "Remote endpoint resource deleted" hnsID="`+podsOwn+`"`,
		`proxier.go:505] "Removing endpoints, since no one is referencing it" endpoint="[fd00::18]:80"`,
		`proxier.go:505] "Removing endpoints, since no one is referencing it" endpoint="10.240.0.19:80"`,
		`hns.go:296] "Remote endpoint resource deleted" hnsID="7e86ec01-8700-52df-a2ba-000000000000"`,
	))
	var deleted []string
	for _, e := range log.Entries[1:] {
		deleted = append(deleted, e.Address.String())
	}
	g.Expect(deleted).To(Equal([]string{"10.240.0.18", "fd00::17", "10.240.0.19", "fd00::18"}))
}

// Invariant 12: every release says it in other words.
func TestProxyLogOfOtherReleases(t *testing.T) {
	deleted := `hns.go:301] "Remote endpoint resource deleted" hnsID="` + remoteMade + `"`
	for name, messages := range map[string][]string{
		"1.28": {`proxier.go:505] "Removing endpoints, since no one is referencing it" endpoint="10.240.0.17:80"`, deleted},
		"1.28, used before": {
			`proxier.go:1395] "Applying Policy" serviceInfo="default/cart:http"`,
			`proxier.go:1395] "Hns endpoint resource" endpointsInfo="10.240.0.17:0"`,
			`hns.go:400] "Created Hns loadbalancer policy resource" loadBalancer={"FrontendVIPs":["10.96.0.1"],` +
				`"HostComputeEndpoints":["` + remoteMade + `"]}`,
			deleted,
		},
		"1.34": {
			`proxier.go:1787] "Deleting unreferenced remote endpoint" hnsID="` + remoteMade + `" IP="10.240.0.17"`, deleted,
		},
		"1.34, unused": {
			`proxier.go:553] "Removing endpoints, since no one is referencing it" endpoint="HnsID:` + remoteMade +
				`, Address:10.240.0.17:80"`, deleted,
		},
		"1.36": {
			deleted, `proxier.go:1738] "Deleting unreferenced remote endpoint succeeded" hnsID="` + remoteMade +
				`" IP="10.240.0.17"`,
		},
		"1.36, a duplicate": {
			`proxier.go:1455] "Hns endpoint resource" endpointInfo="HnsID:` + remoteMade + `, Address:10.240.0.17:0"`,
			`hns.go:247] "Deleting stale remote endpoint with duplicate IP" hnsID="` + remoteMade + `"`, deleted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			entries := readLog(t, logOf(messages...)).Entries
			last := entries[len(entries)-1]
			g.Expect(last.Result).To(Equal(recording.ProxyDeleted))
			g.Expect(last.Endpoint).To(BeEquivalentTo(remoteMade))
			g.Expect(last.Address).To(Equal(netip.MustParseAddr("10.240.0.17")))
		})
	}
}

// Invariant 12: a log is read in every form in which people have it.
func TestProxyLogForms(t *testing.T) {
	want := readLog(t, staleRecord())
	line := regexp.MustCompile(`(?m)^`)
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(
		strings.ReplaceAll(staleRecord(), "\n", "\r\n"))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for name, data := range map[string]string{
		"redirected in PowerShell": utf16,
		"among other lines": line.ReplaceAllString(staleRecord(), "I1130 03:00:00.000000    4711 config.go:1] \"Calling handler\"\n"+
			"W1130 03:00:00.000000    4711 proxier.go:1118] Update is not implemented.\n"),
		"of a container runtime": line.ReplaceAllString(strings.TrimSpace(staleRecord()), "2026-11-30T03:00:00Z stderr F "),
	} {
		t.Run(name, func(t *testing.T) {
			got := readLog(t, data)
			NewWithT(t).Expect(got.Lines).To(Equal(want.Lines))
			NewWithT(t).Expect(got.Entries).To(HaveLen(len(want.Entries)))
		})
	}
	t.Run("trimmed for a bundle", func(t *testing.T) {
		g := NewWithT(t)
		kept, err := recording.TrimProxyLog(file("f", []byte("secret\n"+staleRecord())))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(kept)).To(Equal(staleRecord()))
	})
}

// klog writes no year.
func TestProxyLogYears(t *testing.T) {
	for line, want := range map[string]string{
		"I1130 03:00:00.000000":                                 "2026-11-30T03:00:00Z",
		"I1130 23:00:00.000000":                                 "2026-11-30T23:00:00Z",
		"I1202 03:00:00.000000":                                 "2025-12-02T03:00:00Z",
		"I0101 00:00:00":                                        "2026-01-01T00:00:00Z",
		"I0229 00:00:00.000000":                                 "2024-02-29T00:00:00Z",
		"2026-11-29T22:00:00.5-02:00 I1130 03:00:00.000000":     "2026-11-30T00:00:00Z",
		"2025-11-30T03:00:00Z stderr F I1130 03:00:00.00000000": "2025-11-30T03:00:00Z",
	} {
		log := readLog(t, line+`    1 hns.go:1] "Queried load balancers"`)
		NewWithT(t).Expect(log.First.Truncate(time.Second).Format(time.RFC3339)).To(Equal(want), line)
	}
}

func TestProxyLogRefuses(t *testing.T) {
	for data, want := range map[string]string{
		"":                        "it has no line about HNS of a kube-proxy for Windows",
		"{\"kind\": \"PodList\"}": "it has no line about HNS of a kube-proxy for Windows",
		logOf(`proxier.go:1] "Syncing iptables rules"`, `server.go:1] "Endpoint"`): "it has no line about HNS",
		"\xff\xfea\x00\x00\x00": "the file is not text",
	} {
		_, err := recording.ReadProxyLog(file("f", []byte(data)), now)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)), data)
	}
	shallow := readLog(t, logOf(`hns.go:533] "Error creating Hns loadbalancer policy resource" err="no"`))
	NewWithT(t).Expect(shallow.Note()).To(HaveSuffix("run kube-proxy with -v=4"))
}

// Invariant 5 of any log: what is kept of it is bounded, and its times are in order if its lines are.
func TestProxyLogIsBounded(t *testing.T) {
	g := NewWithT(t)
	line := `I1130 03:00:00.000000    1 hns.go:296] "Remote endpoint resource deleted" hnsID="7e86ec01-8700-52df-a2ba-%012d"` + "\n"
	var data strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&data, line, i)
	}
	log := readLog(t, data.String())
	g.Expect(log.Entries).To(HaveLen(20_000))
	g.Expect(string(log.Entries[19_999].Endpoint)).To(HaveSuffix("-000000049999"))
}

// No text makes the reader fail in another way than with an error, or name what the text does not name.
func TestAnyProxyLog(t *testing.T) {
	lines := strings.SplitAfter(staleRecord(), "\n")
	rapid.Check(t, func(t *rapid.T) {
		var data strings.Builder
		for range rapid.IntRange(0, 20).Draw(t, "lines") {
			line := rapid.SampledFrom(lines).Draw(t, "line")
			cut := rapid.IntRange(0, len(line)).Draw(t, "cut")
			data.WriteString(line[:cut] + rapid.SampledFrom([]string{"", "\n", `"`, "{", "="}).Draw(t, "rest") + line[cut:])
		}
		log, err := recording.ReadProxyLog(file("f", []byte(data.String())), now)
		for _, e := range log.Entries {
			if err != nil || e.Act != history.KubeProxy || e.Count < 1 || e.First.After(now.Add(24*time.Hour)) ||
				e.Endpoint != "" && !strings.Contains(data.String(), string(e.Endpoint)) {
				t.Fatalf("%+v, %v", e, err)
			}
		}
	})
}

// FuzzProxyLog holds that any log is read or refused.
func FuzzProxyLog(f *testing.F) {
	f.Add([]byte(staleRecord()))
	f.Fuzz(func(t *testing.T, data []byte) {
		log, err := recording.ReadProxyLog(file("f", data), now)
		if err == nil && (log.Lines == 0 || len(log.Entries) > 10*log.Lines) {
			t.Errorf("%d entries of %d lines", len(log.Entries), log.Lines)
		}
	})
}

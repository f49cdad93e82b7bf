// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// The results of what kube-proxy did.
const (
	ProxyDeleted         = "deleted"
	ProxyCreated         = "created"
	ProxyCreatedBalancer = "load_balancer_created"
	ProxyUpdatedBalancer = "load_balancer_updated"
	ProxyDeletedBalancer = "load_balancer_deleted"
	ProxyFailed          = "failed"
)

// ProxyLog is what the log of a kube-proxy says that it did to HNS.
type ProxyLog struct {
	// Entries begin with the oldest. No more than the last are kept.
	Entries []history.Entry
	// Lines counts the lines that may be about HNS, of which the first and the last are of these times.
	Lines       int
	First, Last time.Time
	// Detailed is set if kube-proxy logs what it deletes, which it does at -v=3 and above.
	Detailed bool
}

const (
	// maxProxyEntries is how many entries are kept of a log.
	maxProxyEntries = 20_000
	// maxProxyLine is the longest line that is read. kube-proxy writes none that is near it.
	maxProxyLine = 256 << 10
)

// ReadProxyLog reads the log of a kube-proxy for Windows, as klog writes it since 1.28, with or without the timestamps
// of a container runtime. klog writes neither year nor zone: no line is later than now, and times are in UTC.
func ReadProxyLog(f File, now time.Time) (ProxyLog, error) {
	lines, err := proxyLines(f)
	if err != nil {
		return ProxyLog{}, err
	}
	r := &proxyReader{now: now, addresses: map[hns.EndpointID]netip.Addr{}, dropped: map[bool]drop{}}
	ofWindows := false
	for line := range lines {
		ofWindows = ofWindows || line[klogFile] != "proxier" // which every kube-proxy has
		r.readLine(line)
	}
	if !ofWindows {
		return ProxyLog{}, fmt.Errorf("reading kube-proxy's log %s: it has no line about HNS of a kube-proxy for Windows. "+
			"Give what kube-proxy.exe writes at -v=4: kubectl -n kube-system logs POD > kube-proxy.log", f.Name)
	}
	r.trim()
	return r.log, nil
}

// klogLine matches a line of klog, after the time that a runtime or kubectl puts before it. Its parts follow.
var klogLine = regexp.MustCompile(`^(?:(\d{4}-\d\d-\d\dT\S+) )?(?:std(?:out|err) [FP] )?` +
	`[IWEF](\d{4} \d\d:\d\d:\d\d(?:\.\d+)?) +\d+ (proxier|hns|hcnutils)\.go:\d+\] ("(?:\\.|[^"\\])*")(.*)$`)

const (
	runtimeTime = iota + 1
	klogTime
	klogFile
	klogText
	klogValues
)

// proxyLines are the lines of a log that may be about HNS, in the parts of [klogLine].
func proxyLines(f File) (iter.Seq[[]string], error) {
	b := budgetFor(f)
	s, ok := b.open(f)
	if !ok {
		return nil, b.err("")
	}
	return func(yield func([]string) bool) {
		for line := range bytes.Lines(s.text) {
			if len(line) > maxProxyLine {
				continue
			}
			parts := klogLine.FindStringSubmatch(strings.TrimRight(string(line), "\r\n"))
			if parts != nil && !yield(parts) {
				return
			}
		}
	}, nil
}

// TrimProxyLog keeps what [ReadProxyLog] reads of a log.
func TrimProxyLog(f File) ([]byte, error) {
	lines, err := proxyLines(f)
	if err != nil {
		return nil, err
	}
	var kept bytes.Buffer
	for line := range lines {
		kept.WriteString(line[0] + "\n")
	}
	return kept.Bytes(), nil
}

// Note summarizes the log.
func (l ProxyLog) Note() string {
	note := fmt.Sprintf("kube-proxy's log has %d lines about HNS, from %s to %s, if it is in UTC", l.Lines,
		l.First.Format(time.DateTime), l.Last.Format(time.DateTime))
	if !l.Detailed {
		note += "; it does not say what kube-proxy deletes: run kube-proxy with -v=4"
	}
	return note
}

// proxyReader reads one line after the other.
type proxyReader struct {
	log ProxyLog
	now time.Time
	// addresses are those of endpoints that kube-proxy made or used: most versions log an endpoint's ID alone.
	addresses map[hns.EndpointID]netip.Addr
	// dropped are the addresses that EndpointSlices dropped last, of IPv4 or not, and that kube-proxy has not used since.
	// kube-proxy 1.31 and later looks them up at the end of a sync, to delete their endpoints.
	dropped map[bool]drop
	// program is the Service that is programmed, and used are its addresses in the order in which its load balancer names
	// them. On a node with two families, two proxiers write into one log at the same time.
	program string
	used    []netip.Addr
}

// drop are addresses that were dropped at once.
type drop struct {
	at        time.Time
	addresses sets.Set[netip.Addr]
}

// atOnce is how far two lines about one change may lie apart.
const atOnce = time.Second

// message is the text of a line with its values.
type message struct {
	text   string
	values map[string]string
}

// loggedValue matches a key with its value: a text in quotes, JSON at the end, or a word.
var loggedValue = regexp.MustCompile(`(\w+)=("(?:\\.|[^"\\])*"|\{.*\}|\S*)`)

func (r *proxyReader) readLine(line []string) {
	m := message{text: unquote(line[klogText]), values: map[string]string{}}
	for _, pair := range loggedValue.FindAllStringSubmatch(line[klogValues], -1) {
		m.values[pair[1]] = unquote(pair[2])
	}
	r.log.Lines++
	r.log.Last = r.timeOf(line[runtimeTime], line[klogTime])
	r.log.First = cmp.Or(r.log.First, r.log.Last)
	r.log.Detailed = r.log.Detailed || strings.HasPrefix(m.text, "Syncing Policies") // both are logged at -v=3
	r.read(m)
}

func unquote(text string) string {
	if unquoted, err := strconv.Unquote(text); err == nil {
		return unquoted
	}
	return text
}

// timeOf is the time of a line: that of a runtime, or that of klog in the last year in which it is not later than now.
func (r *proxyReader) timeOf(stamp, klog string) time.Time {
	if at, err := time.Parse(time.RFC3339, stamp); err == nil {
		return at.UTC()
	}
	const day = 24 * time.Hour // the node may be in another zone
	for year := r.now.Year() + 1; year > r.now.Year()-5; year-- {
		at, err := time.Parse("2006 0102 15:04:05", strconv.Itoa(year)+" "+klog)
		if err == nil && at.Before(r.now.Add(day)) {
			return at
		}
	}
	return time.Time{}
}

var socket = regexp.MustCompile(`(?:HnsID:([-0-9A-Fa-f]*), Address:)?(\[[0-9a-fA-F:.]+\]|[0-9.]+):\d+$`)

// endpoint is the ID and the address that a message names. Either may be missing.
func (m message) endpoint() (hns.EndpointID, netip.Addr) {
	id, _ := hns.ParseOptionalID[hns.EndpointID](m.values["hnsID"])
	addr, _ := hns.ParseAddr(cmp.Or(m.values["IP"], m.values["ip"]))
	named := cmp.Or(m.values["endpointInfo"], m.values["endpointsInfo"], m.values["endpoint"])
	if part := socket.FindStringSubmatch(named); part != nil {
		id, _ = hns.ParseOptionalID[hns.EndpointID](cmp.Or(string(id), part[1]))
		addr, _ = hns.ParseAddr(strings.Trim(part[2], "[]"))
	}
	return id, addr
}

// read follows which addresses endpoints have, and adds what kube-proxy did.
func (r *proxyReader) read(m message) {
	id, addr := m.endpoint()
	if id != "" && addr.IsValid() {
		r.addresses[id] = addr
	}
	r.follow(m, addr)
	switch m.text {
	case "Created remote endpoint resource", "Created local endpoint resource":
		r.add(history.Entry{Result: ProxyCreated, Endpoint: id, Address: r.addresses[id]})
	case "Remote endpoint resource deleted":
		r.deleted(id)
	case "Deleting unreferenced remote endpoint succeeded": // it names the address of what was deleted just before
		for n := len(r.log.Entries) - 1; n >= 0 && r.log.Entries[n].Result == ProxyDeleted &&
			r.log.Entries[n].Endpoint == id; n-- {
			r.log.Entries = r.log.Entries[:n]
		}
		r.deleted(id)
	case "Created Hns loadbalancer policy resource":
		r.balancer(m, ProxyCreatedBalancer)
	case "Update loadbalancer is successful":
		r.balancer(m, ProxyUpdatedBalancer)
	case "Hns LoadBalancer delete triggered for loadBalancer resources":
		r.add(history.Entry{Result: ProxyDeletedBalancer, Detail: "load balancer " + m.values["lbHnsID"]})
	default:
		r.failed(m, id, addr)
	}
}

// follow keeps track of what comes before an act.
func (r *proxyReader) follow(m message, addr netip.Addr) {
	switch m.text {
	case "Endpoint cleanup", "Decrementing Endpoint RefCount", "Removing endpoints, since no one is referencing it":
		r.drop(addr)
	case "Applying Policy":
		r.program, _, _ = strings.Cut(m.values["serviceInfo"], ":") // which has a port, as shop/cart:http
		r.used = nil
	case "Hns endpoint resource":
		r.used = append(r.used, addr)
		r.dropped[addr.Is4()].addresses.Delete(addr)
	}
}

// drop notes that EndpointSlices have dropped an address. Those that were dropped at once are kept together.
func (r *proxyReader) drop(addr netip.Addr) {
	d := r.dropped[addr.Is4()]
	if r.log.Last.Sub(d.at) > atOnce {
		d.addresses = sets.New[netip.Addr]()
	}
	r.dropped[addr.Is4()] = drop{r.log.Last, d.addresses.Insert(addr)}
}

// deleted adds the deletion of an endpoint. If kube-proxy had not logged its address, it is one of those that were
// dropped last: kube-proxy looked it up by that.
func (r *proxyReader) deleted(id hns.EndpointID) {
	e := history.Entry{Result: ProxyDeleted, Endpoint: id, Address: r.addresses[id]}
	dropped, others := r.dropped[true].addresses, r.dropped[false].addresses
	candidates := len(dropped) + len(others)
	const few = 10
	if e.Address.IsValid() || candidates == 0 || candidates > few {
		if dropped.Has(e.Address) || others.Has(e.Address) {
			e.Detail = "EndpointSlices had dropped its address"
		}
		r.add(e)
		return
	}
	e.Detail = "EndpointSlices had dropped the address, by which kube-proxy looks endpoints up"
	if candidates > 1 {
		e.Detail = fmt.Sprintf("it may have had this address, or another of %d that EndpointSlices had dropped", candidates)
	}
	e.Detail += "; kube-proxy had neither made nor used it, so that it was a pod's own, if the log is whole"
	for _, e.Address = range slices.SortedFunc(maps.Keys(dropped.Union(others)), netip.Addr.Compare) {
		r.add(e)
	}
}

// balancer adds a load balancer, and learns from it the endpoints of the addresses that it was made of.
func (r *proxyReader) balancer(m message, result string) {
	var lb struct {
		ID                                 string
		HostComputeEndpoints, FrontendVIPs []string
	}
	if json.Unmarshal([]byte(m.values["loadBalancer"]), &lb) != nil {
		return
	}
	e := history.Entry{Result: result, Subject: r.program, Detail: "load balancer " + lb.ID}
	if len(lb.FrontendVIPs) > 0 {
		e.Address, _ = hns.ParseAddr(lb.FrontendVIPs[0])
	}
	used := slices.DeleteFunc(slices.Clone(r.used), func(a netip.Addr) bool { return a.Is4() != e.Address.Is4() })
	for i, text := range lb.HostComputeEndpoints {
		if id, err := hns.ParseID[hns.EndpointID](text); err == nil && len(used) == len(lb.HostComputeEndpoints) {
			r.addresses[id] = used[i]
		}
	}
	r.add(e)
}

// networkGone is the one failure for which kube-proxy logs no error.
const networkGone = "The HNS network is not present or has changed since the last sync, please check the CNI deployment"

// failed adds a failure of kube-proxy. The same again at once is counted.
func (r *proxyReader) failed(m message, id hns.EndpointID, addr netip.Addr) {
	e := history.Entry{Result: ProxyFailed, Endpoint: id, Address: cmp.Or(addr, r.addresses[id]), Detail: m.text}
	if cause := m.values["err"]; cause != "" {
		e.Detail += ": " + cause
	} else if m.text != networkGone {
		return
	}
	if strings.HasSuffix(m.text, "creation failed") {
		e.Subject = r.program
	}
	if n := len(r.log.Entries); n > 0 {
		last := &r.log.Entries[n-1]
		if last.Result == e.Result && last.Address == e.Address && last.Detail == e.Detail && last.Subject == e.Subject {
			last.Last, last.Count = r.log.Last, last.Count+1
			return
		}
	}
	r.add(e)
}

// add adds an entry.
func (r *proxyReader) add(e history.Entry) {
	e.Act, e.First, e.Last, e.Count = history.KubeProxy, r.log.Last, r.log.Last, 1
	r.log.Entries = append(r.log.Entries, e)
	if len(r.log.Entries) >= 2*maxProxyEntries {
		r.trim()
	}
}

// trim keeps the last entries.
func (r *proxyReader) trim() {
	r.log.Entries = slices.Delete(r.log.Entries, 0, max(0, len(r.log.Entries)-maxProxyEntries))
}

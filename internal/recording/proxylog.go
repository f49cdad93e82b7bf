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
	ProxyGaveUp          = "sync_given_up"
)

// ProxyLog is what the log of a kube-proxy says that it did to HNS.
type ProxyLog struct {
	// Entries begin with the oldest. No more than the last are kept.
	Entries []history.Entry
	// Lines counts the lines about HNS, of which the first and the last are of these times.
	Lines       int
	First, Last time.Time
	// Detailed is set if kube-proxy logs what it deletes, which it does at -v=3 and above.
	Detailed bool
}

// maxProxyEntries is how many entries are kept of a log.
const maxProxyEntries = 20_000

// ReadProxyLog reads the log of a kube-proxy for Windows, as klog writes it since 1.28, with or without the timestamps
// of a container runtime. klog writes neither year nor zone: no line is later than now, and times are in UTC.
func ReadProxyLog(f File, now time.Time) (ProxyLog, error) {
	r := &proxyReader{
		now: now, addresses: map[hns.EndpointID]netip.Addr{}, why: map[hns.EndpointID]string{},
		dropped: map[bool]*drop{true: {}, false: {}},
	}
	for line, err := range proxyLines(f) {
		if err != nil {
			return ProxyLog{}, err
		}
		r.readLine(line)
	}
	if r.log.Lines == 0 {
		return ProxyLog{}, fmt.Errorf("reading kube-proxy's log %s: it has no line about HNS of a kube-proxy for Windows. "+
			"Give what kube-proxy.exe writes at -v=4: kubectl -n kube-system logs POD > kube-proxy.log", f.Name)
	}
	r.trim(maxProxyEntries)
	return r.log, nil
}

// proxyLines are the lines of a log that may be about HNS, or an error.
func proxyLines(f File) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		b := budgetFor(f)
		s, ok := b.open(f)
		if !ok {
			yield("", b.err(""))
			return
		}
		for line := range bytes.Lines(s.text) {
			text := strings.TrimRight(string(line), "\r\n")
			if klogLine.MatchString(text) && !yield(text, nil) {
				return
			}
		}
	}
}

// TrimProxyLog keeps what [ReadProxyLog] reads of a log.
func TrimProxyLog(f File) ([]byte, error) {
	var kept bytes.Buffer
	for line, err := range proxyLines(f) {
		if err != nil {
			return nil, err
		}
		kept.WriteString(line + "\n")
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
	// addresses are those of endpoints that kube-proxy made or used.
	addresses map[hns.EndpointID]netip.Addr
	// dropped are the addresses that EndpointSlices dropped last, of each family, and that kube-proxy has not used since.
	// kube-proxy 1.31 and later looks them up at the end of a sync, to delete their endpoints.
	dropped map[bool]*drop
	// program is the Service that is programmed, and used are its addresses in the order in which its load balancer names
	// them. On a node with two families, two proxiers write into one log at the same time.
	program string
	used    []netip.Addr
	// why is why an endpoint is about to be deleted, and removing are the addresses of those whose ID is not said.
	why      map[hns.EndpointID]string
	removing []netip.Addr
}

// drop are addresses that were dropped at once.
type drop struct {
	at        time.Time
	addresses map[netip.Addr]bool
}

// atOnce is how far two lines about one change may lie apart.
const atOnce = time.Second

var (
	// klogLine matches a line of klog, after the time that a runtime or kubectl puts before it.
	klogLine = regexp.MustCompile(`^(?:(\d{4}-\d\d-\d\dT\S+) )?(?:std(?:out|err) [FP] )?` +
		`[IWEF](\d{4} \d\d:\d\d:\d\d(?:\.\d+)?) +\d+ (?:proxier|hns|hcnutils)\.go:\d+\] (".*)$`)
	// ofWinkernel matches the messages that only kube-proxy for Windows has.
	ofWinkernel = regexp.MustCompile(`(?i)\bhns\b|policy|endpoint|loadbalancer|Syncing Policies|Syncing proxy rules`)
	ofLinux     = regexp.MustCompile(`(?i)iptables|ipvs|nftables|conntrack`)
	socket      = regexp.MustCompile(`(?:HnsID:([-0-9A-Fa-f]*), Address:)?(\[[0-9a-fA-F:.]+\]|[0-9.]+):\d+$`)
)

func (r *proxyReader) readLine(line string) {
	part := klogLine.FindStringSubmatch(line)
	m, ok := parseMessage(part[3])
	if !ok || !ofWinkernel.MatchString(m.text) || ofLinux.MatchString(m.text) {
		return
	}
	m.at = r.timeOf(part[1], part[2])
	r.log.Lines++
	r.log.Last = m.at
	if r.log.First.IsZero() {
		r.log.First = m.at
	}
	r.follow(m)
	r.read(m)
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

// message is the text of a line with its values.
type message struct {
	text   string
	values map[string]string
	at     time.Time
}

// parseMessage reads a text in quotes and then pairs of a key and a value: a text in quotes, JSON or a word.
func parseMessage(line string) (m message, ok bool) {
	quoted, err := strconv.QuotedPrefix(line)
	if err != nil {
		return m, false
	}
	m.text, _ = strconv.Unquote(quoted)
	m.values = map[string]string{}
	for rest := line[len(quoted):]; ; {
		key, value, found := strings.Cut(strings.TrimLeft(rest, " "), "=")
		if !found {
			return m, true
		}
		m.values[key], rest = firstWord(value)
	}
}

// firstWord is the value at the beginning of a text, and what follows it.
func firstWord(text string) (word, rest string) {
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		word, _ = strconv.Unquote(quoted)
		return word, text[len(quoted):]
	}
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		if value, invalid := firstValue([]byte(text)); invalid == nil {
			return string(value), text[len(value):]
		}
	}
	word, rest, _ = strings.Cut(text, " ")
	return word, rest
}

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

// follow keeps track of which address an endpoint has: most versions log only one of the two.
func (r *proxyReader) follow(m message) {
	id, addr := m.endpoint()
	if id != "" && addr.IsValid() && len(r.addresses) < maxProxyEntries {
		r.addresses[id] = addr
	}
	switch m.text {
	case "Endpoint cleanup", "Decrementing Endpoint RefCount":
		if addr.IsValid() {
			r.drop(m.at, addr)
		}
	case "Deleting unreferenced remote endpoint", "Removing endpoints, since no one is referencing it":
		if len(r.why)+len(r.removing) > maxProxyEntries {
			clear(r.why)
			r.removing = nil
		}
	case "Applying Policy":
		r.program, r.used = serviceOf(m.values["serviceInfo"]), nil
	case "Hns endpoint resource":
		if len(r.used) < maxProxyEntries {
			r.used = append(r.used, addr)
		}
		delete(r.dropped[addr.Is4()].addresses, addr)
	}
	r.log.Detailed = r.log.Detailed || strings.HasPrefix(m.text, "Syncing Policies") // both are logged at -v=3
}

// drop notes that EndpointSlices have dropped an address. Those that were dropped at once are kept together.
func (r *proxyReader) drop(at time.Time, addr netip.Addr) {
	d := r.dropped[addr.Is4()]
	if at.Sub(d.at) > atOnce || d.addresses == nil || len(d.addresses) > maxProxyEntries { // no Service has as many
		d.addresses = map[netip.Addr]bool{}
	}
	d.at, d.addresses[addr] = at, true
}

// serviceOf is the Service of one of its ports, such as shop/cart:http.
func serviceOf(port string) string {
	service, _, _ := strings.Cut(port, ":")
	return service
}

// read adds an act of kube-proxy.
func (r *proxyReader) read(m message) {
	id, addr := m.endpoint()
	if why := reason(m.text); why != "" {
		r.why[id] = why
	}
	switch m.text {
	case "Removing endpoints, since no one is referencing it":
		if id == "" {
			r.removing = append(r.removing, addr)
		}
	case "Remote endpoint resource deleted":
		r.deleted(m, id)
	case "Deleting unreferenced remote endpoint succeeded": // it follows what it explains
		if n := len(r.log.Entries); n > 0 && r.log.Entries[n-1].Endpoint == id {
			r.log.Entries[n-1].Address, r.log.Entries[n-1].Detail = addr, becauseDropped
		}
	case "Created remote endpoint resource", "Created local endpoint resource":
		r.add(m, history.Entry{Result: ProxyCreated, Endpoint: id})
	case "Created Hns loadbalancer policy resource":
		r.balancer(m, ProxyCreatedBalancer)
	case "Update loadbalancer is successful":
		r.balancer(m, ProxyUpdatedBalancer)
	case "Hns LoadBalancer delete triggered for loadBalancer resources":
		r.add(m, history.Entry{Result: ProxyDeletedBalancer, Detail: "load balancer " + m.values["lbHnsID"]})
	default:
		r.failed(m, id, addr)
	}
}

// reason is why kube-proxy is about to delete an endpoint, by what it logs before. It is empty for other messages.
func reason(text string) string {
	switch text {
	case "Removing endpoints, since no one is referencing it":
		return "no Service that kube-proxy serves uses it any more"
	case "Deleting unreferenced remote endpoint":
		return becauseDropped
	case "Deleting stale remote endpoint with duplicate IP":
		return "another endpoint has its address"
	default:
		return ""
	}
}

const (
	becauseDropped = "EndpointSlices had dropped its address"
	// notMade says what kind of endpoint it was.
	notMade = "; kube-proxy had neither made nor used it, so that it was a pod's own, if the log is whole"
)

// deleted adds the deletion of an endpoint. If the log does not name its address, it is one of those that were dropped
// last: kube-proxy looked it up by that.
func (r *proxyReader) deleted(m message, id hns.EndpointID) {
	e := history.Entry{Result: ProxyDeleted, Endpoint: id, Address: r.addresses[id], Detail: r.why[id]}
	delete(r.why, id)
	if e.Detail == "" && len(r.removing) == 1 {
		e.Detail, e.Address = r.why[""], cmp.Or(e.Address, r.removing[0])
	}
	if e.Detail != becauseDropped {
		r.removing = nil
	}
	candidates := r.droppedLast()
	const few = 10
	if e.Address.IsValid() || len(candidates) == 0 || len(candidates) > few {
		r.add(m, e)
		return
	}
	why := "EndpointSlices had dropped the address, by which kube-proxy looks endpoints up"
	if len(candidates) > 1 {
		why = fmt.Sprintf("it may have had this address, or another of %d that EndpointSlices had dropped", len(candidates))
	}
	for _, e.Address = range candidates {
		e.Detail = why + notMade
		r.add(m, e)
	}
}

// droppedLast are the addresses that were dropped last, in both families.
func (r *proxyReader) droppedLast() []netip.Addr {
	all := slices.AppendSeq(slices.Collect(maps.Keys(r.dropped[true].addresses)), maps.Keys(r.dropped[false].addresses))
	slices.SortFunc(all, netip.Addr.Compare)
	return all
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
	if len(lb.HostComputeEndpoints) == len(used) && e.Address.IsValid() && len(r.addresses) < maxProxyEntries {
		for i, text := range lb.HostComputeEndpoints {
			if id, err := hns.ParseID[hns.EndpointID](text); err == nil {
				r.addresses[id] = used[i]
			}
		}
	}
	r.add(m, e)
}

// failed adds a failure of kube-proxy.
func (r *proxyReader) failed(m message, id hns.EndpointID, addr netip.Addr) {
	gaveUp := slices.Contains([]string{
		"Querying HNS for endpoints failed", "Querying HNS for load balancers failed", "Source Vip endpoint creation failed",
		"The HNS network is not present or has changed since the last sync, please check the CNI deployment",
		"HNS is not running. Unable to read network. Skipping sync",
	}, m.text)
	e := history.Entry{Result: ProxyFailed, Endpoint: id, Address: addr, Detail: m.text}
	cause := m.values["err"]
	switch {
	case gaveUp:
		e.Result = ProxyGaveUp
	case cause == "":
		return
	case strings.HasSuffix(m.text, "creation failed"):
		e.Subject = r.program
	}
	if cause != "" {
		e.Detail += ": " + cause
	}
	r.add(m, e)
}

// add adds an entry. What happens again at once is counted.
func (r *proxyReader) add(m message, e history.Entry) {
	e.Act, e.First, e.Last, e.Count = history.KubeProxy, m.at, m.at, 1
	if !e.Address.IsValid() {
		e.Address = r.addresses[e.Endpoint]
	}
	if n := len(r.log.Entries); n > 0 && (e.Result == ProxyFailed || e.Result == ProxyGaveUp) {
		last := &r.log.Entries[n-1]
		if last.Result == e.Result && last.Address == e.Address && last.Detail == e.Detail && last.Subject == e.Subject {
			last.Last = m.at
			last.Count++
			return
		}
	}
	r.log.Entries = append(r.log.Entries, e)
	if len(r.log.Entries) >= 2*maxProxyEntries {
		r.trim(maxProxyEntries)
	}
}

// trim keeps the last entries.
func (r *proxyReader) trim(count int) {
	if drop := len(r.log.Entries) - count; drop > 0 {
		r.log.Entries = slices.Delete(r.log.Entries, 0, drop)
	}
}

// SPDX-License-Identifier: Apache-2.0

package winkernel

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/Microsoft/hnslib/hcn"
	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/proxy"
	kubeproxyconfig "k8s.io/kubernetes/pkg/proxy/apis/config"

	"winkernel/wire"
)

// mapSeed is where the runtime that this program is built with takes the order of maps from.
//
//go:linkname mapSeed runtime.mapSeed
var mapSeed uint64

// server is the program: one kube-proxy at a time, and what it does at the moment.
type server struct {
	proxier *Proxier
	// refused is why NewProxier made none.
	refused  error
	task     *task
	messages chan wire.Message
	batch    []string
}

// task is a run of kube-proxy's code that calls HNS.
type task struct {
	replies        chan wire.Result
	aborted, ended chan struct{}
}

// Serve answers requests until there are no more.
func Serve(in io.Reader, out io.Writer) error {
	klog.SetLogger(logr.Discard())
	s := &server{messages: make(chan wire.Message)}
	hcn.Do = s.call
	requests, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var r wire.Request
		if err := requests.Decode(&r); err != nil {
			return err
		}
		if err := answers.Encode(s.answer(r)); err != nil {
			return err
		}
	}
}

func (s *server) answer(r wire.Request) wire.Message {
	mapSeed = r.Seed
	switch r.Kind {
	case wire.Start:
		s.abort()
		hcn.CanUpdate = r.CanUpdate
		return s.finished(s.run(func() { s.proxier, s.refused = newProxier(r.Node, r.Network) }))
	case wire.Service:
		return s.event(r, new(v1.Service), func(o any) { s.proxier.OnServiceAdd(o.(*v1.Service)) },
			func(o any) { s.proxier.OnServiceDelete(o.(*v1.Service)) })
	case wire.Slice:
		return s.event(r, new(discovery.EndpointSlice),
			func(o any) { s.proxier.OnEndpointSliceUpdate(nil, o.(*discovery.EndpointSlice)) },
			func(o any) { s.proxier.OnEndpointSliceDelete(o.(*discovery.EndpointSlice)) })
	case wire.Synced:
		return s.run(func() {
			s.proxier.OnServiceSynced()
			s.proxier.OnEndpointSlicesSynced()
		})
	case wire.Sync:
		return s.run(func() { s.proxier.syncProxyRules() })
	case wire.Reply:
		s.task.replies <- *r.Reply
		return s.finished(<-s.messages)
	default:
		return wire.Message{Failed: "no such request: " + string(r.Kind)}
	}
}

// finished describes the kube-proxy if this message is the end of its start.
func (s *server) finished(m wire.Message) wire.Message {
	switch {
	case m.Call != nil:
	case s.refused != nil:
		m.Failed = s.refused.Error()
	case s.proxier.serviceHealthServer != (health{s}):
		m.Started, m.Failed = s.adopt()
	}
	return m
}

// run lets kube-proxy's code run until it calls HNS or has ended.
func (s *server) run(do func()) wire.Message {
	t := &task{replies: make(chan wire.Result), aborted: make(chan struct{}), ended: make(chan struct{})}
	s.task = t
	go func() {
		defer close(t.ended)
		do()
		s.task = nil
		s.messages <- s.describe(nil)
	}()
	return <-s.messages
}

// abort ends what kube-proxy does, as the end of its process would. What it has deferred calls HNS no more.
func (s *server) abort() {
	if t := s.task; t != nil {
		close(t.aborted)
		<-t.ended
	}
	s.task, s.proxier, s.refused, s.batch = nil, nil, nil, nil
}

// call is a call of kube-proxy's code to HNS.
func (s *server) call(c wire.Call) wire.Result {
	t := s.task
	select {
	case <-t.aborted:
		runtime.Goexit()
	default:
	}
	s.messages <- s.describe(&c)
	select {
	case r := <-t.replies:
		return r
	case <-t.aborted:
		runtime.Goexit()
	}
	panic("unreachable")
}

func (s *server) describe(c *wire.Call) wire.Message {
	m := wire.Message{Call: c, Batch: s.batch}
	s.batch = nil
	if s.proxier != nil {
		m.Record = slices.AppendSeq([]string{}, maps.Keys(s.proxier.terminatedEndpoints))
	}
	return m
}

// event tells kube-proxy of an object, and whether that made it ask for a sync.
func (s *server) event(r wire.Request, object any, set, remove func(any)) wire.Message {
	if err := json.Unmarshal(r.Object, object); err != nil {
		return wire.Message{Failed: err.Error()}
	}
	if r.Delete {
		remove(object)
	} else {
		set(object)
	}
	select {
	case <-s.requested():
		return wire.Message{Wants: true}
	default:
		return wire.Message{}
	}
}

// requested is where kube-proxy's runner waits for requests to sync. It does not run here.
func (s *server) requested() chan struct{} {
	field, _ := private(s.proxier.syncRunner, "run")
	return *(*chan struct{})(field)
}

// adopt puts this program's hands on what kube-proxy has started.
func (s *server) adopt() (*wire.Started, string) {
	p, started := s.proxier, &wire.Started{}
	for name, to := range map[string]*float64{"minInterval": &started.MinSeconds, "maxInterval": &started.MaxSeconds} {
		field, err := private(p.syncRunner, name)
		if err != "" {
			return nil, err
		}
		*to = (*(*time.Duration)(field)).Seconds()
	}
	if _, err := private(p.syncRunner, "run"); err != "" {
		return nil, err
	}
	started.Burst = strings.HasSuffix(reflect.TypeOf(p.syncRunner).Elem().PkgPath(), "/util/async")
	field, err := private(p.endpointsChanges, "processEndpointsMapChange")
	if err != "" {
		return nil, err
	}
	change := (*func(before, after proxy.EndpointsMap))(field)
	process := *change
	*change = func(before, after proxy.EndpointsMap) {
		s.batch = append(s.batch, serviceOf(before, after))
		process(before, after)
	}
	p.serviceHealthServer = health{s}
	return started, ""
}

// private is where a field is that another package keeps to itself.
func private(of any, name string) (unsafe.Pointer, string) {
	holder := reflect.ValueOf(of).Elem()
	field := holder.FieldByName(name)
	if !field.IsValid() {
		return nil, fmt.Sprintf("%s: %s has no field %s", holder.Type().PkgPath(), holder.Type().Name(), name)
	}
	return unsafe.Pointer(field.UnsafeAddr()), ""
}

func serviceOf(all ...proxy.EndpointsMap) string {
	for _, endpoints := range all {
		for name := range endpoints {
			return name.NamespacedName.String()
		}
	}
	return ""
}

// health is told when kube-proxy has programmed all Services, just before it goes through its record.
type health struct{ s *server }

func (health) SyncServices(map[types.NamespacedName]uint16) error { return nil }

func (h health) SyncEndpoints(map[types.NamespacedName]int) error {
	h.s.call(wire.Call{Op: wire.Completed})
	return nil
}

// newProxier calls NewProxier with the parameters that this version has.
func newProxier(node, network string) (*Proxier, error) {
	winkernel := kubeproxyconfig.KubeProxyWinkernelConfiguration{NetworkName: network}
	whole := &kubeproxyconfig.KubeProxyConfiguration{Winkernel: winkernel}
	set(whole, "SyncPeriod", 30*time.Second)
	set(whole, "MinSyncPeriod", time.Second)
	periods, names := []time.Duration{30 * time.Second, time.Second}, []string{node, ""}
	function := reflect.ValueOf(NewProxier)
	var arguments []reflect.Value
	for parameter := range function.Type().Ins() {
		var value any
		switch parameter {
		case reflect.TypeFor[v1.IPFamily]():
			value = v1.IPv4Protocol
		case reflect.TypeFor[time.Duration]():
			value, periods = periods[0], periods[1:]
		case reflect.TypeFor[string]():
			value, names = names[0], names[1:]
		case reflect.TypeFor[net.IP]():
			value = net.IPv4(10, 0, 0, 1)
		case reflect.TypeOf(winkernel):
			value = winkernel
		case reflect.TypeOf(whole):
			value = whole
		default:
			if k := parameter.Kind(); k != reflect.Pointer && k != reflect.Interface {
				return nil, fmt.Errorf("proxier.go: NewProxier has a parameter of type %s, and this program has no value for it", parameter)
			}
			arguments = append(arguments, reflect.Zero(parameter))
			continue
		}
		arguments = append(arguments, reflect.ValueOf(value))
	}
	results := function.Call(arguments)
	made, _ := results[0].Interface().(*Proxier)
	err, _ := results[1].Interface().(error)
	return made, err
}

// set sets a field that not every version has.
func set(config any, field string, to time.Duration) {
	if f := reflect.ValueOf(config).Elem().FieldByName(field); f.IsValid() {
		f.Set(reflect.ValueOf(metav1.Duration{Duration: to}))
	}
}

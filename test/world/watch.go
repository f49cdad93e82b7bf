// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// line delivers events in order, each after its own delay, and all of them later while it is stalled.
type line struct {
	world   *World
	actor   Actor
	waiting []delivery
	stalled time.Time
	pump    *event
}

// delivery is one event in a line.
type delivery struct {
	due     time.Time
	version int
	do      func()
}

// push adds an event with a resource version to the line.
func (l *line) push(version int, delay time.Duration, do func()) {
	l.waiting = append(l.waiting, delivery{due: l.world.Now().Add(delay), version: version, do: do})
	if len(l.waiting) == 1 {
		l.arm()
	}
}

// let delivers events up to a version now, even if the line is stalled.
func (l *line) let(version int) {
	for len(l.waiting) > 0 && l.waiting[0].version <= version {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		next.do()
	}
	l.arm()
}

// stall stops deliveries for some time.
func (l *line) stall(d time.Duration) {
	if until := l.world.Now().Add(d); until.After(l.stalled) {
		l.stalled = until
		l.arm()
	}
}

// drop drops all events that have not been delivered.
func (l *line) drop() {
	l.pump.cancel()
	l.waiting = nil
}

func (l *line) arm() {
	l.pump.cancel()
	if len(l.waiting) == 0 {
		return
	}
	due := l.waiting[0].due
	if due.Before(l.stalled) {
		due = l.stalled
	}
	l.pump = l.world.After(due.Sub(l.world.Now()), l.actor, func() {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		next.do()
		l.arm()
	})
}

// Feed is one consumer's watch of one kind, like an informer's: it lists, then gets every change late and in order, and
// lists again after a long cut. Changes in a new list look like ordinary changes to the consumer.
type Feed struct {
	api  *API
	name string
	kind Kind
	// wants is the consumer's selector.
	wants func(client.Object) bool
	// lag is the maximum delay of a change.
	lag time.Duration
	// handle gets each change. Either side may be nil.
	handle func(before, after client.Object)
	// listed gets a list, after the changes that it brought, and bookmarked the version of a watch without events. Both
	// may be nil.
	listed     func(all []client.Object, version string)
	bookmarked func(version string)

	line     line
	known    map[types.NamespacedName]client.Object
	revision int
	closed   bool
}

// watch creates a feed that has already listed: the consumer gets the current objects at once.
func (a *API) watch(f *Feed) *Feed {
	f.api = a
	f.line = line{world: a.world, actor: ActorWatch}
	f.known = map[types.NamespacedName]client.Object{}
	a.feeds = append(a.feeds, f)
	f.list()
	f.bookmark()
	return f
}

// close ends the watch.
func (f *Feed) close() {
	f.closed = true
	f.line.drop()
	f.api.feeds = slices.DeleteFunc(f.api.feeds, func(o *Feed) bool { return o == f })
}

// publish queues a change for delivery.
func (f *Feed) publish(c change) {
	if c.kind != f.kind {
		return
	}
	key := client.ObjectKeyFromObject(c.one())
	lag := f.api.world.within(f.lag, "lag", f.name, key.Name, strconv.FormatInt(c.one().GetGeneration(), 10))
	f.line.push(c.version, lag, func() {
		f.revision = c.version
		f.set(key, c.after)
	})
}

// set notifies the consumer of the current state of an object.
func (f *Feed) set(key types.NamespacedName, now client.Object) {
	if now != nil && !f.wants(now) {
		now = nil
	}
	before := f.known[key]
	if before == nil && now == nil {
		return
	}
	if now == nil {
		delete(f.known, key)
	} else {
		f.known[key] = now
	}
	f.handle(before, now)
}

// list makes the feed current at once. An unchanged object causes no event.
func (f *Feed) list() {
	f.line.drop()
	for _, key := range slices.SortedFunc(maps.Keys(f.known), compareKeys) {
		if f.api.Get(f.kind, key) == nil {
			f.set(key, nil)
		}
	}
	for _, obj := range f.api.All(f.kind) {
		key := client.ObjectKeyFromObject(obj)
		if known := f.known[key]; known == nil || known.GetResourceVersion() != obj.GetResourceVersion() {
			f.set(key, obj)
		}
	}
	f.revision = f.api.version
	if f.listed != nil {
		var all []client.Object
		for _, key := range slices.SortedFunc(maps.Keys(f.known), compareKeys) {
			all = append(all, f.known[key])
		}
		f.listed(all, fmt.Sprint(f.revision))
	}
}

// Cut breaks the watch for some time. It then continues where it was or, if the API server no longer has those changes,
// with a new list.
func (f *Feed) Cut(d time.Duration, relist bool) {
	f.api.world.tell(ActorWatch, "%s: cut for %s, relist %v", f.name, d, relist)
	f.line.stall(d)
	if relist {
		f.api.world.After(d, ActorWatch, func() {
			if !f.closed {
				f.list()
			}
		})
	}
}

// Hold stops deliveries for some time, except for those that [Feed.Let] makes.
func (f *Feed) Hold(d time.Duration) { f.line.stall(d) }

// Let delivers changes up to a resource version of the API server.
func (f *Feed) Let(version int) { f.line.let(version) }

// stream returns a client's watch, with all changes since a resource version.
func (a *API) stream(kind Kind, o *client.ListOptions, since int) watch.Interface {
	events := watch.NewRaceFreeFake()
	send := func(event watch.EventType, obj client.Object, version int) {
		if version > since {
			obj = copyOf(obj)
			obj.SetResourceVersion(strconv.Itoa(version))
			events.Action(event, obj)
		}
	}
	for _, c := range a.deleted {
		if c.kind == kind && selected(c.before, o) {
			send(watch.Deleted, c.before, c.version)
		}
	}
	var feed Feed
	feed = Feed{
		name: "stream", kind: kind, wants: func(obj client.Object) bool { return selected(obj, o) },
		handle: func(before, after client.Object) {
			version := 0
			if after != nil {
				version, _ = strconv.Atoi(after.GetResourceVersion()) // the API server has set it
			}
			switch {
			case after == nil:
				send(watch.Deleted, before, feed.revision)
			case before == nil:
				send(watch.Added, after, version)
			default:
				send(watch.Modified, after, version)
			}
		},
	}
	a.watch(&feed)
	return events
}

// bookmarkEvery is the interval of bookmarks in a watch without events.
const bookmarkEvery = time.Minute

func (f *Feed) bookmark() {
	f.api.world.After(bookmarkEvery, ActorWatch, func() {
		if f.closed {
			return
		}
		version := f.api.version
		f.line.push(version, 0, func() {
			f.revision = max(f.revision, version)
			if f.bookmarked != nil {
				f.bookmarked(fmt.Sprint(f.revision))
			}
		})
		f.bookmark()
	})
}

// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
)

// boundedListener accepts every connection, and closes another one if there are too many (invariant 2).
type boundedListener struct {
	net.Listener

	mu sync.Mutex
	// open are the open connections, oldest first.
	open []*connection
}

// connection is an open connection.
type connection struct {
	net.Conn
	listener *boundedListener
	source   source
	// serving is set while a request on it is being answered, and trusted if the last request was authorized.
	serving, trusted bool
}

// Accept waits for the next connection.
func (l *boundedListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: accepted, listener: l, source: sourceOf(accepted.RemoteAddr().String())}
	if replaced := l.add(c); replaced != nil {
		_ = replaced.Conn.Close() // its goroutine notices
	}
	return c, nil
}

// add adds a connection, and returns the one that it replaces, if any.
func (l *boundedListener) add(c *connection) (replaced *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rivals := slices.DeleteFunc(slices.Clone(l.open), func(other *connection) bool { return other.source != c.source })
	switch {
	case len(rivals) >= MaxPerSource:
		replaced = leastWorthy(rivals)
	case len(l.open) >= MaxConnections:
		replaced = leastWorthy(l.open)
	}
	l.remove(replaced)
	l.open = append(l.open, c)
	return replaced
}

func (l *boundedListener) remove(c *connection) {
	l.open = slices.DeleteFunc(l.open, func(other *connection) bool { return other == c })
}

// leastWorthy returns the connection to close: one of those with the least worth, of the source with the most
// connections, the oldest.
func leastWorthy(open []*connection) *connection {
	count := map[source]int{}
	for _, c := range open {
		count[c.source]++
	}
	return slices.MinFunc(open, func(a, b *connection) int {
		return cmp.Or(cmp.Compare(a.worth(), b.worth()), cmp.Compare(count[b.source], count[a.source]))
	})
}

func (c *connection) worth() int {
	worth := 0
	if c.serving {
		worth++
	}
	if c.trusted {
		worth += 2
	}
	return worth
}

// Close closes the connection.
func (c *connection) Close() error {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.listener.remove(c)
	return c.Conn.Close()
}

// connectionKey is the key of a request's connection in its context.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	if secured, is := c.(*tls.Conn); is {
		c = secured.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// mark updates the connection of a request.
func mark(r *http.Request, change func(*connection)) {
	if c, is := r.Context().Value(connectionKey{}).(*connection); is {
		c.listener.mu.Lock()
		defer c.listener.mu.Unlock()
		change(c)
	}
}

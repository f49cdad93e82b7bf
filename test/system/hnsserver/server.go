// SPDX-License-Identifier: Apache-2.0

package hnsserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Entry is a line of the journal: a call that changed something, or tried to.
type Entry struct {
	At time.Time
	// Caller is the file name of the program.
	Caller               string
	Operation, Kind      string
	ID                   string
	Result               uint32
	endpointWasThere     bool
	endpointWasRemote    bool
	endpointAddresses    []string
	endpointWasDescribed string
}

// String formats the entry for logs.
func (e Entry) String() string {
	return fmt.Sprintf("%s %s %s %s %s 0x%x %s",
		e.At.Format("15:04:05.000"), e.Caller, e.Operation, e.Kind, e.ID, e.Result,
		e.endpointWasDescribed)
}

// DeletedLocal reports whether the entry is a deletion of a local endpoint.
func (e Entry) DeletedLocal() bool {
	return e.Operation == "delete" && e.Kind == "endpoint" && e.Result == 0 && e.endpointWasThere && !e.endpointWasRemote
}

// DeletedRemote reports whether the entry is a deletion of a remote endpoint with the address.
func (e Entry) DeletedRemote(address string) bool {
	return e.Operation == "delete" && e.Kind == "endpoint" && e.Result == 0 && e.endpointWasRemote &&
		slices.Contains(e.endpointAddresses, address)
}

// Version is a version of HNS. kube-proxy reads it to determine what HNS supports.
type Version string

// The versions that matter.
const (
	// WindowsServer2022 cannot update a load balancer: kube-proxy deletes and recreates it.
	WindowsServer2022 Version = "13.3"
	// IgnoresUpdates reports success for updates of load balancers, but ignores them.
	//
	// Source: https://github.com/kubernetes/kubernetes/issues/131466
	IgnoresUpdates Version = "15.4"
	// Updates updates load balancers in place: the first version that does according to hnslib 0.1.1.
	Updates Version = "15.5"
)

// globals returns the older interface's answer to a request for the version.
func (v Version) globals() (string, error) {
	var major, minor int
	if _, err := fmt.Sscanf(string(v), "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("reading the version %q: %w", v, err)
	}
	return encode(document{"Success": true, "Output": document{"Major": major, "Minor": minor}})
}

// Server is a listening server.
type Server struct {
	service  *hnstest.HNS
	version  Version
	listener net.Listener
	hangUp   context.CancelFunc // ends calls and connections
	done     sync.WaitGroup

	mu sync.Mutex
	// documents are the callers' settings, by the object's ID.
	documents map[string]json.RawMessage
	journal   []Entry
	refusals  []*Refusal
}

// Refusal makes calls fail. Empty fields match all calls.
type Refusal struct {
	// Caller is the file name of the program.
	Caller          string
	Operation, Kind string
	Code            uint32
}

// Refuse makes calls fail until the returned function is called.
func (s *Server) Refuse(r Refusal) (withdraw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, &r)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refusals = slices.DeleteFunc(s.refusals, func(o *Refusal) bool { return o == &r })
	}
}

// refusal returns the code with which a call fails because of [Server.Refuse], or zero.
func (s *Server) refusal(r request) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.refusals {
		if (f.Caller == "" || strings.EqualFold(f.Caller, r.caller)) &&
			(f.Operation == "" || f.Operation == r.operation) && (f.Kind == "" || f.Kind == r.kind) {
			return f.Code
		}
	}
	return 0
}

// Start serves the service on a free loopback port, like HNS of a version.
func Start(ctx context.Context, service *hnstest.HNS, version Version) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for HNS calls: %w", err)
	}
	s := &Server{service: service, version: version, listener: listener, documents: map[string]json.RawMessage{}}
	ctx, s.hangUp = context.WithCancel(context.WithoutCancel(ctx))
	s.done.Go(func() { s.serve(ctx) })
	return s, nil
}

// Port returns the server's port.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return port
}

// Close stops the server, and with it HNS for all its callers.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.hangUp()
	s.done.Wait()
	return err
}

// Journal copies the journal.
func (s *Server) Journal() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// serve serves connections until the context ends, which also ends the calls and their connections.
func (s *Server) serve(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		s.done.Go(func() {
			defer conn.Close() //nolint:errcheck // the caller has its answers
			in := bufio.NewReader(conn)
			for s.answer(ctx, in, conn) == nil { // a caller that went away does not matter
			}
		})
	}
}

// request is one call.
type request struct {
	caller, operation, kind, guid, argument string
}

// answer handles one call of a connection.
func (s *Server) answer(ctx context.Context, in io.Reader, out io.Writer) error {
	message, err := readMessage(in)
	if err != nil {
		return err
	}
	var r request
	for _, field := range []*string{&r.caller, &r.operation, &r.kind, &r.guid, &r.argument} {
		if *field, message, err = takeText(message); err != nil {
			return err
		}
	}
	r.kind = strings.ToLower(r.kind)
	entry := s.before(r)
	result, record, code := "", "", s.refusal(r)
	if code == 0 {
		result, err = s.handle(ctx, r)
		if err != nil {
			code, record = failure(err)
		}
	}
	s.after(r, entry, result, code)
	response := binary.LittleEndian.AppendUint32(make([]byte, 4, 12+len(result)+len(record)), code)
	response = appendText(appendText(response, result), record)
	binary.LittleEndian.PutUint32(response, uint32(len(response)-4))
	_, err = out.Write(response)
	return err
}

// before records what a delete is about to delete.
func (s *Server) before(r request) Entry {
	e := Entry{At: time.Now(), Caller: strings.ToLower(r.caller), Operation: r.operation, Kind: r.kind, ID: r.guid}
	if r.operation != "delete" || r.kind != "endpoint" {
		return e
	}
	for _, endpoint := range s.service.State().Endpoints {
		if !strings.EqualFold(string(endpoint.ID), r.guid) {
			continue
		}
		e.endpointWasThere, e.endpointWasRemote = true, endpoint.Remote()
		for _, addr := range endpoint.Addresses {
			e.endpointAddresses = append(e.endpointAddresses, addr.String())
		}
		e.endpointWasDescribed = fmt.Sprintf("(remote=%t %v)", endpoint.Remote(), e.endpointAddresses)
	}
	return e
}

func (s *Server) after(r request, e Entry, result string, code uint32) {
	if r.operation != "create" && r.operation != "delete" && r.operation != "modify" && r.operation != "DELETE" {
		return
	}
	if r.operation == "create" {
		e.ID = result
		e.endpointWasDescribed = r.argument
	}
	e.Result = code
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, e)
}

// failure returns HNS's answer to a failed call.
func failure(err error) (code uint32, record string) {
	switch {
	case errors.Is(err, hns.ErrUnavailable):
		code = 0x800706b5
	case errors.Is(err, hnstest.ErrDuplicateAddress):
		code = 0x803b002f
	case errors.Is(err, hnstest.ErrAlreadyAttached):
		code = 0x803b0014
	case errors.Is(err, hnstest.ErrPortExists):
		code = 0x803b0013
	case errors.Is(err, hnstest.ErrStillReferenced):
		code = 0x803b002c
	case errors.Is(err, hnstest.ErrNotInSubnet):
		code = 0x803b001e
	case errors.Is(err, errNetworkNotFound):
		code = 0x803b0001
	case errors.Is(err, errEndpointNotFound):
		code = 0x803b0002
	case errors.Is(err, hns.ErrNotFound):
		code = 0x80070490
	default:
		code = 0x80004005 // E_FAIL
	}
	text, _ := json.Marshal(map[string]any{ //nolint:errchkjson // these can be encoded
		"Success": false, "Error": err.Error(), "ErrorCode": code,
	})
	return code, string(text)
}

// maxMessage is far more than any caller sends.
const maxMessage = 16 << 20

func readMessage(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}

// takeText returns the string at the beginning of a message, and what comes after it.
func takeText(message []byte) (text string, rest []byte, err error) {
	if len(message) < 4 {
		return "", nil, io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint32(message)
	if message = message[4:]; uint64(n) > uint64(len(message)) {
		return "", nil, io.ErrUnexpectedEOF
	}
	return string(message[:n]), message[n:], nil
}

func appendText(message []byte, text string) []byte {
	message = binary.LittleEndian.AppendUint32(message, uint32(len(text)))
	return append(message, text...)
}

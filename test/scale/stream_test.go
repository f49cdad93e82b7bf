// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package scale_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	discoveryv1 "k8s.io/api/discovery/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	restwatch "k8s.io/client-go/rest/watch"
)

// stream is the API server's answer to a client's watch of EndpointSlices, to which events can be added: the server
// cannot change slices as fast as an agent must be able to follow.
type stream struct {
	// out leads to the client; nil before there is a watch. It writes one frame after the other, from any goroutine.
	out atomic.Pointer[io.PipeWriter]
}

// client returns the configuration of a client whose watch is this stream.
func (s *stream) client(from *rest.Config) *rest.Config {
	c := rest.CopyConfig(from)
	c.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil && resp.StatusCode == http.StatusOK && r.URL.Query().Has("watch") &&
				strings.HasSuffix(r.URL.Path, "/endpointslices") {
				resp.Body = s.through(resp.Body)
			}
			return resp, err
		})
	})
	return c
}

// through forwards the server's answer, one frame at a time.
func (s *stream) through(from io.ReadCloser) io.ReadCloser {
	in, out := io.Pipe()
	s.out.Store(out)
	go func() {
		for {
			frame, err := nextFrame(from)
			if err == nil {
				_, err = out.Write(frame)
			}
			if err != nil {
				out.CloseWithError(err)
				return
			}
		}
	}()
	return passedOn{in, from}
}

// passedOn closes both ends.
type passedOn struct {
	*io.PipeReader
	from io.Closer
}

func (p passedOn) Close() error { return errors.Join(p.PipeReader.Close(), p.from.Close()) }

// add adds a change of a slice. It waits until the client has read it.
func (s *stream) add(slice *discoveryv1.EndpointSlice) error {
	frame, err := encoded(slice)
	if err != nil {
		return err
	}
	_, err = s.out.Load().Write(frame)
	return err
}

// nextFrame reads one frame with the length that precedes it in a protobuf stream.
func nextFrame(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, len(length)+int(binary.BigEndian.Uint32(length[:])))
	copy(frame, length[:])
	_, err := io.ReadFull(from, frame[len(length):])
	return frame, err
}

// encoded returns the frame of a changed slice, like the API server's.
func encoded(slice *discoveryv1.EndpointSlice) ([]byte, error) {
	info, known := apiruntime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), apiruntime.ContentTypeProtobuf)
	if !known {
		return nil, fmt.Errorf("encoding a slice: client-go knows no %s", apiruntime.ContentTypeProtobuf)
	}
	var frame bytes.Buffer
	encoder := restwatch.NewEncoder(
		streaming.NewEncoder(info.StreamSerializer.NewFrameWriter(&frame), info.StreamSerializer.Serializer),
		scheme.Codecs.EncoderForVersion(info.Serializer, discoveryv1.SchemeGroupVersion))
	err := encoder.Encode(&watch.Event{Type: watch.Modified, Object: slice})
	return frame.Bytes(), err
}

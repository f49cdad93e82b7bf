// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pods is the [Executor] that uses the API server.
type pods struct {
	config *rest.Config
	core   coreclient.CoreV1Interface
}

// NewExecutor returns an executor that uses the exec subresource of pods.
func NewExecutor(config *rest.Config) (Executor, error) {
	core, err := coreclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return &pods{config, core}, nil
}

// Exec implements [Executor]. Like kubectl, it falls back to SPDY where WebSockets are not understood.
func (p *pods) Exec(ctx context.Context, pod client.ObjectKey, container string, command []string) ([]byte, error) {
	url := p.core.RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: container, Command: command, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec).URL()
	sockets, err := remotecommand.NewWebSocketExecutor(p.config, "GET", url.String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(p.config, "POST", url)
	if err != nil {
		return nil, err
	}
	either, err := remotecommand.NewFallbackExecutor(sockets, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return nil, err
	}
	out, complaints := bounded{limit: maxAnswer}, bounded{limit: maxComplaint}
	err = either.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &complaints})
	answer, cut := out.content()
	stderr, _ := complaints.content()
	switch stderr = bytes.TrimSpace(stderr); {
	case cut:
		return nil, fmt.Errorf("its answer is larger than %d MiB", maxAnswer>>20)
	case err != nil && len(stderr) > 0:
		return nil, fmt.Errorf("%s (%w)", stderr, err)
	default:
		return answer, err
	}
}

// How much of an answer is read, and how much of stderr is shown.
const (
	maxAnswer    = 16 << 20
	maxComplaint = 2 << 10
)

// bounded keeps what is written up to a limit, and drops the rest. When the context of a call ends, the streams may
// still be written to. It has no other method of [bytes.Buffer], such as ReadFrom, which knows of no limit.
type bounded struct {
	limit int

	mu     sync.Mutex
	buffer bytes.Buffer
	cut    bool
}

func (b *bounded) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := data
	if room := b.limit - b.buffer.Len(); len(data) > room {
		kept, b.cut = data[:room], true
	}
	_, _ = b.buffer.Write(kept) // it never fails
	return len(data), nil
}

// content copies what was written until now, and reports whether something was dropped.
func (b *bounded) content() (data []byte, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buffer.Bytes()), b.cut
}

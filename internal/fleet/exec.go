// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The limits on the answer, and on the part of stderr that is shown.
const (
	maxAnswer    = 16 << 20
	maxComplaint = 2 << 10
)

// NewExecutor returns an executor that uses the exec subresource of pods. Like kubectl, it falls back to SPDY if
// WebSockets are not supported.
func NewExecutor(config *rest.Config) (Executor, error) {
	core, err := coreclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return func(ctx context.Context, pod client.ObjectKey, command []string, stdout, stderr io.Writer) error {
		options := &corev1.PodExecOptions{Container: Container, Command: command, Stdout: true, Stderr: true}
		url := core.RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
			VersionedParams(options, scheme.ParameterCodec).URL()
		sockets, errSockets := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
		spdy, errSPDY := remotecommand.NewSPDYExecutor(config, "POST", url)
		if err := errors.Join(errSockets, errSPDY); err != nil {
			return err
		}
		either, err := remotecommand.NewFallbackExecutor(sockets, spdy, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		})
		if err != nil {
			return err
		}
		return either.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
	}, nil
}

// ask runs [Command] and returns its stdout.
func (o Options) ask(ctx context.Context, pod client.ObjectKey) ([]byte, error) {
	answer, complaint := bounded{limit: maxAnswer}, bounded{limit: maxComplaint}
	err := o.Exec(ctx, pod, Command(), &answer, &complaint)
	if ctx.Err() != nil { // the command may still write to both
		return nil, ctx.Err()
	}
	stderr := bytes.TrimSpace(complaint.kept)
	switch {
	case answer.cut:
		return nil, fmt.Errorf("its answer is larger than %d MiB", maxAnswer>>20)
	case err != nil && len(stderr) > 0:
		return nil, fmt.Errorf("%s (%w)", stderr, err)
	default:
		return answer.kept, err
	}
}

// bounded keeps output up to a limit, and drops the rest.
type bounded struct {
	limit int
	kept  []byte
	cut   bool
}

func (b *bounded) Write(data []byte) (int, error) {
	room := min(b.limit-len(b.kept), len(data))
	b.kept, b.cut = append(b.kept, data[:room]...), b.cut || room < len(data)
	return len(data), nil
}

// SPDX-License-Identifier: Apache-2.0

// Package kubelet serves the API server's requests to a kubelet when a user runs a command in a container.
package kubelet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	remotecommandserver "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Exec runs a command in a container. A [k8s.io/utils/exec.CodeExitError] becomes the exit status.
type Exec func(ctx context.Context, pod, container string, command []string, out, complaints io.Writer) error

// Serve serves exec, with the protocol of kubelets.
func Serve(exec Exec) *httptest.Server { return httptest.NewTLSServer(exec) }

// ServeHTTP serves /exec/NAMESPACE/POD/CONTAINER, the path to which the API server connects.
func (e Exec) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "exec" {
		http.NotFound(w, r)
		return
	}
	options, err := remotecommandserver.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommandserver.ServeExec(w, r, e, parts[2], "", parts[3], r.URL.Query()["command"], options, time.Minute,
		time.Minute, remotecommandserver.SupportedStreamingProtocols)
}

// ExecInContainer implements [remotecommandserver.Executor].
func (e Exec) ExecInContainer(ctx context.Context, pod, _, container string, command []string, _ io.Reader,
	out, complaints io.WriteCloser, _ bool, _ <-chan remotecommandserver.TerminalSize, _ time.Duration,
) error {
	return e(ctx, pod, container, command, out, complaints)
}

// Register makes the server the kubelet of an existing node.
func Register(ctx context.Context, api client.Client, node string, server *httptest.Server) error {
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return err
	}
	object := &corev1.Node{}
	if err := api.Get(ctx, client.ObjectKey{Name: node}, object); err != nil {
		return fmt.Errorf("registering the kubelet: %w", err)
	}
	object.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	object.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	return api.Status().Update(ctx, object)
}

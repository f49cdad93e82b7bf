// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

const adviceAPI = "If the Service kubernetes cannot be reached from the node, set apiServer.host and apiServer.port " +
	"of the chart. Outside of a pod, use --kubeconfig."

// apiServer reads the version of the API server, which shows that it is reachable.
func (o Options) apiServer(context.Context) Result {
	result, _ := o.readVersion()
	return result
}

// readVersion is apiServer, and also returns the version; empty if it is hidden or cannot be read.
func (o Options) readVersion() (Result, string) {
	if o.APIErr != nil {
		return fail(adviceAPI, "%v", o.APIErr), ""
	}
	asked := o.Clock.Now()
	v, err := o.serverVersion()
	switch {
	case apierrors.IsForbidden(err):
		return pass("%s answers, but hides its version", o.API.Host), ""
	case err != nil:
		return fail(adviceAPI, "reaching the API server at %s: %v", o.API.Host, err), ""
	default:
		return pass("%s at %s, answers in %s", v, o.API.Host, o.Clock.Since(asked).Round(time.Millisecond)), v
	}
}

func (o Options) serverVersion() (string, error) {
	api := rest.CopyConfig(o.API)
	api.Timeout = o.Timeout // the client takes no context
	client, err := discovery.NewDiscoveryClientForConfig(api)
	if err != nil {
		return "", err
	}
	info, err := client.ServerVersion()
	if err != nil {
		return "", err
	}
	return info.GitVersion, nil
}

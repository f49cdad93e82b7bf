// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// serviceAccountDir is where a pod finds its token and the API server's certificate.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// apiConfig says how to reach the API server: by the kubeconfig that was named, or else as the pod that this process
// is. Nothing else is tried; above all not $KUBECONFIG, which a HostProcess container inherits from the host.
func apiConfig(kubeconfig string, env func(string) (string, bool)) (*rest.Config, error) {
	if kubeconfig == "" {
		return inCluster(env)
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// mounted are the places where a path of the pod may be: up to containerd 1.6 a HostProcess container finds its mounts
// only below its own root. That comes first: with newer versions it works too, and is right even where the working
// directory is on another drive than the mounts.
func mounted(path string, env func(string) (string, bool)) []string {
	if root, ok := env("CONTAINER_SANDBOX_MOUNT_POINT"); ok && root != "" {
		return []string{filepath.Join(root, strings.TrimPrefix(path, filepath.VolumeName(path))), path}
	}
	return []string{path}
}

// inCluster does what rest.InClusterConfig does, but looks in all places.
func inCluster(env func(string) (string, bool)) (*rest.Config, error) {
	host, _ := env("KUBERNETES_SERVICE_HOST")
	port, _ := env("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("reaching the API server: this is no pod ($KUBERNETES_SERVICE_HOST or _PORT is not set) " +
			"and no --kubeconfig is given")
	}
	var tried []error
	for _, dir := range mounted(serviceAccountDir, env) {
		token := filepath.Join(dir, "token")
		if _, err := os.ReadFile(token); err != nil {
			tried = append(tried, err)
			continue
		}
		return &rest.Config{
			Host:            "https://" + net.JoinHostPort(host, port),
			BearerTokenFile: token,
			TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(dir, "ca.crt")},
		}, nil
	}
	return nil, fmt.Errorf("reaching the API server as a pod: no service account token:\n%w", errors.Join(tried...))
}

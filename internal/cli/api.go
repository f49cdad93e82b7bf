// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// serviceAccountDir has the token of a pod and the CA certificate of the API server.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// agentConfig returns the agent's configuration for the API server: that of the kubeconfig flag, or of this pod. It
// never uses $KUBECONFIG, which a HostProcess container inherits from the host.
func agentConfig(kubeconfig string, env func(string) (string, bool)) (*rest.Config, error) {
	if kubeconfig == "" {
		return inCluster(env)
	}
	return personConfig(kubeconfig, "", env)
}

// kubeconfigOfPerson is the help of the kubeconfig flag for users' commands.
const kubeconfigOfPerson = "kubeconfig file; without it, the ServiceAccount of this pod, and elsewhere $KUBECONFIG " +
	"or ~/.kube/config"

// personConfig returns a user's configuration for the API server, like kubectl. In a pod it is that of the pod's own
// account, because $KUBECONFIG may be the host's there. The context may be empty.
func personConfig(kubeconfig, context string, env func(string) (string, bool)) (*rest.Config, error) {
	if host, _ := env("KUBERNETES_SERVICE_HOST"); kubeconfig == "" && host != "" {
		return inCluster(env)
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	if files, _ := env("KUBECONFIG"); files != "" {
		rules.Precedence = filepath.SplitList(files)
	} else {
		for _, name := range []string{"HOME", "USERPROFILE"} {
			home, _ := env(name)
			rules.Precedence = append(rules.Precedence, filepath.Join(home, ".kube", "config"))
		}
	}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err): // its text gives advice that does not work here
		return nil, errors.New("connecting to the API server: this is not a pod, and there is no kubeconfig, or an empty " +
			"one; pass --kubeconfig or set $KUBECONFIG")
	case err != nil:
		return nil, fmt.Errorf("reading kubeconfig %s: %w", cmp.Or(kubeconfig, "of kubectl"), err)
	}
	return config, nil
}

// mounted returns the location of a path of the pod. With containerd 1.6, a HostProcess container finds its mounts only
// below its own root. mounted tries the root first: newer versions have it too, and it is right even if the working
// directory is on another drive than the mounts.
func mounted(path string, env func(string) (string, bool)) string {
	root, _ := env("CONTAINER_SANDBOX_MOUNT_POINT")
	below := filepath.Join(root, strings.TrimPrefix(path, filepath.VolumeName(path)))
	if _, err := os.Stat(below); root != "" && !errors.Is(err, fs.ErrNotExist) {
		return below // an unreadable file is not replaced by another one
	}
	return path
}

// inCluster is like rest.InClusterConfig, but finds the mounts of a HostProcess container.
func inCluster(env func(string) (string, bool)) (*rest.Config, error) {
	host, _ := env("KUBERNETES_SERVICE_HOST")
	port, _ := env("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("connecting to the API server: this is not a pod ($KUBERNETES_SERVICE_HOST or " +
			"$KUBERNETES_SERVICE_PORT is not set); use --kubeconfig")
	}
	dir := mounted(serviceAccountDir, env)
	token := filepath.Join(dir, "token")
	if _, err := os.ReadFile(token); err != nil {
		return nil, fmt.Errorf("connecting to the API server as a pod: no service account token: %w", err)
	}
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		BearerTokenFile: token,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(dir, "ca.crt")},
	}, nil
}

// readerOf returns a client of the API server.
func readerOf(config *rest.Config) (client.Reader, error) {
	reader, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return reader, nil
}

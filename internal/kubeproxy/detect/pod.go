// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// FromPods reads the pods on the node from the API server, and returns what [InPods] finds.
func FromPods(ctx context.Context, server client.Reader, node string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var list corev1.PodList
	if err := server.List(ctx, &list, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return "", fmt.Errorf("reading the pods on node %s: %w", node, err)
	}
	pods := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
	}
	return InPods(pods, node)
}

// Version returns the version from kube-proxy's metrics at the URL, or else from [InPods]; empty if it is unknown.
// Without a URL it only uses the pods.
func Version(ctx context.Context, url string, pods []*corev1.Pod, node string) string {
	if url != "" {
		if version, err := FromMetrics(ctx, nil, url); err == nil {
			return version
		}
	}
	version, _ := InPods(pods, node) // doctor reports why it is unknown
	return version
}

// InPods returns the version in the tag of the image that a kube-proxy pod on the node runs. It fails unless exactly
// one version runs there: while kube-proxy is being replaced, the old one may still be running.
//
// Only a user who may run pods on the host network of the node can make it return a wrong version.
func InPods(pods []*corev1.Pod, node string) (string, error) {
	versions := sets.New[string]()
	for _, pod := range pods {
		if pod.Spec.NodeName != node {
			continue
		}
		images, running := proxyImages(pod)
		for _, image := range images {
			version := tagOf(image)
			if err := kubeproxy.CheckVersion(version); err != nil || !running {
				return "", fmt.Errorf("pod %s/%s does not show which kube-proxy it runs: image %q is not running, or its tag "+
					"is not a version", pod.Namespace, pod.Name, image)
			}
			versions.Insert(version)
		}
	}
	switch found := sets.List(versions); len(found) {
	case 0:
		return "", fmt.Errorf("no pod on node %s is known to run kube-proxy", node)
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("the pods on node %s run several versions of kube-proxy: %s", node, strings.Join(found, ", "))
	}
}

// proxyImages returns the images of kube-proxy in a pod on the host network, and whether all of them are running.
func proxyImages(pod *corev1.Pod) (images []string, running bool) {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if ended || !pod.Spec.HostNetwork {
		return nil, true
	}
	running = true
	for _, c := range pod.Spec.Containers {
		if !slices.Contains(imageNames(), repositoryOf(c.Image)) {
			continue
		}
		images = append(images, c.Image)
		// A container that waits for its image may have run another one before.
		running = running && slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.Name == c.Name && s.State.Running != nil
		})
	}
	return images, running
}

// imageNames returns the names of published images of kube-proxy for Windows. The tag of any other image, such as a
// helper next to kube-proxy, may be the version of something else.
func imageNames() []string { return []string{"kube-proxy", "kube-proxy-windows", "windows-kube-proxy"} }

// repositoryOf returns the last part of an image's name, without its tag and digest.
func repositoryOf(image string) string {
	name, _, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// tagOf returns the tag of an image, or an empty string.
func tagOf(image string) string {
	name, _, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], "@")
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Pod is the DaemonSet's pod on a node, with the additions of a kubelet and a container runtime.
type Pod struct {
	Spec            corev1.PodSpec
	Node, Namespace string
	// Objects are the rendered objects.
	Objects Objects
	// Token and CA are the account's token and the API server's certificate.
	Token, CA []byte
	// Secrets are the Secrets that the pod mounts, by name and key.
	Secrets map[string]map[string][]byte
	// Host and Port are the address of the Service kubernetes.
	Host, Port string
}

// rootVariable is the variable with the container's root.
const rootVariable = "CONTAINER_SANDBOX_MOUNT_POINT"

// Mount makes the folder the root of a container: the container's mounts are only below it, as with containerd 1.6.
func (p Pod) Mount(root string, c corev1.Container) error {
	for _, mount := range c.VolumeMounts {
		at := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if at < 0 {
			return fmt.Errorf("container %s mounts %s, which is no volume of the pod", c.Name, mount.Name)
		}
		files, err := p.files(p.Spec.Volumes[at].VolumeSource)
		if err != nil {
			return fmt.Errorf("making volume %s: %w", mount.Name, err)
		}
		dir := filepath.Join(root, mount.MountPath)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// files returns the files of a volume.
func (p Pod) files(v corev1.VolumeSource) (map[string][]byte, error) {
	switch {
	case v.ConfigMap != nil:
		return p.configMap(v.ConfigMap.Name)
	case v.Secret != nil:
		if files, has := p.Secrets[v.Secret.SecretName]; has {
			return files, nil
		}
		return nil, fmt.Errorf("there is no Secret %q", v.Secret.SecretName)
	case v.EmptyDir != nil:
		return nil, nil
	case v.Projected != nil:
		return p.projected(v.Projected)
	default:
		return nil, fmt.Errorf("what is a volume from %v?", v)
	}
}

func (p Pod) configMap(name string) (map[string][]byte, error) {
	for _, u := range p.Objects.Of("ConfigMap") {
		if u.GetName() != name {
			continue
		}
		data, _, err := unstructured.NestedStringMap(u.Object, "data")
		files := map[string][]byte{}
		for key, text := range data {
			files[key] = []byte(text)
		}
		return files, err
	}
	return nil, fmt.Errorf("there is no ConfigMap %q", name)
}

func (p Pod) projected(v *corev1.ProjectedVolumeSource) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, s := range v.Sources {
		switch {
		case s.ServiceAccountToken != nil:
			files[s.ServiceAccountToken.Path] = p.Token
		case s.ConfigMap != nil && s.ConfigMap.Name == "kube-root-ca.crt":
			for _, item := range s.ConfigMap.Items {
				files[item.Path] = p.CA // there is one key
			}
		case s.DownwardAPI != nil:
			for _, item := range s.DownwardAPI.Items {
				value, err := p.field(item.FieldRef)
				if err != nil {
					return nil, err
				}
				files[item.Path] = []byte(value)
			}
		default:
			return nil, fmt.Errorf("what is projected from %v?", s)
		}
	}
	return files, nil
}

func (p Pod) field(ref *corev1.ObjectFieldSelector) (string, error) {
	switch ref.FieldPath {
	case "spec.nodeName":
		return p.Node, nil
	case "metadata.namespace":
		return p.Namespace, nil
	default:
		return "", fmt.Errorf("what is the pod's field %s?", ref.FieldPath)
	}
}

// Env returns the environment of a container, whose root is in the container's own notation.
func (p Pod) Env(root string, c corev1.Container) (map[string]string, error) {
	env := map[string]string{
		rootVariable: root, "KUBERNETES_SERVICE_HOST": p.Host, "KUBERNETES_SERVICE_PORT": p.Port,
	}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef == nil || from.ConfigMapRef.Optional == nil || !*from.ConfigMapRef.Optional {
			return nil, fmt.Errorf("what is the environment from %v?", from)
		}
	}
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if e.ValueFrom == nil {
			continue
		}
		var err error
		switch {
		case e.ValueFrom.FieldRef != nil:
			env[e.Name], err = p.field(e.ValueFrom.FieldRef)
		case e.ValueFrom.ResourceFieldRef != nil && e.ValueFrom.ResourceFieldRef.Resource == "limits.memory":
			env[e.Name] = strconv.FormatInt(c.Resources.Limits.Memory().Value(), 10)
		default:
			err = fmt.Errorf("what is its value from %v?", e.ValueFrom)
		}
		if err != nil {
			return nil, fmt.Errorf("setting $%s: %w", e.Name, err)
		}
	}
	return env, nil
}

// Expand expands the words of a command like the runtime.
func Expand(root string, words []string) []string {
	expanded := make([]string, len(words))
	for i, word := range words {
		expanded[i] = strings.ReplaceAll(word, "%"+rootVariable+"%", strings.TrimSuffix(root, `\`))
	}
	return expanded
}

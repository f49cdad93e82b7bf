// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/version"
)

// BundleKind is the kind of a manifest, whose API version is that of the configuration.
const BundleKind = "Bundle"

// Bundle is what a bundle says of its node.
type Bundle struct {
	Manifest Manifest
	Config   config.Config
	HNS      HNS
	Cluster  Cluster
	// HNSErr and ClusterErr are why some of it could not be recorded. They are known on the node only.
	HNSErr, ClusterErr error
	// Status is the status document of the agent. If it was not recorded, StatusErr says why: no verdict depends on it.
	Status    []byte
	StatusErr error
}

// Manifest says what is in a bundle. Fields may be added, but do not change.
type Manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Node is the name of the node.
	Node string `json:"node"`
	// Recorded is when, on the clock of the node.
	Recorded time.Time `json:"recorded"`
	// Program is what recorded it.
	Program version.Info `json:"program"`
	// KubeProxyVersion is empty if it is unknown.
	KubeProxyVersion string `json:"kubeProxyVersion,omitempty"`
	// Files are all files that a bundle has, whether they could be recorded or not.
	Files []File `json:"files"`
}

// File is one file of a bundle.
type File struct {
	Name  string `json:"name"`
	About string `json:"about"`
	// Bytes is its size, unpacked.
	Bytes int `json:"bytes,omitempty"`
	// Error is why it is missing.
	Error string `json:"error,omitempty"`
}

// Failed returns the files that are missing.
func (m Manifest) Failed() []File {
	var failed []File
	for _, f := range m.Files {
		if f.Error != "" {
			failed = append(failed, f)
		}
	}
	return failed
}

// NeededMissing returns the names of the missing files without which no endpoint can be judged.
func (m Manifest) NeededMissing() []string {
	var names []string
	for _, name := range []string{fileEndpoints, filePods, fileSlices} {
		if m.reason(name) != "" {
			names = append(names, name)
		}
	}
	return names
}

// reason returns why a file is missing, or an empty string.
func (m Manifest) reason(name string) string {
	for _, f := range m.Files {
		if f.Name == name {
			return f.Error
		}
	}
	return ""
}

// The files of a bundle. Those with exported names are made elsewhere.
const (
	fileManifest  = "manifest.json"
	FileConfig    = "config.yaml"
	fileEndpoints = "hns/endpoints.json"
	fileBalancers = "hns/loadbalancers.json"
	fileNetworks  = "hns/networks.json"
	fileNodes     = "cluster/nodes.json"
	filePods      = "cluster/pods.json"
	fileSlices    = "cluster/endpointslices.json"
	fileServices  = "cluster/services.json"
	FileScan      = "scan.json"
	FileDoctor    = "doctor.json"
	FileStatus    = "agent/status.json"
	FileMetrics   = "agent/metrics.txt"
)

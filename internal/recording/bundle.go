// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"errors"
	"fmt"
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/version"
)

// BundleKind is the kind of a manifest, whose API version is that of the configuration.
const BundleKind = "Bundle"

// Bundle is the recording of a node in one file.
type Bundle struct {
	Manifest Manifest
	Config   config.Config
	HNS      HNS
	Cluster  Cluster
	// HNSErr and ClusterErr are why some of it could not be recorded. They are known on the node only.
	HNSErr, ClusterErr error
	// Status is the report of the agent. If it was not recorded, StatusErr says why: no verdict depends on it.
	Status    []byte
	StatusErr error
	// ProxyLog is kube-proxy's log, if it was given.
	ProxyLog []File
}

// Manifest lists the content of a bundle. Fields may be added, but do not change.
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
	Files []Part `json:"files"`
}

// Part is one file of a bundle.
type Part struct {
	Name string `json:"name"`
	// Data is its content, which the manifest does not repeat.
	Data []byte `json:"-"`
	// Error is why it is missing.
	Error string `json:"error,omitempty"`
}

// NewPart returns a file that has the data, or is missing for the error.
func NewPart(name string, data []byte, err error) Part {
	if err != nil {
		return Part{Name: name, Error: err.Error()}
	}
	return Part{Name: name, Data: data}
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
	FileProxyLog  = "kube-proxy/kube-proxy.log"
)

// Failed returns the files that are missing.
func (m Manifest) Failed() []Part {
	var failed []Part
	for _, f := range m.Files {
		if f.Error != "" {
			failed = append(failed, f)
		}
	}
	return failed
}

// notRecorded is an error that says why a file is missing.
func (m Manifest) notRecorded(name string) error {
	for _, f := range m.Files {
		if f.Name == name {
			return fmt.Errorf("%s was not recorded: %s", name, f.Error)
		}
	}
	return fmt.Errorf("%s was not recorded", name)
}

// Missing says why what a verdict depends on was not recorded, or returns nil.
func (b Bundle) Missing() error {
	var errs []error
	for _, f := range []struct {
		name     string
		recorded bool
	}{
		{fileEndpoints, b.HNS.EndpointsRecorded}, {filePods, b.Cluster.PodsRecorded}, {fileSlices, b.Cluster.SlicesRecorded},
	} {
		if !f.recorded {
			errs = append(errs, b.Manifest.notRecorded(f.name))
		}
	}
	return errors.Join(errs...)
}

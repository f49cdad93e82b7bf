// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/hnsguard/hnsguard/internal/config"
)

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

// The limits of what is read (invariant 10).
const (
	maxFiles    = 100
	maxUnpacked = MaxSize
)

// ReadBundle reads a bundle. Errors refer to it by the given name. A file that could not be recorded is no error: the dumps
// say what they have.
func ReadBundle(name string, data []byte) (Bundle, error) {
	return readBundle(name, data, maxUnpacked)
}

func readBundle(name string, data []byte, limit int64) (Bundle, error) {
	b, err := func() (Bundle, error) {
		u, err := openBundle(data, limit)
		if err != nil {
			return Bundle{}, err
		}
		return u.bundle(name)
	}()
	if err != nil {
		return Bundle{}, fmt.Errorf("reading bundle %s: %w", name, err)
	}
	return b, nil
}

// unpacker reads files of a bundle, which may have been made to harm the reader.
type unpacker struct {
	files map[string]*zip.File
	// left is how much may still be unpacked.
	left int64
}

func openBundle(data []byte, limit int64) (*unpacker, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("this is no zip file, or it is cut off; Windows PowerShell destroys it if it is written "+
			"with >: %w", err)
	}
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("it has %d files, and a bundle has at most %d", len(z.File), maxFiles)
	}
	u := &unpacker{files: map[string]*zip.File{}, left: limit}
	for _, f := range z.File {
		if !filepath.IsLocal(f.Name) || strings.ContainsAny(f.Name, `\:`) {
			return nil, fmt.Errorf("the file %.100q has a name that no bundle has", f.Name)
		}
		if u.files[f.Name] != nil {
			return nil, fmt.Errorf("the file %.100q occurs twice", f.Name)
		}
		u.files[f.Name] = f
	}
	return u, nil
}

// unpack returns the content of a file, and whether the bundle has it. The size in its header is not believed.
func (u *unpacker) unpack(name string) ([]byte, bool, error) {
	f, has := u.files[name]
	if !has {
		return nil, false, nil
	}
	in, err := f.Open()
	if err != nil {
		return nil, true, fmt.Errorf("unpacking %s: %w", name, err)
	}
	defer in.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(in, u.left+1))
	if err != nil {
		return nil, true, fmt.Errorf("unpacking %s: %w", name, err)
	}
	if u.left -= int64(len(data)); u.left < 0 {
		return nil, true, fmt.Errorf("unpacking %s: %w", name, ErrTooLarge)
	}
	return data, true, nil
}

func (u *unpacker) bundle(name string) (Bundle, error) {
	b := Bundle{Config: config.Default()}
	var errs []error
	if err := u.manifest(&b.Manifest); err != nil {
		return Bundle{}, err
	}
	if data, has, err := u.unpack(FileConfig); err != nil {
		errs = append(errs, err)
	} else if has {
		b.Config, err = config.Decode(name+"/"+FileConfig, data)
		errs = append(errs, err)
	}
	var errHNS, errCluster error
	b.HNS, errHNS = u.hns(name)
	b.Cluster, errCluster = u.cluster(name)
	b.Status, b.StatusErr = u.status(b.Manifest)
	if err := errors.Join(append(errs, errHNS, errCluster)...); err != nil {
		return Bundle{}, err
	}
	return b, nil
}

func (u *unpacker) manifest(into *Manifest) error {
	data, has, err := u.unpack(fileManifest)
	if err != nil {
		return err
	}
	if !has {
		return fmt.Errorf("it has no %s, and so is not a bundle of hnsguard", fileManifest)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", fileManifest, err)
	}
	if into.APIVersion != bundleAPIVersion || into.Kind != BundleKind {
		return fmt.Errorf("%s is of kind %.100q %.100q: want %q %q",
			fileManifest, into.APIVersion, into.Kind, bundleAPIVersion, BundleKind)
	}
	return nil
}

// status reads what the agent served.
func (u *unpacker) status(m Manifest) ([]byte, error) {
	data, has, err := u.unpack(FileStatus)
	if err == nil && !has {
		err = fmt.Errorf("%s was not recorded: %s", FileStatus, m.reason(FileStatus))
	}
	return data, err
}

// hns reads what was recorded of HNS. An empty list says what there is none of by the name of its file.
func (u *unpacker) hns(name string) (HNS, error) {
	var dumps []HNS
	var errs []error
	for _, file := range []string{fileEndpoints, fileBalancers, fileNetworks} {
		data, has, err := u.unpack(file)
		if err != nil || !has {
			errs = append(errs, err)
			continue
		}
		dump := HNS{EndpointsRecorded: file == fileEndpoints, LoadBalancersRecorded: file == fileBalancers}
		if string(bytes.TrimSpace(data)) != "[]" {
			dump, err = ReadHNS(name+"/"+file, data)
		}
		dumps, errs = append(dumps, dump), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return HNS{}, err
	}
	return MergeHNS(dumps...)
}

func (u *unpacker) cluster(name string) (Cluster, error) {
	var dumps []Cluster
	var errs []error
	for _, file := range []string{fileNodes, filePods, fileSlices, fileServices} {
		data, has, err := u.unpack(file)
		if err != nil || !has {
			errs = append(errs, err)
			continue
		}
		dump, err := ReadCluster(name+"/"+file, data)
		dumps, errs = append(dumps, dump), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return Cluster{}, err
	}
	return MergeCluster(dumps...)
}

// Missing says why what a verdict depends on was not recorded, or returns nil.
func (b Bundle) Missing() error {
	recorded := map[string]bool{
		fileEndpoints: b.HNS.EndpointsRecorded, filePods: b.Cluster.PodsRecorded, fileSlices: b.Cluster.SlicesRecorded,
	}
	var errs []error
	for _, name := range needed() {
		if !recorded[name] {
			errs = append(errs, fmt.Errorf("%s was not recorded: %s", name, b.Manifest.reason(name)))
		}
	}
	return errors.Join(errs...)
}

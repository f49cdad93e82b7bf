// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/hnsguard/hnsguard/internal/config"
)

// maxFiles is how many files a bundle may have.
const maxFiles = 100

// ReadBundle reads a bundle. Errors refer to it by the given name. A file that could not be recorded is no error: what
// was read of HNS and of the cluster says what it has.
func ReadBundle(name string, data []byte) (Bundle, error) {
	return readBundle(name, data, memoryFor(len(data)))
}

// readBundle reads a bundle whose files hold no more than a number of bytes, and of which no more is kept.
func readBundle(name string, data []byte, limit int) (Bundle, error) {
	u, err := openBundle(name, data, limit)
	if err != nil {
		return Bundle{}, fmt.Errorf("reading bundle %s: %w", name, err)
	}
	b, err := u.readBundle()
	if err != nil {
		return Bundle{}, fmt.Errorf("reading bundle %s: %w", name, err)
	}
	return b, nil
}

func (u *unpacker) readBundle() (Bundle, error) {
	b := Bundle{Config: config.Default()}
	if err := u.readManifest(&b.Manifest); err != nil {
		return Bundle{}, err
	}
	var errs [3]error
	if content, has := u.unpack(FileConfig); has {
		b.Config, errs[0] = config.Decode(u.name+"/"+FileConfig, content)
	}
	b.HNS, errs[1] = u.readHNS()
	b.Cluster, errs[2] = u.readCluster()
	content, has := u.unpack(FileStatus)
	if b.Status = content; !has {
		b.StatusErr = fmt.Errorf("%s was not recorded: %s", FileStatus, b.Manifest.reason(FileStatus))
	}
	return b, errors.Join(append(errs[:], u.err)...)
}

// unpacker reads files of a bundle, which may have been made to harm the reader.
type unpacker struct {
	name  string
	files map[string]*zip.File
	// left is how much may still be unpacked, and memory how much may still be kept of it.
	left   int64
	memory int
	// err is why a file could not be unpacked.
	err error
}

func openBundle(name string, data []byte, limit int) (*unpacker, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("this is no zip file, or it is cut off; Windows PowerShell destroys it if it is written "+
			"with >: %w", err)
	}
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("it has %d files, and a bundle has at most %d", len(z.File), maxFiles)
	}
	u := &unpacker{name: name, files: map[string]*zip.File{}, left: int64(limit), memory: limit}
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

// unpack returns the content of a file, and whether the bundle has it. The size in its header is a hint.
func (u *unpacker) unpack(name string) ([]byte, bool) {
	f, has := u.files[name]
	if !has || u.err != nil {
		return nil, has
	}
	in, err := f.Open()
	if err == nil {
		defer in.Close() //nolint:errcheck // it was only read
		var data []byte
		if data, err = readUpTo(in, int64(min(f.UncompressedSize64, MaxSize)), u.left); err == nil {
			u.left -= int64(len(data))
			return data, true
		}
	}
	u.err = fmt.Errorf("unpacking %s: %w", name, err)
	return nil, true
}

func (u *unpacker) readManifest(into *Manifest) error {
	data, has := u.unpack(fileManifest)
	switch {
	case u.err != nil:
		return u.err
	case !has:
		return fmt.Errorf("it has no %s, and so is not a bundle of hnsguard", fileManifest)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", fileManifest, err)
	}
	if into.APIVersion != config.APIVersion || into.Kind != BundleKind {
		return fmt.Errorf("%s is of kind %.100q %.100q: want %q %q",
			fileManifest, into.APIVersion, into.Kind, config.APIVersion, BundleKind)
	}
	return nil
}

// readHNS reads what was recorded of HNS. An empty list says what there is none of by the name of its file.
func (u *unpacker) readHNS() (HNS, error) {
	read := func(name string, data []byte, memory *int) (HNS, error) {
		if string(bytes.TrimSpace(data)) == "[]" {
			return HNS{
				EndpointsRecorded:     strings.HasSuffix(name, fileEndpoints),
				LoadBalancersRecorded: strings.HasSuffix(name, fileBalancers),
			}, nil
		}
		return readHNS(name, data, memory)
	}
	return readFiles(u, read, MergeHNS, fileEndpoints, fileBalancers, fileNetworks)
}

func (u *unpacker) readCluster() (Cluster, error) {
	return readFiles(u, readCluster, MergeCluster, fileNodes, filePods, fileSlices, fileServices)
}

// readFiles reads and merges those of the named files that a bundle has.
func readFiles[T any](u *unpacker, read func(string, []byte, *int) (T, error), merge func(...T) (T, error),
	names ...string,
) (T, error) {
	var all []T
	var errs []error
	for _, name := range names {
		if data, has := u.unpack(name); has && u.err == nil {
			one, err := read(u.name+"/"+name, data, &u.memory)
			all, errs = append(all, one), append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		var none T
		return none, err
	}
	return merge(all...)
}

// Missing says why what a verdict depends on was not recorded, or returns nil.
func (b Bundle) Missing() error {
	recorded := map[string]bool{
		fileEndpoints: b.HNS.EndpointsRecorded, filePods: b.Cluster.PodsRecorded, fileSlices: b.Cluster.SlicesRecorded,
	}
	var errs []error
	for _, name := range []string{fileEndpoints, filePods, fileSlices} {
		if !recorded[name] {
			errs = append(errs, fmt.Errorf("%s was not recorded: %s", name, b.Manifest.reason(name)))
		}
	}
	return errors.Join(errs...)
}

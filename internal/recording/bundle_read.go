// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hnsguard/hnsguard/internal/config"
)

// maxFiles is how many files a bundle may have.
const maxFiles = 100

// ReadBundle reads a bundle. A file that could not be recorded is no error: what was read of HNS and of the cluster
// says what it has.
func ReadBundle(f File) (Bundle, error) { return readBundle(f, budgetFor(f).memory) }

// readBundle reads a bundle whose files hold no more than a number of bytes, and of which no more is kept.
func readBundle(f File, limit int) (Bundle, error) {
	b := Bundle{Config: config.Default()}
	u, err := openBundle(f, limit)
	if err == nil {
		err = u.readManifest(&b.Manifest)
	}
	if err == nil {
		err = u.readParts(&b)
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("reading bundle %s: %w", f.Name, err)
	}
	return b, nil
}

func (u *unpacker) readParts(b *Bundle) error {
	var errConfig error
	for _, f := range u.unpack(FileConfig) {
		b.Config, errConfig = config.Decode(f.Name, f.Data)
	}
	kept := budgetFor()
	kept.memory = int(u.left)
	b.HNS = kept.readHNS(u.unpack(fileEndpoints, fileBalancers, fileNetworks)...)
	// An empty list is one of nothing because of the name of its file.
	b.HNS.EndpointsRecorded, b.HNS.LoadBalancersRecorded = u.files[fileEndpoints] != nil, u.files[fileBalancers] != nil
	b.HNS.Whole = true
	b.Cluster = kept.readCluster(u.unpack(fileNodes, filePods, fileSlices, fileServices)...)
	b.Cluster.Whole = true
	b.StatusErr = b.Manifest.notRecorded(FileStatus)
	for _, f := range u.unpack(FileStatus) {
		b.Status, b.StatusErr = f.Data, nil
	}
	b.ProxyLog = u.unpack(FileProxyLog)
	return errors.Join(errConfig, kept.err(""), u.err)
}

// unpacker reads files of a bundle, which may have been made to harm the reader.
type unpacker struct {
	name  string
	files map[string]*zip.File
	// left is how much may still be unpacked.
	left int64
	// err is why a file could not be unpacked.
	err error
}

func openBundle(f File, limit int) (*unpacker, error) {
	z, err := openZip(f, maxFiles)
	if err != nil {
		return nil, err
	}
	u := &unpacker{name: f.Name, files: map[string]*zip.File{}, left: int64(limit)}
	for _, file := range z.File {
		if u.files[file.Name] != nil {
			return nil, fmt.Errorf("the file %.100q occurs twice", file.Name)
		}
		u.files[file.Name] = file
	}
	return u, nil
}

// unpack returns those of the named files that the bundle has.
func (u *unpacker) unpack(names ...string) []File {
	var unpacked []File
	for _, name := range names {
		if u.files[name] == nil || u.err != nil {
			continue
		}
		data, err := readZipped(u.files[name], u.left)
		if err != nil {
			u.err = fmt.Errorf("unpacking %s: %w", name, err)
			return nil
		}
		u.left -= int64(len(data))
		unpacked = append(unpacked, File{u.name + "/" + name, data})
	}
	return unpacked
}

func readZipped(f *zip.File, limit int64) ([]byte, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // it was only read
	return readUpTo(in, int64(min(f.UncompressedSize64, MaxSize)), limit)
}

func (u *unpacker) readManifest(into *Manifest) error {
	files := u.unpack(fileManifest)
	switch {
	case u.err != nil:
		return u.err
	case len(files) == 0:
		return fmt.Errorf("it has no %s, and so is not a bundle of hnsguard; what a "+
			"collector has recorded is read with --recording", fileManifest)
	}
	if err := json.Unmarshal(files[0].Data, into); err != nil {
		return fmt.Errorf("reading %s: %w", fileManifest, err)
	}
	if into.APIVersion != config.APIVersion || into.Kind != BundleKind {
		return fmt.Errorf("%s is of kind %.100q %.100q: want %q %q",
			fileManifest, into.APIVersion, into.Kind, config.APIVersion, BundleKind)
	}
	return nil
}

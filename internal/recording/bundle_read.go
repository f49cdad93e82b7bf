// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/hnsguard/hnsguard/internal/config"
)

const (
	// maxFiles is how many files a bundle may have.
	maxFiles = 100
	// maxSmall is how large its manifest and its configuration may be. Decoding them takes a hundred times as much.
	maxSmall = 256 << 10
)

// ReadBundle reads a bundle. A file that could not be recorded is no error: what was read of HNS and of the cluster
// says what it has.
func ReadBundle(f File) (Bundle, error) { return readBundle(f, budgetFor(f).memory) }

// readBundle reads a bundle whose files hold no more than a number of bytes, and of which no more is kept.
func readBundle(f File, limit int) (Bundle, error) {
	files, err := openZip(f, maxFiles)
	if err == nil {
		var b Bundle
		if b, err = (&unpacker{folder: folder{files, f.Name, int64(limit)}}).bundle(); err == nil {
			return b, nil
		}
	}
	return Bundle{}, fmt.Errorf("reading bundle %s: %w", f.Name, err)
}

// unpacker reads files of a bundle.
type unpacker struct {
	folder
	// errs are why files could not be unpacked.
	errs []error
}

func (u *unpacker) bundle() (Bundle, error) {
	b := Bundle{Config: config.Default()}
	if err := u.readManifest(&b.Manifest); err != nil {
		return b, err
	}
	var errConfig error
	for _, f := range u.unpackUpTo(maxSmall, FileConfig) {
		b.Config, errConfig = config.Decode(f.Name, f.Data)
	}
	endpoints, balancers, networks := u.unpack(fileEndpoints), u.unpack(fileBalancers), u.unpack(fileNetworks)
	cluster := u.unpack(fileNodes, filePods, fileSlices, fileServices)
	kept := budgetFor()
	kept.memory = int(u.left)
	b.HNS = kept.readHNS(slices.Concat(endpoints, balancers, networks)...)
	// An empty list is one of nothing because of the name of its file.
	b.HNS.EndpointsRecorded, b.HNS.LoadBalancersRecorded = len(endpoints) > 0, len(balancers) > 0
	b.HNS.Whole = true
	b.Cluster = kept.readCluster(cluster...)
	b.Cluster.Whole = true
	b.StatusErr = b.Manifest.notRecorded(FileStatus)
	for _, f := range u.unpack(FileStatus) {
		b.Status, b.StatusErr = f.Data, nil
	}
	b.ProxyLog = u.unpack(FileProxyLog)
	return b, errors.Join(errConfig, kept.err(""), errors.Join(u.errs...))
}

// unpack returns those of the named files that the bundle has.
func (u *unpacker) unpack(names ...string) []File { return u.unpackUpTo(MaxSize, names...) }

func (u *unpacker) unpackUpTo(limit int64, names ...string) (unpacked []File) {
	for _, name := range names {
		f, err := u.read(name, limit)
		switch {
		case err == nil:
			unpacked = append(unpacked, f)
		case !errors.Is(err, fs.ErrNotExist):
			u.errs = append(u.errs, fmt.Errorf("unpacking %w", err))
		}
	}
	return unpacked
}

func (u *unpacker) readManifest(into *Manifest) error {
	f, err := u.read(fileManifest, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has no %s, and so is not a bundle of hnsguard; what a "+
			"collector has recorded is read with --recording", fileManifest)
	}
	if err == nil {
		err = json.Unmarshal(f.Data, into)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", fileManifest, err)
	}
	if into.APIVersion != config.APIVersion || into.Kind != BundleKind {
		return fmt.Errorf("%s is of kind %.100q %.100q: want %q %q",
			fileManifest, into.APIVersion, into.Kind, config.APIVersion, BundleKind)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

// Package tempdir provides temporary folders for tests that also run under Wine. [testing.T.TempDir] fails there when
// it deletes the folder: it uses FileDispositionInformationEx, which Wine 8 does not support. Deleting by name works.
package tempdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// New creates an empty folder, and deletes it with its contents when the test ends. The test may delete it earlier.
func New(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hnsguard-test-*") //nolint:usetesting // see the package
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var paths []string
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			paths = append(paths, path)
			return err
		})
		if errors.Is(err, fs.ErrNotExist) { // the test has deleted it
			return
		}
		if err != nil {
			t.Error(err)
		}
		for _, path := range slices.Backward(paths) {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
	})
	return dir
}

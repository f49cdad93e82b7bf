// SPDX-License-Identifier: Apache-2.0

// Package tempdir gives tests a folder that is gone when they end. [testing.T.TempDir] does too, but under Wine 8 it
// cannot delete the folder: it deletes by FileDispositionInformationEx, which that Wine does not have. Deleting by
// name works.
package tempdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// New makes an empty folder. It and all that is in it by then is deleted when the test ends, by the test
// itself or else for it.
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
		if errors.Is(err, fs.ErrNotExist) { // the test was first
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

// SPDX-License-Identifier: Apache-2.0

package page

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// SumFile is next to the pictures, and has their [Sum].
const SumFile = "node-page.sha256"

// Sum returns the checksum of the files that the pictures show: those of the page, and the story.
func Sum(root string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, "internal/server/assets/*"))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, file := range append(slices.Sorted(slices.Values(files)), filepath.Join(root, "test/page/story_test.go")) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading what the pictures show: %w", err)
		}
		hash.Write(content)
	}
	return fmt.Sprintf("%x\n", hash.Sum(nil)), nil
}

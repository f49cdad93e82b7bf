// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxSize is the largest file that scan reads.
const MaxSize = 256 << 20

// Stdin is the name that stands for stdin.
const Stdin = "-"

// ErrTooLarge says that a file is larger than the limit.
var ErrTooLarge = errors.New("file too large")

// Load reads the named file, or stdin for [Stdin], if it is no larger than limit bytes.
func Load(name string, stdin io.Reader, limit int64) ([]byte, error) {
	if name == Stdin {
		if stdin == nil {
			return nil, errors.New("reading dump: there is no stdin")
		}
		return load("stdin", stdin, 0, limit)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading dump: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading dump: %w", err)
	}
	return load(name, file, info.Size(), limit)
}

// load reads all of r. The size is the expected one: that of a pipe is 0, and a file may grow while it is read.
func load(name string, r io.Reader, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, tooLarge(name, fmt.Sprintf("%d MiB", size>>20), limit)
	}
	var data bytes.Buffer
	data.Grow(int(size) + bytes.MinRead)
	read, err := data.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading dump %s: %w", name, err)
	}
	if read > limit {
		return nil, tooLarge(name, "more", limit)
	}
	return data.Bytes(), nil
}

func tooLarge(name, size string, limit int64) error {
	return fmt.Errorf("reading dump %s: %w: at most %d MiB are read, and it holds %s; of a large cluster, record the "+
		"Pods of the node only (kubectl get pods -A --field-selector spec.nodeName=NODE -o json) and the other kinds in "+
		"another file",
		name, ErrTooLarge, limit>>20, size)
}

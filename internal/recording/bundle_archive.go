// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// archive is the zip in the making.
type archive struct {
	zip      *zip.Writer
	manifest Manifest
	// progress is told what is done next.
	progress func(about string)
	// timeout limits how long it takes to make one file.
	timeout time.Duration
	// err is the first failure to write. After it nothing is written any more.
	err error
}

func newArchive(w io.Writer, m Manifest, progress func(string), timeout time.Duration) *archive {
	m.APIVersion, m.Kind = bundleAPIVersion, BundleKind
	return &archive{zip: zip.NewWriter(w), manifest: m, progress: progress, timeout: timeout}
}

// add makes a file and writes it, or records why it cannot be made (invariant 8).
func (a *archive) add(ctx context.Context, name, about string, content func(context.Context) ([]byte, error)) {
	a.progress(about)
	data, err := within(ctx, a.timeout, content)
	a.put(name, about, data, err)
}

// put writes a file that was made, or records why it was not.
func (a *archive) put(name, about string, data []byte, err error) {
	f := File{Name: name, About: about, Bytes: len(data)}
	if err != nil {
		f.Bytes, f.Error = 0, err.Error()
	} else {
		a.write(name, data)
	}
	a.manifest.Files = append(a.manifest.Files, f)
}

func (a *archive) write(name string, data []byte) {
	if a.err != nil {
		return
	}
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: a.manifest.Recorded}
	into, err := a.zip.CreateHeader(header)
	if err == nil {
		_, err = into.Write(data)
	}
	if err != nil {
		a.err = fmt.Errorf("writing the bundle: %w", err)
	}
}

// close writes the manifest and ends the zip.
func (a *archive) close() (Manifest, error) {
	data, err := json.MarshalIndent(a.manifest, "", "  ")
	if err != nil {
		return Manifest{}, fmt.Errorf("writing the manifest of the bundle: %w", err)
	}
	a.write(fileManifest, append(data, '\n'))
	if a.err != nil {
		return Manifest{}, a.err
	}
	if err := a.zip.Close(); err != nil {
		return Manifest{}, fmt.Errorf("writing the bundle: %w", err)
	}
	return a.manifest, nil
}

// within runs a function, and gives it up when its time is over: calls to HNS can hang for ever.
func within[T any](ctx context.Context, timeout time.Duration, run func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		value, err := run(ctx)
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("it did not finish within %s: %w", timeout, ctx.Err())
	}
}

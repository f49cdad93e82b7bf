// SPDX-License-Identifier: Apache-2.0

package winkernel

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hnsguard/hnsguard/test/winkernel/wire"
)

// environment is the variable with the paths of programs that build.sh has built, separated by colons.
const environment = "HNSGUARD_WINKERNEL"

// Programs returns the programs to use, by their versions of kube-proxy.
func Programs() map[string]string {
	programs := map[string]string{}
	for _, path := range filepath.SplitList(os.Getenv(environment)) {
		programs[filepath.Base(filepath.Dir(path))] = path
	}
	return programs
}

// Program is a process that runs the code of one version of kube-proxy, one instance at a time.
type Program struct {
	process  *exec.Cmd
	in       io.WriteCloser
	requests *json.Encoder
	messages *json.Decoder
}

// Start starts one of [Programs].
func Start(ctx context.Context, path string) (*Program, error) {
	process := exec.CommandContext(ctx, path)
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return &Program{
		process: process, in: in, requests: json.NewEncoder(in), messages: json.NewDecoder(bufio.NewReader(out)),
	}, nil
}

// Do sends a request and waits for the answer.
func (p *Program) Do(r wire.Request) (wire.Message, error) {
	if err := p.requests.Encode(r); err != nil {
		return wire.Message{}, fmt.Errorf("asking %s to %s: %w", p.process.Path, r.Kind, err)
	}
	var m wire.Message
	if err := p.messages.Decode(&m); err != nil {
		return wire.Message{}, fmt.Errorf("waiting for %s to answer %q: %w (it says why, above)", p.process.Path, r.Kind, err)
	}
	if m.Failed != "" {
		return m, fmt.Errorf("%s cannot %s: %s", p.process.Path, r.Kind, m.Failed)
	}
	return m, nil
}

// Close ends the process.
func (p *Program) Close() error {
	_ = p.in.Close() // it ends when it has read everything
	if err := p.process.Wait(); err != nil {
		return fmt.Errorf("ending %s: %w", p.process.Path, err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Collected is what a folder or a zip file has of what is read: that of a collector, such as collectlogs.ps1 of
// Microsoft, or of a person. Names choose files, and their content says what they are.
type Collected struct {
	HNS, Cluster, ProxyLogs []File
	// Bundle is the file, if it is a bundle. The rest is then empty.
	Bundle *File
	// Note says which files are read, and which not.
	Note string

	folder
	// others are the names of files that are not read.
	others []string
}

// folder is a folder or a zip file that may have been made to harm its reader (invariant 10).
type folder struct {
	fs.FS
	name string
	// left is how much may still be read.
	left int64
}

// read reads a file that is no larger than a limit.
func (d *folder) read(name string, limit int64) (File, error) {
	in, err := d.Open(name)
	if err != nil {
		return File{}, err
	}
	defer in.Close() //nolint:errcheck // it was only read
	data, err := readUpTo(in, 0, min(limit, d.left))
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	d.left -= int64(len(data))
	_, unpacked := d.FS.(*zip.Reader)
	return File{d.name + "/" + name, data, unpacked}, nil
}

const (
	// maxCollected is how many files a folder or a zip file may have.
	maxCollected = 20_000
	// unpackedMost is how much is unpacked besides the size of a zip file (invariant 5).
	unpackedMost = 48 << 20
)

var (
	// collectedHNS matches the names of the files in which collectors put objects of HNS.
	collectedHNS = regexp.MustCompile(`(?i)^(?:get-)?(?:hns[-_]?)?(?:endpoints?|networks?|polic(?:y|ies)|policy-?lists?|` +
		`load-?balancers?|hnsdiag)(?:[-_][^.]*)?\.(?:txt|json|log)$`)
	// collectedCluster matches the names of what kubectl has printed.
	collectedCluster = regexp.MustCompile(
		`(?i)^(?:cluster|nodes?|pods?|endpointslices?|services?)(?:[-_][^.]*)?\.(?:txt|json|ya?ml)$`)
	// collectedProxyLog matches the names of logs of kube-proxy.
	collectedProxyLog = regexp.MustCompile(`(?i)^kube-?proxy[^.]*(?:\.err)?\.(?:log|txt)$`)
	// ofCluster matches a line that only objects of the cluster have.
	ofCluster = regexp.MustCompile(`(?m)^[ \t]*(?:- |\{[ \t]*)?"?apiVersion"?[ \t]*:`)
	jsonLine  = regexp.MustCompile(`(?m)` + jsonStart.String())
)

// Collect reads a folder or a zip file.
func Collect(name string) (Collected, error) {
	c := Collected{folder: folder{name: name, left: MaxSize}}
	if err := c.collect(); err != nil {
		return Collected{}, fmt.Errorf("reading recording %s: %w", name, err)
	}
	return c, nil
}

// collect reads what is in a folder or a zip file, unless it is a bundle.
func (c *Collected) collect() error {
	if info, err := os.Stat(c.name); err != nil || info.IsDir() {
		root, err := os.OpenRoot(c.name)
		if err != nil {
			return err
		}
		defer root.Close() //nolint:errcheck // it was only read
		c.FS = root.FS()
		return c.readAll()
	}
	f, err := Load(c.name, nil)
	if err != nil {
		return err
	}
	files, err := openZip(f, maxCollected)
	if err != nil {
		return err
	}
	if _, err := fs.Stat(files, fileManifest); err == nil {
		c.Bundle = &f
		return nil
	}
	c.FS, c.left = files, min(MaxSize, unpackedMost+int64(len(f.Data)))
	return c.readAll()
}

// openZip opens a zip file that has no more than a number of files.
func openZip(f File, limit int) (*zip.Reader, error) {
	// Each file has one such mark, and memory is needed for each before there is an error.
	if bytes.Count(f.Data, []byte("PK\x01\x02")) > limit {
		return nil, fmt.Errorf("it has more than %d files", limit)
	}
	z, err := zip.NewReader(bytes.NewReader(f.Data), int64(len(f.Data)))
	if err != nil {
		return nil, fmt.Errorf("this is not a zip file, or it is truncated; Windows PowerShell corrupts a file that is "+
			"written with >: %w", err)
	}
	names, folders := map[string]bool{}, 0
	for _, file := range z.File {
		file.Name = strings.ReplaceAll(file.Name, `\`, "/") // old Windows PowerShell writes backslashes
		if names[file.Name] {
			return nil, fmt.Errorf("the file %.100q occurs twice", file.Name)
		}
		names[file.Name] = true
		folders += strings.Count(file.Name, "/")
	}
	if folders > 10*limit { // the library keeps each of them
		return nil, fmt.Errorf("it has more than %d folders", 10*limit)
	}
	return z, nil
}

func (c *Collected) readAll() error {
	err := fs.WalkDir(c, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.Type().IsRegular():
			return err
		case len(c.others) == maxCollected:
			return fmt.Errorf("it has more than %d files", maxCollected)
		default:
			return c.add(name)
		}
	})
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: give an unpacked folder of what is needed", err)
	}
	if err != nil {
		return err
	}
	return c.finish()
}

// add reads a file if its name says so, and tells by its content what it is. What is no text is left to the readers, to
// be refused.
func (c *Collected) add(name string) error {
	base := path.Base(name)
	ofHNS, ofProxy := collectedHNS.MatchString(base), collectedProxyLog.MatchString(base)
	if !ofHNS && !ofProxy && !collectedCluster.MatchString(base) {
		c.others = append(c.others, name)
		return nil
	}
	f, err := c.read(name, MaxSize)
	if err != nil {
		return err
	}
	s, isText := budgetFor().open(f)
	switch {
	case ofProxy:
		c.ProxyLogs = append(c.ProxyLogs, f)
	case isText && ofCluster.Match(s.text):
		c.Cluster = append(c.Cluster, f)
	case ofHNS && (!isText || len(bytes.TrimSpace(s.text)) == 0 || jsonLine.Match(s.text)):
		c.HNS = append(c.HNS, f)
	default:
		c.others = slices.Insert(c.others, 0, name) // people expect them to be read
	}
	return nil
}

// finish chooses between files that repeat each other, and says what is read.
func (c *Collected) finish() error {
	base := func(f File) string { return strings.ToLower(path.Base(f.Name)) }
	hasEndpoints := slices.ContainsFunc(c.HNS, func(f File) bool { return strings.Contains(base(f), "endpoint") })
	c.HNS = slices.DeleteFunc(c.HNS, func(f File) bool {
		repeats := hasEndpoints && strings.Contains(base(f), "hnsdiag") // which ran at another moment
		if repeats {
			c.others = append(c.others, path.Base(f.Name))
		}
		return repeats
	})
	known := map[string]string{}
	for _, f := range c.HNS {
		if earlier := known[base(f)]; earlier != "" {
			return fmt.Errorf("it has HNS of several nodes or moments, as %s and %s: give the folder of one", earlier, f.Name)
		}
		known[base(f)] = f.Name
	}
	var read []string
	for _, f := range slices.Concat(c.HNS, c.Cluster, c.ProxyLogs) {
		read = append(read, strings.TrimPrefix(f.Name, c.name+"/"))
	}
	if len(read) == 0 {
		return errors.New("it has neither HNS (files such as endpoint.txt, policy.txt and network.txt, with JSON in them) " +
			"nor the cluster (cluster.json, or pods.yaml and the like)\n" + howToRecordHNS + "\n" + howToRecordCluster)
	}
	c.Note = fmt.Sprintf("of %s, these files are read: %s", c.name, strings.Join(read, ", "))
	const few = 8
	n := len(c.others)
	if n > 0 {
		c.Note += "; and these are not: " + strings.Join(c.others[:min(n, few)], ", ")
	}
	if n > few {
		c.Note += fmt.Sprintf(" and %d more", n-few)
	}
	return nil
}

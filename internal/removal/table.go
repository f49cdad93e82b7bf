// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// PodTable lists all pods as the API server prints them for kubectl: a row has a pod's first address, its node and its
// status in some 200 bytes; the whole pod has several thousand. The API server cannot select pods by several addresses,
// and the whole pods of a large cluster do not fit into the agent's memory. Rows are read one by one.
type PodTable struct {
	// Client is a client of the core group. Required.
	Client rest.Interface
}

// List lists the pods that have not ended.
func (t PodTable) List(ctx context.Context, options metav1.ListOptions, each func(cluster.Pod)) error {
	rows, err := t.Client.Get().Resource("pods").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		Param("includeObject", string(metav1.IncludeNone)).
		Param("fieldSelector", "status.phase!=Succeeded,status.phase!=Failed").
		Param("resourceVersion", options.ResourceVersion).
		Param("resourceVersionMatch", string(options.ResourceVersionMatch)).
		Stream(ctx)
	if err != nil {
		return fmt.Errorf("listing pods as a table: %w", err)
	}
	defer rows.Close() //nolint:errcheck // all was read, or an error says more
	if err := readTable(rows, each); err != nil {
		return fmt.Errorf("reading the table of pods: %w", err)
	}
	return nil
}

// readTable reads a [metav1.Table] without keeping it. A truncated table is an error.
func readTable(table io.Reader, each func(cluster.Pod)) error {
	decoder, columns, complete := json.NewDecoder(table), podColumns{}, false
	for {
		token, err := decoder.Token()
		switch token {
		case nil, json.Delim('{'): // with an error, there is no token
		case "columnDefinitions":
			err = decoder.Decode(&columns)
		case "rows":
			complete, err = true, columns.readRows(decoder, each)
		case json.Delim('}'):
			if !complete {
				return errors.New("it has no rows")
			}
			return nil
		default:
			err = decoder.Decode(&json.RawMessage{}) // other fields are ignored
		}
		if err != nil {
			return err
		}
	}
}

// podColumns are the definitions of a table's columns.
type podColumns []metav1.TableColumnDefinition

func (c podColumns) readRows(decoder *json.Decoder, each func(cluster.Pod)) error {
	if begin, err := decoder.Token(); begin != json.Delim('[') {
		return cmp.Or(err, errors.New("its rows are not a list"))
	}
	for decoder.More() {
		var row struct {
			Cells []any `json:"cells"`
		}
		if err := decoder.Decode(&row); err != nil {
			return err
		}
		pod, err := c.podOf(row.Cells)
		if err != nil {
			return err
		}
		each(pod)
	}
	_, err := decoder.Token()
	return err
}

// podOf returns the pod that a row describes. Without an object it has no namespace.
func (c podColumns) podOf(cells []any) (cluster.Pod, error) {
	name, _ := c.cell(cells, "Name")
	address, hasAddress := c.cell(cells, "IP")
	node, hasNode := c.cell(cells, "Node")
	status, hasStatus := c.cell(cells, "Status")
	if !hasAddress || !hasNode || !hasStatus {
		return cluster.Pod{}, fmt.Errorf("a row lacks the address, node or status of a pod: %v", cells)
	}
	pod := cluster.Pod{Key: types.NamespacedName{Name: name}, Node: node, Deleting: status == "Terminating"}
	if addr, err := netip.ParseAddr(address); err == nil { // the address is <none> before the pod has one
		pod.Addresses = []netip.Addr{addr.Unmap()}
	}
	return pod, nil
}

// cell returns the text in a column.
func (c podColumns) cell(cells []any, column string) (string, bool) {
	for at := range min(len(c), len(cells)) {
		if c[at].Name == column {
			text, is := cells[at].(string)
			return text, is
		}
	}
	return "", false
}

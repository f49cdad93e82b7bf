// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// format is the value of --output: empty for text.
type format string

func (f *format) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVarP((*string)(f), "output", "o", "", "output format: json or yaml; without it, text")
}

func (f *format) validate() error {
	switch *f {
	case "", "json", "yaml":
		return nil
	default:
		return usageError{fmt.Errorf("--output %q: must be json or yaml", *f)}
	}
}

// printer is a result that can be shown as text.
type printer interface{ Print(w io.Writer) error }

// show writes a result in the format.
func (f *format) show(w io.Writer, result printer) error {
	var data []byte
	var err error
	switch *f {
	case "json":
		if data, err = json.MarshalIndent(result, "", "  "); err == nil {
			data = append(data, '\n')
		}
	case "yaml":
		data, err = yaml.Marshal(result)
	default:
		return result.Print(w)
	}
	if err != nil {
		return fmt.Errorf("printing as %s: %w", *f, err)
	}
	_, err = w.Write(data)
	return err
}

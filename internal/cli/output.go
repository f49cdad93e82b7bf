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
	cmd.Flags().StringVarP((*string)(f), "output", "o", "", "json, yaml or wide (all columns); without it, text")
}

func (f *format) validate() error {
	switch *f {
	case "", "json", "yaml", "wide":
		return nil
	default:
		return usageError{fmt.Errorf("--output %q: must be json, yaml or wide", *f)}
	}
}

// printer is a result that can be printed as text.
type printer interface{ Print(w io.Writer) error }

// widePrinter is a printer that omits columns from that text to fit a terminal.
type widePrinter interface{ PrintWide(w io.Writer) error }

// show prints a result in the format.
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
		if wide, has := result.(widePrinter); has && *f == "wide" {
			return wide.PrintWide(w)
		}
		return result.Print(w)
	}
	if err != nil {
		return fmt.Errorf("printing as %s: %w", *f, err)
	}
	_, err = w.Write(data)
	return err
}

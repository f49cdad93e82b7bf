// SPDX-License-Identifier: Apache-2.0

// Package suggest finds the names that somebody may have meant who has given one that does not exist. It asks cobra,
// which suggests commands: whoever mistypes one name gets the same help as with another.
package suggest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// most is how many names are suggested.
const most = 3

// Near returns "; did you mean ...?" with the names that are near, or an empty string. Near is what is written almost
// alike, and what begins with the given name.
func Near(given string, names []string) string {
	var near []string
	root := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		if name != "" && !strings.Contains(name, " ") && name != given {
			root.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
		}
	}
	for _, name := range root.SuggestionsFor(given) {
		if near = append(near, name); len(near) == most {
			break
		}
	}
	slices.Sort(near)
	if len(near) == 0 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
}

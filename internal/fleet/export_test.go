// SPDX-License-Identifier: Apache-2.0

package fleet

import "io"

// Bounded returns a writer with a limit, and what it kept.
func Bounded(limit int) (w io.Writer, content func() ([]byte, bool)) {
	b := &bounded{limit: limit}
	return b, func() ([]byte, bool) { return b.kept, b.cut }
}

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// modesOf returns the mode of each class of acts as it results from its own and the upper limit.
func modesOf(c config.Config) map[string]string {
	modes := map[string]string{}
	for class, mode := range c.EffectiveModes() {
		modes[class] = string(mode)
	}
	return modes
}

// The classes of acts that remove endpoints, as the configuration calls them.
const (
	classConflict = "conflict"
	classOrphan   = "orphan"
)

// Observes returns the setting because of which endpoints with the verdict are never removed, such as "mode: observe".
// It is empty if there is none.
func (r Report) Observes(kind verdict.Kind) string {
	class := classConflict
	if kind == verdict.Orphan || kind == verdict.OrphanPending {
		class = classOrphan
	}
	return r.observes(class)
}

func (r Report) observes(class string) string {
	const observe = string(config.Observe)
	switch {
	case r.Mode == observe:
		return "mode: " + observe
	case r.Modes[class] == observe:
		return class + ".mode: " + observe
	default:
		return ""
	}
}

// describeMode says whether endpoints are removed.
func (r Report) describeMode() string {
	parts := []string{"mode: " + r.Mode}
	for _, class := range []string{classConflict, classOrphan} {
		if setting := r.observes(class); setting != "" && setting != parts[0] {
			parts = append(parts, setting)
		}
	}
	return strings.Join(parts, ", ")
}

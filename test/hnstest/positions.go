// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// Position is one possible behaviour of HNS, and the assumptions of package contract that it refutes.
type Position struct {
	Name    string
	Options Options
	Refutes []string
	// Prevents are the assumptions that cannot be tried in it.
	Prevents []string
}

// And combines two positions, which must not interfere with each other.
func (p Position) And(other Position) Position {
	p.Name += ", " + other.Name
	p.Options.Quirks |= other.Options.Quirks
	p.Refutes = append(slices.Clone(p.Refutes), other.Refutes...)
	p.Prevents = append(slices.Clone(p.Prevents), other.Prevents...)
	return p
}

// Judge returns what is wrong with the results of a run in this position. It does not matter whether it ran as
// LocalSystem.
func (p Position) Judge(results []contract.Result) error {
	var faults []string
	seen := map[string]bool{"local-system": true}
	for _, r := range results {
		want := contract.Confirmed
		switch {
		case slices.Contains(p.Refutes, r.ID):
			want = contract.Refuted
		case slices.Contains(p.Prevents, r.ID):
			want = contract.NotTried
		}
		if !seen[r.ID] && r.Outcome != want || r.Saw == "" {
			faults = append(faults, fmt.Sprintf("%s should be %s: %+v", r.ID, want, r))
		}
		seen[r.ID] = true
	}
	for _, a := range contract.Assumptions() {
		if a.Checked() && !seen[a.ID] {
			faults = append(faults, a.ID+" has no result")
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("HNS that %s:\n%s", p.Name, strings.Join(faults, "\n"))
	}
	return nil
}

// prevents adds the assumptions that cannot be tried.
func (p Position) prevents(ids ...string) Position {
	p.Prevents = ids
	return p
}

// taking gives calls a duration, without which no two overlap.
func (p Position) taking(latency time.Duration) Position {
	p.Options.Latency = latency
	return p
}

const shortly = 100 * time.Microsecond

// UpdatesInPlace is the first version of HNS that updates load balancers in place.
const UpdatesInPlace = "15.5"

// Positions returns all switches of the simulation. In the first position it behaves as package contract assumes; each
// assumption that can be checked is refuted in another one.
func Positions() []Position {
	quirk := func(name string, q Quirks, refutes ...string) Position {
		return Position{Name: name, Options: Options{Quirks: q}, Refutes: refutes}
	}
	all := []Position{
		{Name: "allows all"},
		{
			Name: "refuses duplicates", Options: Options{Duplicates: RefuseDuplicates},
			Refutes:  []string{"remote-beside-local", "local-beside-remote", "remote-beside-remote"},
			Prevents: []string{"one-of-two"},
		},
		{
			Name: "refuses a second remote", Options: Options{Duplicates: OneRemote},
			Refutes: []string{"remote-beside-remote"},
		},
		{Name: "allows locals", Options: Options{Duplicates: AllowLocals}, Refutes: []string{"second-local-refused"}},
		{Name: "newest first", Options: Options{Order: NewestFirst}, Refutes: []string{"oldest-first"}},
		{Name: "by ID", Options: Options{Order: ByID}, Refutes: []string{"oldest-first"}},
		{Name: "random order", Options: Options{Order: Random}, Refutes: []string{"oldest-first"}},
		quirk("lists late", ListsLate, "oldest-first", "listed-when-made"),
		quirk("keeps deleted", KeepsDeleted, "gone-when-deleted", "not-found", "together"),
		quirk("unknown codes", UnknownCodes, "not-found"),
		quirk("own hardware addresses", OwnMACs, "remote-as-given"),
		quirk("makes remotes", MakesRemotes, "local-as-given", "second-local-refused"),
		quirk("reuses IDs", ReusesIDs, "ids-are-new"),
		quirk("deletes twins", DeletesTwins, "one-of-two"),
		quirk("refuses backends", RefusesBackends, "backend-deleted").prevents("balancer-dangles"),
		quirk("forgets backends", ForgetsBackends, "balancer-dangles"),
		quirk("forgets frontends", ForgetsFrontends, "balancer-as-given"),
		quirk("refuses a frontend twice", RefusesFrontendTwice, "frontend-twice"),
		quirk("ignores updates", IgnoresUpdates, "balancer-updates"),
		quirk("lists fail", ListsFail, "balancers-vanish"),
		quirk("hides namespaces", HidesNamespaces, "attached-shows"),
		quirk("keeps namespaces", KeepsNamespaces, "detached-shows"),
		quirk("refuses outside", RefusesOutside, "outside-subnet", "documentation-address"),
		quirk("hides its version", HidesVersion, "tells-version").prevents("balancer-updates"),
		quirk("hides types", HidesTypes, "network-listed"),
		quirk("one at a time", OneAtATime, "together").taking(20 * shortly),
		quirk("slow", 0, "fast").taking(10 * shortly),
	}
	for i := range all {
		all[i].Options.Version = UpdatesInPlace
	}
	return all
}

// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// dashboard has the parts of a dashboard that tests check.
type dashboard struct {
	UID        string
	Templating struct {
		List []struct {
			Name string
		}
	}
	Panels []panel
}

type panel struct {
	Title, Type, Description string
	Links                    []link
	Targets                  []struct{ Expr string }
	FieldConfig              struct {
		Defaults struct {
			Unit, NoValue string
			Thresholds    struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
		Overrides []struct {
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
}

type link struct{ URL string }

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "charts", "hnsguard", "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no dashboards (%v)", err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(content, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[string(content)] = d
	}
	return all
}

func TestEveryPanelSaysWhatItShows(t *testing.T) {
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			t.Run(d.UID+"/"+p.Title, func(t *testing.T) {
				g := NewWithT(t)
				g.Expect(p.Description).NotTo(BeEmpty())
				g.Expect(p.FieldConfig.Defaults.Unit).NotTo(BeEmpty())
				if p.Type != "alertlist" {
					g.Expect(p.FieldConfig.Defaults.NoValue).To(Equal("no data"))
				}
				if p.Type == "stat" {
					// A green number of a fleet that is not scraped would be wrong.
					steps := p.FieldConfig.Defaults.Thresholds.Steps
					g.Expect(steps).NotTo(BeEmpty(), "without thresholds everything is green")
					for _, step := range steps {
						g.Expect(step.Color).NotTo(ContainSubstring("green"))
					}
				}
			})
		}
	}
}

func TestNoQueryMakesUpAZero(t *testing.T) {
	for content := range dashboards(t) {
		NewWithT(t).Expect(content).NotTo(ContainSubstring("vector(0)"))
	}
}

func TestEveryVariableIsUsed(t *testing.T) {
	for content, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			uses := regexp.MustCompile(`\$\{?`+v.Name+`\b`).FindAllString(content, -1)
			NewWithT(t).Expect(uses).NotTo(BeEmpty(), "%s has a variable that nothing uses: %s", d.UID, v.Name)
		}
	}
}

// Links lead to runbooks that exist, and to dashboards that exist and have the variables.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	uids := map[string]dashboard{}
	for _, d := range dashboards(t) {
		uids[d.UID] = d
	}
	linked := 0
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, l := range append(p.Links, dataLinks(t, p)...) {
				linked++
				g := NewWithT(t)
				if uid, isDashboard := strings.CutPrefix(l.URL, "/d/"); isDashboard {
					uid, query, _ := strings.Cut(uid, "?")
					g.Expect(uids).To(HaveKey(uid), "%s, %s", d.UID, p.Title)
					for _, v := range regexp.MustCompile(`var-(\w+)=`).FindAllStringSubmatch(query, -1) {
						g.Expect(uids[uid].Templating.List).To(ContainElement(HaveField("Name", v[1])))
					}
					continue
				}
				g.Expect(l.URL).To(HavePrefix("https://github.com/hnsguard/hnsguard/blob/main/docs/runbooks/"))
				g.Expect(filepath.Join("..", "..", "docs", "runbooks", path.Base(l.URL))).To(BeAnExistingFile())
			}
		}
	}
	NewWithT(t).Expect(linked).To(BeNumerically(">", 10))
}

// dataLinks returns the links of a panel's fields.
func dataLinks(t *testing.T, p panel) []link {
	t.Helper()
	var all []link
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "links" {
				continue
			}
			var links []link
			if err := json.Unmarshal(property.Value, &links); err != nil {
				t.Fatal(err)
			}
			all = append(all, links...)
		}
	}
	return all
}

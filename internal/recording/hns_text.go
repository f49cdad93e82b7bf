// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"regexp"
	"strings"
)

// howToRecordHNS is what to do about a file that cannot be read.
const howToRecordHNS = "record JSON on the node, with:\n" +
	"  Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json\n" +
	"  Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json\n" +
	"  Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json"

// line is a line of the text around the JSON values.
type hnsLine struct {
	at   int
	text string
}

var (
	guid = regexp.MustCompile(`(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
	// jsonRest matches a line from the middle or the end of a JSON value.
	jsonRest = regexp.MustCompile(`^\s*(?:[\]},]|"[^"]*"\s*:)`)
	// hnsdiagLine matches the head of an object or of a table as hnsdiag prints them.
	hnsdiagLine = regexp.MustCompile(`(?i)^(?:(?:Endpoint|Network|Namespace|Load Balancer)\s*:|Name\s+ID\b|ID\s*\|)`)
	// listLine matches the ID of an object as Format-List prints it.
	listLine = regexp.MustCompile(`(?i)^ID\s*:`)
	// tableRule matches the line below the header of Format-Table.
	tableRule = regexp.MustCompile(`^[\s-]*--[\s-]*$`)
)

// checkText reports text that JSON should have been: all of it, a part of it, or objects that only the text lists.
func (r *hnsReader) checkText() {
	if !r.file.sound() {
		return
	}
	if strings.TrimSpace(r.file.text) == "" {
		r.file.report(0, "the file is empty; if there was nothing to record leave it out, otherwise "+howToRecordHNS)
		return
	}
	found := textFormat(r.text)
	if !r.hasJSON {
		r.file.report(0, "found %s instead of JSON; %s", found, howToRecordHNS)
		return
	}
	for _, l := range r.text {
		if jsonRest.MatchString(l.text) {
			r.file.report(l.at, "found %.40q outside of any JSON value: the beginning of the file is missing, or it is damaged",
				strings.TrimSpace(l.text))
			return
		}
		for _, id := range guid.FindAllString(l.text, -1) {
			if found != otherText && !r.ids[strings.ToLower(id)] {
				r.file.report(l.at, "%s lists %s, which is missing in the JSON; %s", found, id, howToRecordHNS)
			}
		}
	}
}

// otherText is text of no known format.
const otherText = "text"

// textFormat names the format of a text that lists HNS objects.
func textFormat(text []hnsLine) string {
	for i, l := range text {
		switch {
		case hnsdiagLine.MatchString(l.text):
			return "output of hnsdiag"
		case listLine.MatchString(l.text):
			return "output of Format-List"
		case i > 0 && tableRule.MatchString(l.text) && len(strings.Fields(text[i-1].text)) > 1:
			return "output of Format-Table"
		}
	}
	return otherText
}

// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"regexp"
	"strings"
)

// form is the layout of a text format.
type form int

const (
	// blockForm is what later versions of hnsdiag print: "Endpoint : <ID>" and indented properties.
	blockForm form = iota
	// rowForm is a row of the tables that hnsdiag printed before.
	rowForm
	// listForm is PowerShell's Format-List.
	listForm
	// tableForm is a row of PowerShell's Format-Table.
	tableForm
)

// powershell reports whether PowerShell laid the record out.
func (f form) powershell() bool { return f == listForm || f == tableForm }

// textRecord is one object in a text format. The names of its properties are in lower case without spaces, so that
// hnsdiag's "IP Address" and PowerShell's IPAddress are one.
type textRecord struct {
	place
	form  form
	kind  kind
	cells map[string]cell
}

// has reports whether the record has the property, be it empty.
func (t textRecord) has(property string) bool {
	_, ok := t.cells[propertyName(property)]
	return ok
}

// cell returns a property, or an empty cell if the record does not have it.
func (t textRecord) cell(property string) cell {
	if c, ok := t.cells[propertyName(property)]; ok {
		c.owner = t.owner
		return c
	}
	return cell{place: t.place}
}

func propertyName(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }

// summary is a table that has no IDs and so can only be the heading of JSON in the same file.
type summary struct {
	place
	kind kind
}

var (
	// promptLine is the echo of a command in a console.
	promptLine = regexp.MustCompile(`^(PS )?[A-Za-z]:\\[^>]*>`)
	// propertyLine is "Name : value".
	propertyLine = regexp.MustCompile(`^\s*([A-Za-z][A-Za-z0-9_ ]*?)\s*:(?:\s+(\S.*?))?\s*$`)
	// guidWord is a GUID that stands alone. EKS calls endpoints "cid-<GUID>", which is none.
	guidWord = regexp.MustCompile(`(?i)(?:^|\s)(\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?)(?:\s|$)`)
)

// titles are the lines that hnsdiag prints above its tables, and the kind that each speaks of.
func titles() map[string]kind {
	return map[string]kind{
		"networks:":      networkV1,
		"endpoints:":     endpointV1,
		"namespaces:":    namespace,
		"loadbalancers:": loadBalancerV2,
	}
}

// blockHeads are the properties that begin a block of hnsdiag.
func blockHeads() map[string]kind {
	return map[string]kind{
		"network":      networkV1,
		"endpoint":     endpointV1,
		"namespace":    namespace,
		"loadbalancer": loadBalancerV2,
	}
}

// rowHeaders are the headers of hnsdiag's tables, in lower case and with single spaces.
func rowHeaders() map[string]table {
	return map[string]table{
		"name id": {form: rowForm, kind: networkV1, columns: []string{"Name", "ID"}},
		"name id virtual network name": {
			form: rowForm, kind: endpointV1, columns: []string{"Name", "ID", "Virtual Network Name"},
		},
		"id | endpoint ids": {form: rowForm, kind: namespace, columns: []string{"ID", "Endpoint IDs"}},
		"id | virtual ips | direct ip ids": {
			form: rowForm, kind: loadBalancerV2, columns: []string{"ID", "Virtual IPs", "Direct IP IDs"},
		},
	}
}

// table is the table that is being read.
type table struct {
	form    form
	kind    kind
	columns []string
	// starts are the columns' first characters, in Format-Table.
	starts []int
	// skip says that the rows have no ID and are not read.
	skip bool
}

// line is one line of a file, without its end.
type line struct {
	offset int
	text   string
}

// blank reports whether there is nothing on the line.
func (l line) blank() bool { return strings.TrimSpace(l.text) == "" }

// indented reports whether the line begins with white space.
func (l line) indented() bool { return strings.TrimLeft(l.text, " \t") != l.text }

// textParser reads a stretch of text between JSON values.
type textParser struct {
	reader *reader
	lines  []line
	// table is the table being read, open the block or list, and last the property of open that was read last.
	table *table
	open  *textRecord
	last  string
	// astray says that the line before was not understood, so that a run of such lines is reported once.
	astray bool
}

// readText splits a stretch of text into records, which readTextRecords turns into objects once the whole file is
// split.
func (r *reader) readText(start, end int) {
	p := &textParser{reader: r}
	for at := start; at < end; {
		next := min(lineEnd(r.faults.source.text, at), end)
		p.lines = append(p.lines, line{at, strings.TrimRight(r.faults.source.text[at:next], "\r\n")})
		at = next
	}
	for i := range p.lines {
		p.astray = !p.read(i) && p.reportAstray(p.lines[i])
	}
	p.closeRecord()
}

// read reads one line, and reports whether it was understood.
func (p *textParser) read(i int) bool {
	l := p.lines[i]
	switch {
	case l.blank():
		p.blank()
		return true
	case promptLine.MatchString(l.text):
		p.close()
		return true
	case p.title(l), p.rowHeader(l):
		return true
	case i+1 < len(p.lines) && isRule(p.lines[i+1].text):
		p.tableHeader(l, p.lines[i+1])
		return true
	case p.table != nil && isRule(l.text):
		return true
	case p.table != nil:
		return p.row(l)
	default:
		return p.property(l)
	}
}

// reportAstray reports the first line of a run that is not understood.
func (p *textParser) reportAstray(l line) bool {
	if !p.astray {
		at := place{offset: l.offset}
		p.reader.faults.add(at, p.reader.explain(), "not understood: %q", strings.TrimSpace(l.text))
	}
	p.close()
	return true
}

// blank ends a record and a table of PowerShell's. Tables of hnsdiag may have blank lines in them.
func (p *textParser) blank() {
	p.closeRecord()
	if p.table != nil && p.table.form == tableForm {
		p.table = nil
	}
}

func (p *textParser) close() {
	p.closeRecord()
	p.table = nil
}

func (p *textParser) closeRecord() {
	if p.open == nil {
		return
	}
	if p.open.form == listForm {
		p.open.kind = kindOf(p.open.has)
	}
	p.reader.textRecords = append(p.reader.textRecords, *p.open)
	p.open, p.last = nil, ""
}

// title reads the line above a table of hnsdiag. It says that there is a list, even if an empty one.
func (p *textParser) title(l line) bool {
	k, ok := titles()[propertyName(strings.TrimSpace(l.text))]
	if ok {
		p.close()
		p.reader.saw(k)
	}
	return ok
}

// rowHeader reads the header of a table of hnsdiag.
func (p *textParser) rowHeader(l line) bool {
	t, ok := rowHeaders()[strings.ToLower(strings.Join(strings.Fields(l.text), " "))]
	if ok {
		p.close()
		p.table = &t
		p.reader.saw(t.kind)
	}
	return ok
}

// tableHeader reads the header of Format-Table, whose columns begin where the dashes below them do.
func (p *textParser) tableHeader(header, rule line) {
	p.close()
	t := table{form: tableForm}
	dashes := []rune(rule.text)
	for i, dash := range dashes {
		if dash == '-' && (i == 0 || dashes[i-1] != '-') {
			t.starts = append(t.starts, i)
		}
	}
	for _, c := range t.cut(header) {
		t.columns = append(t.columns, c.text)
	}
	named := textRecord{cells: map[string]cell{}}
	for _, column := range t.columns {
		named.cells[propertyName(column)] = cell{}
	}
	t.kind = kindOf(named.has)
	t.skip = !named.has("ID")
	if t.skip {
		p.reader.summaries = append(p.reader.summaries, summary{place{offset: header.offset}, t.kind})
	}
	p.table = &t
}

// cut splits a row of Format-Table into its columns.
func (t *table) cut(l line) []cell {
	runes := []rune(l.text)
	cells := make([]cell, len(t.starts))
	for i, start := range t.starts {
		end := len(runes)
		if i+1 < len(t.starts) {
			end = min(end, t.starts[i+1])
		}
		text := string(runes[min(start, end):end])
		trimmed := strings.TrimLeft(text, " ")
		offset := l.offset + len(string(runes[:min(start, end)])) + len(text) - len(trimmed)
		cells[i] = cell{place{offset: offset}, strings.TrimSpace(trimmed)}
	}
	return cells
}

// row reads a row of the open table.
func (p *textParser) row(l line) bool {
	if p.table.skip {
		return true
	}
	cells := p.table.cells(l)
	if cells == nil {
		return false
	}
	rec := textRecord{
		place: place{offset: l.offset},
		form:  p.table.form,
		kind:  p.table.kind,
		cells: map[string]cell{},
	}
	for i, column := range p.table.columns {
		c := cells[i]
		c.path = column
		rec.cells[propertyName(column)] = c
	}
	p.reader.textRecords = append(p.reader.textRecords, rec)
	return true
}

// cells splits a row of any table into its columns. It returns nil if the line is no row.
func (t *table) cells(l line) []cell {
	switch {
	case t.form == tableForm:
		return t.cut(l)
	case t.kind == networkV1 || t.kind == endpointV1:
		return t.splitAtID(l)
	default:
		return t.splitAtBars(l)
	}
}

// splitAtID splits a row "name ID network". The names may have spaces in them, and the last column is missing in rows
// of the networks' table.
func (t *table) splitAtID(l line) []cell {
	at := guidWord.FindStringSubmatchIndex(l.text)
	if at == nil {
		return nil
	}
	parts := []cell{
		{place{offset: l.offset}, l.text[:at[2]]},
		{place{offset: l.offset + at[2]}, l.text[at[2]:at[3]]},
		{place{offset: l.offset + at[3]}, l.text[at[3]:]},
	}
	for i := range parts {
		parts[i].text = strings.TrimSpace(parts[i].text)
	}
	if len(t.columns) < len(parts) && parts[2].text != "" {
		return nil
	}
	return parts[:len(t.columns)]
}

// splitAtBars splits a row "ID | … | …".
func (t *table) splitAtBars(l line) []cell {
	parts := strings.Split(l.text, "|")
	if len(parts) != len(t.columns) {
		return nil
	}
	cells := make([]cell, len(parts))
	offset := l.offset
	for i, part := range parts {
		indent := len(part) - len(strings.TrimLeft(part, " "))
		cells[i] = cell{place{offset: offset + indent}, strings.TrimSpace(part)}
		offset += len(part) + 1
	}
	return cells
}

// property reads a line "Name : value" of a block or a list, or one that goes on with the value before.
func (p *textParser) property(l line) bool {
	m := propertyLine.FindStringSubmatchIndex(l.text)
	inList := p.open != nil && p.open.form == listForm
	if l.indented() && (m == nil || inList) {
		return p.continuation(l)
	}
	if m == nil {
		return false
	}
	name := l.text[m[2]:m[3]]
	c := cell{place: place{offset: l.offset + m[1], path: name}}
	if m[4] >= 0 {
		c.offset, c.text = l.offset+m[4], l.text[m[4]:m[5]]
	}
	if l.indented() && p.open == nil {
		return false
	}
	p.begin(l, propertyName(name))
	p.set(name, c)
	return true
}

// begin opens a record if the property, which is about to be read, belongs to a new one.
func (p *textParser) begin(l line, property string) {
	if l.indented() {
		return
	}
	head, isHead := blockHeads()[property]
	inList := p.open != nil && p.open.form == listForm
	switch {
	case isHead && !inList: // in a list, Namespace is a property
		p.closeRecord()
		p.open = &textRecord{place: place{offset: l.offset}, form: blockForm, kind: head, cells: map[string]cell{}}
	case p.open == nil, p.open.form == blockForm, p.open.has(property):
		p.closeRecord()
		p.open = &textRecord{place: place{offset: l.offset}, form: listForm, cells: map[string]cell{}}
	}
}

// set stores a property. The head of a block holds the object's ID.
func (p *textParser) set(name string, c cell) {
	property := propertyName(name)
	if _, isHead := blockHeads()[property]; isHead && p.open.form == blockForm && len(p.open.cells) == 0 {
		property = "id"
	}
	p.open.cells[property] = c
	p.last = property
}

// continuation reads a line that goes on with the value of the line before: Format-List wraps long values, hnsdiag may
// list IDs below each other.
func (p *textParser) continuation(l line) bool {
	if p.open == nil || p.last == "" {
		return false
	}
	c := p.open.cells[p.last]
	if p.open.form == blockForm {
		c.text += " "
	}
	c.text += strings.TrimSpace(l.text)
	p.open.cells[p.last] = c
	return true
}

// isRule reports whether the line is the one of dashes below a header of Format-Table.
func isRule(s string) bool {
	return strings.Contains(s, "--") && strings.Trim(s, "- \t") == ""
}

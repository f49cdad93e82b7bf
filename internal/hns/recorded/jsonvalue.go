// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// value is one JSON value of a file. It is valid JSON and knows where it stands.
type value struct {
	place
	raw []byte
}

// is reports whether the value begins with the byte, which tells its type: '{', '[', '"', 't', 'f', 'n' or a number.
func (v value) is(first byte) bool { return len(v.raw) > 0 && v.raw[0] == first }

// null reports whether the value is null.
func (v value) null() bool { return v.is('n') }

// items are the elements of an array.
func (v value) items() []value {
	var items []value
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	_, _ = dec.Token() // the opening bracket
	for dec.More() {
		items = append(items, v.next(dec, fmt.Sprintf("[%d]", len(items))))
	}
	return items
}

// object takes an object apart. Keys are kept in lower case, because V1 and V2 spell some of them differently and Go,
// as PowerShell, reads them in any case.
func (v value) object() object {
	o := object{value: v, fields: map[string]value{}}
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	_, _ = dec.Token() // the opening brace
	for dec.More() {
		key, _ := dec.Token()
		name, _ := key.(string)
		step := name
		if v.path != "" {
			step = "." + name
		}
		if o.has(name) {
			o.twice = name
		}
		o.keys = append(o.keys, name)
		o.fields[strings.ToLower(name)] = v.next(dec, step)
	}
	return o
}

// next reads the value that the decoder, which reads v, has reached. v is valid JSON, so that this cannot fail.
func (v value) next(dec *json.Decoder, step string) value {
	var raw json.RawMessage
	_ = dec.Decode(&raw)
	at := v.place
	at.offset += int(dec.InputOffset()) - len(raw)
	at.path += step
	return value{place: at, raw: raw}
}

// object is a JSON object.
type object struct {
	value
	keys   []string
	fields map[string]value
	// twice is a key that occurs more than once, if there is one.
	twice string
}

// has reports whether the object has the key, in whatever case.
func (o object) has(key string) bool {
	_, ok := o.fields[strings.ToLower(key)]
	return ok
}

// field returns the value of a key, or false if the object does not have it or it is null.
func (o object) field(key string) (value, bool) {
	v, ok := o.fields[strings.ToLower(key)]
	if !ok || v.null() {
		return value{}, false
	}
	v.owner = o.owner
	return v, true
}

// cell is a text with its place: a JSON string, or a value in one of the text formats.
type cell struct {
	place
	text string
}

// text returns a string field, or an empty cell if there is none.
func (r *reader) text(o object, key string) cell {
	v, ok := o.field(key)
	if !ok {
		return cell{place: o.place}
	}
	return r.textOf(v)
}

func (r *reader) textOf(v value) cell {
	c := cell{place: v.place}
	if err := json.Unmarshal(v.raw, &c.text); err != nil {
		r.wrongShape(v, "a text")
	}
	return c
}

// boolean returns a field that is false unless told otherwise.
func (r *reader) boolean(o object, key string) bool {
	v, ok := o.field(key)
	if !ok {
		return false
	}
	var b bool
	if err := json.Unmarshal(v.raw, &b); err != nil {
		r.wrongShape(v, "true or false")
	}
	return b
}

// number returns a field that is zero unless told otherwise.
func (r *reader) number(o object, key string, bits int) uint64 {
	v, ok := o.field(key)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(string(v.raw), 10, bits)
	if err != nil {
		r.wrongShape(v, fmt.Sprintf("a whole number below 2^%d", bits))
	}
	return n
}

// list returns the elements of an array field.
func (r *reader) list(o object, key string) []value {
	v, ok := o.field(key)
	if !ok {
		return nil
	}
	if !v.is('[') {
		r.wrongShape(v, "a list")
		return nil
	}
	return v.items()
}

// child returns an object field.
func (r *reader) child(o object, key string) (object, bool) {
	v, ok := o.field(key)
	if !ok {
		return object{}, false
	}
	return r.objectOf(v)
}

// objects returns the elements of an array field of objects.
func (r *reader) objects(o object, key string) []object {
	var objects []object
	for _, v := range r.list(o, key) {
		if child, ok := r.objectOf(v); ok {
			objects = append(objects, child)
		}
	}
	return objects
}

func (r *reader) objectOf(v value) (object, bool) {
	if !v.is('{') {
		r.wrongShape(v, "an object")
		return object{}, false
	}
	return v.object(), true
}

// wrongShape reports a value of a wrong type. Where PowerShell's depth limit made a text of an object or a list, it
// says so, because the cure is simple and the symptom is not.
func (r *reader) wrongShape(v value, want string) {
	const longest = 60
	shown := []rune(string(v.raw))
	if len(shown) > longest {
		shown = append(shown[:longest], '…')
	}
	remedy := ""
	if v.is('"') && (want == "an object" || want == "a list") {
		remedy = remedyDepth
	}
	r.faults.add(v.place, remedy, "want %s, found %s", want, string(shown))
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	yamlv2 "go.yaml.in/yaml/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/suggest"
)

// Decode decodes a configuration file in YAML or JSON. Fields that the file leaves out have their defaults. The error
// names the file and all of its faults, each on its own line.
func Decode(name string, data []byte) (Config, error) {
	d := decoder{config: Default()}
	if err := d.document(data); err != nil {
		return Config{}, fmt.Errorf("decoding configuration %s: %w", name, err)
	}
	for _, err := range d.config.Validate() {
		d.errs = append(d.errs, err)
	}
	if err := errors.Join(d.errs...); err != nil {
		return Config{}, fmt.Errorf("decoding configuration %s:\n%w", name, err)
	}
	return d.config, nil
}

// decoder decodes into config and collects what is wrong.
type decoder struct {
	config Config
	errs   []error
}

// document decodes the one document of a file. It returns an error if there is nothing to decode.
func (d *decoder) document(data []byte) error {
	raw, err := yaml.YAMLToJSON(data)
	if err != nil {
		return err
	}
	d.checkYAML(data)
	if _, ok := members(raw); !ok && !isNull(raw) {
		return errors.New(`must be fields such as "mode: observe"`)
	}
	d.value(nil, raw)
	return nil
}

// checkYAML finds what the conversion to JSON does not report: duplicate keys and further documents.
func (d *decoder) checkYAML(data []byte) {
	documents := yamlv2.NewDecoder(bytes.NewReader(data))
	documents.SetStrict(true)
	var content any
	var duplicates *yamlv2.TypeError
	if errors.As(documents.Decode(&content), &duplicates) {
		for _, text := range duplicates.Errors {
			d.errs = append(d.errs, errors.New(text))
		}
	}
	if err := documents.Decode(&content); !errors.Is(err, io.EOF) {
		d.errs = append(d.errs, errors.New(`must hold one document; remove everything after the second "---"`))
	}
}

// value decodes the value at a path. If it does not fit, its members are decoded one by one, so that one of the wrong
// type hides neither unknown keys nor other faults.
func (d *decoder) value(path []string, raw json.RawMessage) {
	config, strict, err := d.try(path, raw)
	if err == nil {
		d.config = config
		for _, unknown := range strict {
			d.errs = append(d.errs, explainUnknown(unknown))
		}
		return
	}
	if fields, ok := members(raw); ok && d.fits(path, "{}") {
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			d.value(append(slices.Clip(path), key), fields[key])
		}
		return
	}
	if !isNull(raw) { // a key without a value has its default
		d.errs = append(d.errs, d.invalid(path, raw, err)...)
	}
}

// try returns the configuration with the value at the path, and the unknown keys in the value.
func (d *decoder) try(path []string, raw json.RawMessage) (config Config, unknown []error, err error) {
	config = d.config
	unknown, err = kjson.UnmarshalStrict(nest(path, raw), &config)
	return config, unknown, err
}

// fits reports whether the path is that of an object, for {}, or of a list, for [].
func (d *decoder) fits(path []string, empty string) bool {
	_, _, err := d.try(path, json.RawMessage(empty))
	return err == nil
}

// invalid explains why the value at a path cannot be decoded. Each element of a list is judged by itself.
func (d *decoder) invalid(path []string, raw json.RawMessage, err error) []error {
	at := field.NewPath(path[0], path[1:]...)
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil || !d.fits(path, "[]") {
		return []error{field.TypeInvalid(at, valueOf(raw), d.explain(at, err))}
	}
	var errs []error
	for i, element := range elements {
		if isNull(element) {
			errs = append(errs, field.Required(at.Index(i), ""))
			continue
		}
		if _, _, err := d.try(path, slices.Concat([]byte("["), element, []byte("]"))); err != nil {
			errs = append(errs, field.TypeInvalid(at.Index(i), valueOf(element), d.explain(at, err)))
		}
	}
	return errs
}

// explain says what the value at a path must be.
func (d *decoder) explain(at *field.Path, err error) string {
	for _, l := range d.config.durations() {
		if l.path == at.String() {
			return fmt.Sprintf(`must be a duration such as "%v", between %v and %v`,
				durationValue(max(l.least, time.Second)), durationValue(l.least), durationValue(l.most))
		}
	}
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err.Error()
	}
	switch kind := wrong.Type.Kind(); {
	case wrong.Type == reflect.TypeFor[Mode]():
		return fmt.Sprintf("must be %q or %q", Enforce, Observe) // YAML reads "on" as true
	case wrong.Type == reflect.TypeFor[Prefix](), kind == reflect.String:
		return "must be a string"
	case kind == reflect.Int:
		return "must be a whole number"
	case kind == reflect.Float64:
		return "must be a number"
	case kind == reflect.Slice:
		return "must be a list"
	default:
		return "must be fields of its own"
	}
}

// explainUnknown says what to write instead of a field that is unknown because it was renamed.
func explainUnknown(err error) error {
	var unknown kjson.FieldError
	if errors.As(err, &unknown) {
		if advice, ok := renamed()[unknown.FieldPath()]; ok {
			return fmt.Errorf("%w: use %s", err, advice)
		}
		return fmt.Errorf("%w%s", err, nearField(unknown.FieldPath()))
	}
	return err
}

// nearField suggests fields of the same object, for a path that is unknown.
func nearField(path string) string {
	parent, name := "", path
	if i := strings.LastIndex(path, "."); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	raw, err := json.Marshal(Default())
	if err != nil {
		return ""
	}
	fields, known := members(raw)
	if parent != "" {
		fields, known = members(fields[parent])
	}
	if !known {
		return ""
	}
	return suggest.Near(name, slices.Collect(maps.Keys(fields)))
}

// renamed returns what to use instead of the fields of earlier releases.
func renamed() map[string]string {
	return map[string]string{
		"repair":          "eviction, and eviction.interval instead of every",
		"eviction.every":  "eviction.interval",
		"poll.fast":       "poll.fastInterval",
		"poll.fastFor":    "poll.fastDuration",
		"poll.slow":       "poll.slowInterval",
		"hns.rereadEvery": "hns.rereadInterval",
	}
}

// nest returns the document that holds nothing but a value at a path.
func nest(path []string, raw json.RawMessage) json.RawMessage {
	for _, key := range slices.Backward(path) {
		name, _ := json.Marshal(key) // of a string it cannot fail
		raw = slices.Concat([]byte("{"), name, []byte(":"), raw, []byte("}"))
	}
	return raw
}

// members returns the fields of an object, and whether it is one.
func members(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	var fields map[string]json.RawMessage
	err := json.Unmarshal(raw, &fields)
	return fields, err == nil && fields != nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// valueOf returns a value as an error shows it.
func valueOf(raw json.RawMessage) any {
	var value any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &value); err != nil {
		return string(raw)
	}
	switch value.(type) {
	case string, bool, int64, float64:
		return value
	default:
		return string(raw)
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	yamlv2 "go.yaml.in/yaml/v2"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// maxFaults is how many faults of a file are reported.
const maxFaults = 100

// Decode decodes a configuration file in YAML or JSON. Fields that the file leaves out have their defaults. The error
// names the file and its faults, each on its own line.
func Decode(name string, data []byte) (Config, error) {
	raw, err := yaml.YAMLToJSON(data)
	if err != nil {
		return Config{}, fmt.Errorf("decoding configuration %s: %w", name, err)
	}
	c := Default()
	errs := checkYAML(data)
	unknown, err := kjson.UnmarshalStrict(raw, &c) // unlike yaml.UnmarshalStrict, it returns every unknown field
	errs = append(errs, unknown...)
	if err != nil {
		errs = append(errs, explainType(err))
	}
	for _, err := range c.Validate() {
		errs = append(errs, err)
	}
	if len(errs) > maxFaults {
		errs = append(errs[:maxFaults], errors.New("and more"))
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, fmt.Errorf("decoding configuration %s:\n%w", name, err)
	}
	return c, nil
}

// checkYAML finds what the conversion to JSON does not report: duplicate keys and further documents.
func checkYAML(data []byte) []error {
	documents := yamlv2.NewDecoder(bytes.NewReader(data))
	documents.SetStrict(true)
	var errs []error
	var content any
	var duplicates *yamlv2.TypeError
	if errors.As(documents.Decode(&content), &duplicates) {
		for _, text := range duplicates.Errors {
			errs = append(errs, errors.New(text))
		}
	}
	if err := documents.Decode(&content); !errors.Is(err, io.EOF) {
		errs = append(errs, errors.New(`must hold one document; remove everything after the second "---"`))
	}
	return errs
}

// explainType says what a value of the wrong type must be.
func explainType(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &wrong):
		return err
	case wrong.Field == "":
		return errors.New(`must be fields such as "mode: observe"`)
	}
	want := map[reflect.Kind]string{
		reflect.String: "a string", reflect.Int: "a whole number", reflect.Float64: "a number", reflect.Slice: "a list",
		reflect.Struct: "a mapping",
	}[wrong.Type.Kind()]
	return fmt.Errorf("%s: must be %s, not %s", wrong.Field, want, wrong.Value)
}

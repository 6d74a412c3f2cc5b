package jsonl

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schema is as much of JSON Schema as schema.json uses.
type schema struct {
	root map[string]any
}

func loadSchema(t *testing.T) schema {
	t.Helper()
	raw, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	return schema{root}
}

// check holds a message against the schema; numbers are json.Number.
func (s schema) check(raw []byte) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	if err := twice(json.NewDecoder(strings.NewReader(string(raw)))); err != nil {
		return err
	}
	return s.valid(s.root, v, "$")
}

// twice reports a key that an object has twice, which decoders pass over.
func twice(d *json.Decoder) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	seen := map[any]bool{}
	switch tok {
	case json.Delim('{'):
		for d.More() {
			key, err := d.Token()
			if err == nil && seen[key] {
				err = fmt.Errorf("key %v twice", key)
			}
			seen[key] = true
			if err = errors.Join(err, twice(d)); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for d.More() {
			if err := twice(d); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = d.Token()
	return err
}

func (s schema) valid(rule map[string]any, v any, at string) error {
	for key, want := range rule {
		var err error
		switch key {
		case "$ref":
			def, ok := s.root["$defs"].(map[string]any)[strings.TrimPrefix(want.(string), "#/$defs/")].(map[string]any)
			if !ok {
				panic("no " + want.(string))
			}
			err = s.valid(def, v, at)
		case "const":
			if fmt.Sprint(v) != fmt.Sprint(want) {
				err = fmt.Errorf("%s is %v, not %v", at, v, want)
			}
		case "enum":
			if !slices.ContainsFunc(want.([]any), func(x any) bool { return reflect.DeepEqual(x, v) }) {
				err = fmt.Errorf("%s is %v", at, v)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				err = fmt.Errorf("%s is %q", at, text)
			}
		case "type":
			names, ok := want.([]any)
			if !ok {
				names = []any{want}
			}
			if !slices.ContainsFunc(names, func(n any) bool { return isType(n.(string), v) }) {
				err = fmt.Errorf("%s is a %T, not %v", at, v, want)
			}
		case "oneOf":
			var all []error
			fits := 0
			for _, x := range want.([]any) {
				if e := s.valid(x.(map[string]any), v, at); e != nil {
					all = append(all, e)
				} else {
					fits++
				}
			}
			if fits != 1 {
				err = fmt.Errorf("%s fits %d: %w", at, fits, errors.Join(all...))
			}
		case "items":
			list, _ := v.([]any)
			for i, x := range list {
				err = errors.Join(err, s.valid(want.(map[string]any), x, fmt.Sprintf("%s[%d]", at, i)))
			}
		case "required":
			o, _ := v.(map[string]any)
			for _, name := range want.([]any) {
				if _, ok := o[name.(string)]; !ok {
					err = fmt.Errorf("%s lacks %s", at, name)
				}
			}
		case "properties", "additionalProperties":
			o, _ := v.(map[string]any)
			props := rule["properties"].(map[string]any)
			for name, x := range o {
				if p, ok := props[name]; ok {
					err = errors.Join(err, s.valid(p.(map[string]any), x, at+"."+name))
				} else {
					err = errors.Join(err, fmt.Errorf("%s.%s is not in the schema", at, name))
				}
			}
		case "$schema", "title", "$defs":
		default:
			panic("this test does not know " + key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isType(name string, v any) bool {
	switch x := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	case json.Number:
		return name == "number" || name == "integer" && !strings.ContainsAny(x.String(), ".eE")
	}
	return false
}

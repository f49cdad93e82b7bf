// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"reflect"
	"time"
)

// sizeOf estimates how much memory a value takes, with all that it refers to.
func sizeOf(value any) int {
	v := reflect.ValueOf(value)
	return int(v.Type().Size()) + behind(v)
}

// behind estimates how much memory that takes to which a value refers.
func behind(v reflect.Value) int {
	size := 0
	switch v.Kind() {
	case reflect.String:
		size = v.Len()
	case reflect.Pointer:
		if !v.IsNil() {
			size = int(v.Type().Elem().Size()) + behind(v.Elem())
		}
	case reflect.Slice:
		size = v.Cap() * int(v.Type().Elem().Size())
		for i := range v.Len() {
			size += behind(v.Index(i))
		}
	case reflect.Map:
		size = v.Len() * int(v.Type().Key().Size()+v.Type().Elem().Size())
		for entries := v.MapRange(); entries.Next(); {
			size += behind(entries.Key()) + behind(entries.Value())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return 0 // it refers to the table of its time zone
		}
		for i := range v.NumField() {
			size += behind(v.Field(i))
		}
	default:
	}
	return size
}

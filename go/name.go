// SPDX-License-Identifier: MIT

package patas

import (
	"reflect"
	"strings"
	"unsafe"
)

// ByName gives a target for a function that can't be named in Go: of another
// package, and not exported. The name is the one in a stack trace, as in
// "net/http.(*Client).do". It panics where there is none, and where its
// arguments take other room than those of F.
//
// The result is for patas to replace. To call it calls that function, too, but
// nothing checks that F is its type; only the sizes are known.
func ByName[F any](name string) F {
	f, err := TryByName[F](name)
	if err != nil {
		panic(err)
	}
	return f
}

// TryByName is ByName with an error instead of the panic.
func TryByName[F any](name string) (F, error) {
	var none F
	kind := reflect.TypeOf((*F)(nil)).Elem()
	if kind.Kind() != reflect.Func {
		return none, refusal(name, "%v is no function type", kind)
	}
	if err := ready(); err != nil {
		return none, err
	}
	f, err := named(name)
	if err != nil {
		return none, err
	}
	if want := layoutOf(kind).width; int(f.args) != want {
		return none, refusal(name, "it is no %v: its arguments take %d bytes, "+
			"and should take %d", kind, f.args, want)
	}
	value := &struct{ code uintptr }{f.entry}
	return *(*F)(unsafe.Pointer(&value)), nil
}

func named(name string) (function, error) {
	if strings.Contains(name, "[") || strings.Contains(name, ".func") ||
		strings.HasSuffix(name, "-fm") {
		return function{}, refusal(name, "generic functions, closures and "+
			"bound methods have to be given by value")
	}
	var found []function
	for _, f := range functionsNamed(name) {
		if f.flag&flagAssembly == 0 {
			found = append(found, f)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return function{}, refusal(name, "%d functions have that name",
			len(found))
	}
	if places, count := inlinedAt(name, 8); count > 0 {
		return function{}, refusal(name, "inlined at %s, everywhere; %s",
			listed(places, count), adviceInlined)
	}
	return function{}, refusal(name, "no function of that name is in this "+
		"program; the linker leaves out what nobody calls. Give the whole "+
		"import path, as in net/http.(*Client).do")
}

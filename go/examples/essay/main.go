// SPDX-License-Identifier: MIT

// The essay "Monkey Patching in Go", run: go run -gcflags=all=-l .
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"unsafe"

	"github.com/patas-dev/patas/go"
)

//go:noinline
func a() int { return 1 }

//go:noinline
func b() int { return 2 }

// A func value is a pointer to a pointer to code.
func doubleIndirection() {
	f := a
	value := *(*uintptr)(unsafe.Pointer(&f))
	code := **(**uintptr)(unsafe.Pointer(&f))
	fmt.Println("a func value points to data, not to code:", value != code)
}

func replaced() {
	patas.Replace(a, b)
	fmt.Println("a replaced by b:", a())
}

func bleeped() {
	p := patas.Replace(fmt.Println, func(args ...any) (int, error) {
		words := make([]any, len(args))
		for i, arg := range args {
			words[i] = strings.ReplaceAll(fmt.Sprint(arg), "hell", "*bleep*")
		}
		return fmt.Fprintln(os.Stdout, words...)
	})
	fmt.Println("what the hell?")
	p.Restore()
	fmt.Println("what the hell?")
}

func noDialling() {
	p := patas.Replace((*net.Dialer).DialContext,
		func(*net.Dialer, context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no dialling allowed")
		})
	defer p.Restore()
	_, err := http.Get("http://localhost/")
	fmt.Println(err)
}

type do = func(*http.Client, *http.Request) (*http.Response, error)

func onlyHTTPS() {
	p := patas.Wrap((*http.Client).Do, func(original do) do {
		return func(c *http.Client, r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" {
				return nil, errors.New("only https requests allowed")
			}
			return original(c, r)
		}
	})
	defer p.Restore()
	_, err := http.Get("http://localhost/")
	fmt.Println(err)
	_, err = http.Get("https://localhost:1/")
	fmt.Println("https goes to the original:",
		!strings.Contains(err.Error(), "allowed"))
}

func main() {
	defer func() {
		if reason := recover(); reason != nil {
			fmt.Fprintln(os.Stderr, reason)
			os.Exit(1)
		}
	}()
	doubleIndirection()
	replaced()
	bleeped()
	noDialling()
	onlyHTTPS()
	patas.RestoreAll()
	fmt.Println("all restored:", a(), patas.Live())
}

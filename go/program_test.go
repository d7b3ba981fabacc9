// SPDX-License-Identifier: MIT

package patas_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"

	"github.com/patas-dev/patas/go"
)

// work runs a good part of the standard library, and returns what came out.
func work() string {
	var out strings.Builder
	source, err := os.ReadFile("patas.go")
	if err != nil {
		panic(err)
	}
	file := token.NewFileSet()
	tree, err := parser.ParseFile(file, "patas.go", source, parser.ParseComments)
	fmt.Fprintln(&out, len(tree.Decls), err)
	formatted, err := format.Source(source)
	fmt.Fprintln(&out, bytes.Equal(formatted, source), err)

	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(bytes.Repeat(source, 10))
	w.Close()
	r, _ := gzip.NewReader(&packed)
	back, err := io.ReadAll(r)
	fmt.Fprintf(&out, "%x %v\n", sha256.Sum256(back), err)

	words := regexp.MustCompile(`[A-Za-z]+`).FindAllString(string(source), -1)
	sort.Strings(words)
	text, err := json.Marshal(map[string]any{"words": words, "n": 1.5})
	fmt.Fprintf(&out, "%x %v\n", sha256.Sum256(text), err)
	var decoded map[string]any
	fmt.Fprintln(&out, json.Unmarshal(text, &decoded), len(decoded))

	template.Must(template.New("").Parse(
		"{{range $i, $w := .}}{{if lt $i 9}}{{printf \"%q \" $w}}{{end}}{{end}}\n")).
		Execute(&out, words)
	f := big.NewInt(1)
	for i := int64(1); i < 400; i++ {
		f.Mul(f, big.NewInt(i))
	}
	fmt.Fprintln(&out, f)
	fetched(&out)
	shouted, err := exec.CommandContext(context.Background(), "echo", "x").Output()
	fmt.Fprintf(&out, "%q %v\n", shouted, err)
	return out.String()
}

func fetched(out io.Writer) {
	server := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "you asked for", r.URL.Path)
		}))
	defer server.Close()
	answer, err := server.Client().Get(server.URL + "/a/b")
	if err != nil {
		fmt.Fprintln(out, "failed")
		return
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	fmt.Fprintf(out, "%q %v\n", body, err)
}

// Every function of this program that can be patched is, each to go on to its
// original; what the program does stays the same.
func TestWholeProgramThroughItsOriginals(t *testing.T) {
	part, err := strconv.Atoi(os.Getenv("PATAS_PART")) // for emulators
	if err != nil || part < 1 {
		part = 1
	}
	want := work()
	count, refused, err := patas.PassThroughAll(part)
	defer patas.RestoreAll()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d functions patched", count)
	for _, reason := range patas.Reasons(refused) {
		t.Logf("%5d refused: %s", refused[reason], reason)
	}
	if count < 2000/part {
		t.Errorf("%d functions are less than this program has", count)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for k := 0; k < 3; k++ {
				if got := work(); got != want {
					t.Errorf("got %s\nwant %s", got, want)
				}
				runtime.GC()
			}
		}()
	}
	all.Wait()
	t.Logf("%d arrivals were carried by the trap handler", patas.Carried())
	if err := patas.RestoreAll(); err != nil {
		t.Fatal(err)
	}
	if names, patches := patas.Changed(); len(names) != 0 || patches != 0 {
		t.Errorf("%d patches live, and changed: %v", patches, names)
	}
	if got := work(); got != want {
		t.Error("restored, it is another program")
	}
}

func TestLayoutIsTheCompilers(t *testing.T) {
	for _, f := range []any{
		a, checked, leaf, variadic, (*account).add, account.show,
		fmt.Fprintf, os.OpenFile, http.NewRequestWithContext, sort.Search,
		json.Unmarshal, strings.Replace, big.NewInt, mixed, onStack, manyInts,
	} {
		if computed, recorded := patas.LayoutWidth(f); computed != recorded {
			t.Errorf("%T: %d computed, %d recorded", f, computed, recorded)
		}
	}
}

//go:noinline
func mixed(a int8, b float32, c struct {
	x int16
	y [1]string
}, d [2]int, e struct{}, f complex128) (bool, [3]byte, error) {
	use([]byte{byte(a)})
	return b > 0, [3]byte{}, nil
}

//go:noinline
func onStack(a [4]int, b string, c ...any) [2]string {
	use([]byte{byte(a[0])})
	return [2]string{b}
}

//go:noinline
func manyInts(a, b, c string, d []int, e, f, g int8) (h [9]int, i int) {
	use([]byte{byte(e)})
	return
}

// SPDX-License-Identifier: MIT

/*
Package patas replaces functions and methods of a Go program while it runs.

	func TestExpired(t *testing.T) {
		patas.During(t, time.Now, func() time.Time { return doomsday })
		...
	} // restored here

Every caller runs the replacement, whatever package and goroutine it is in. No
interface has to be invented for a test, and no code to be generated. It takes
no C compiler, no cgo, and nothing installed.

# Three doors

[During] and [WrapDuring] are for tests: they fail the test with the reason if
the function can't be replaced, and restore it when the test ends. [Replace] and
[Wrap] panic with the reason, [TryReplace] and [TryWrap] return it. The target
and its replacement have one type, and the compiler checks it.

	patas.Replace((*sql.DB).Ping, func(*sql.DB) error { return io.EOF })

A function that is not exported is named: [ByName].

# The original

[Patch.Original] is the function as it was before the patch: a func value like
any other, for calls, go and defer statements, and time.AfterFunc. [Wrap] gives
it to the replacement before the first call can come:

	patas.Wrap((*http.Client).Do, func(original do) do {
		return func(c *http.Client, r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" {
				return nil, errors.New("only https")
			}
			return original(c, r)
		}
	})

# Which calls

Options say which calls run the replacement: [Nth], [NthFrom], [NthTo], [Every],
[Times], [Probability] with a seed, and [When] a function of the arguments says
so; [InThisTest], [OnlyReceiver], [OnlyThisClosure]. [Count] counts those calls,
[Record] keeps their arguments. [Returns] and [Sequence] make replacements.

[CheckLeaks] fails a test that left a patch behind, [Main] a package's tests.

# Inlining

What the compiler has inlined has no calls that could be led elsewhere. patas
reads from the program's own tables where that was done, and refuses:

	cannot replace strings.HasPrefix: inlined at replace.go:246, search.go:73
	(+253); run go test -gcflags=all=-l, or mark it //go:noinline

# What is safe

Goroutines are not stopped, and may be anywhere in the function while it is
replaced or restored: only bytes that nobody can be caught between are written,
by one store. docs/safety.md has the whole of it.

One thing a replacement has to know: the compiler may have put what an argument
points to on the caller's stack, because it saw that the replaced function keeps
no pointer to it. A REPLACEMENT THAT KEEPS ONE READS GARBAGE LATER: copy what you
keep by strings.Clone, slices.Clone, *p, or let [Record] do that.

Refused are: the Go runtime; functions that are go:nosplit or in assembly;
intrinsics, such as math.Sqrt; methods of interfaces, but by
[ReplaceImplementers]; wrappers that the compiler makes for promoted methods;
what another library has patched.

It works on linux/amd64, linux/arm64 and linux/386, with Go 1.19 and newer. On
386, tests want -gcflags=all=-l -gcflags=runtime= instead of the first alone.
*/
package patas

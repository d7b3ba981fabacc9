// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/patas-dev/patas/go"
)

func main() {
	p := patas.Replace(time.Now, func() time.Time {
		return time.Unix(1234567890, 0).UTC()
	})
	fmt.Println(time.Now())
	fmt.Println(p.Original()().Year() > 2009)

	patas.Replace(strings.ToUpper, strings.ToLower, patas.When(
		func(s string) bool { return strings.HasSuffix(s, "!") }))
	fmt.Println(strings.ToUpper("Who"), strings.ToUpper("GOES THERE!"))
	patas.RestoreAll()
}

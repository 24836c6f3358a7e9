package ipc_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// TestSpecNames holds the names of codes and reasons against the tables of PROTOCOL.md, sections 8.1 and 8.3.
func TestSpecNames(t *testing.T) {
	text, err := os.ReadFile("../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([0-9]+) \| ([^|]+) \| [^|]*\|$`)
	for _, c := range []struct {
		section string
		rows    int
		name    func(n int) string
	}{
		{"### 8.1 Codes", 17, func(n int) string { return ipc.Code(n).String() }},
		{"### 8.3 Reasons", 10, func(n int) string { return ipc.Reason(n).String() }},
	} {
		_, section, _ := strings.Cut(string(text), "\n"+c.section+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		rows := row.FindAllStringSubmatch(section, -1)
		if len(rows) != c.rows {
			t.Errorf("%s: %d rows, want %d", c.section, len(rows), c.rows)
		}
		for n, m := range rows {
			if m[1] != fmt.Sprint(n) || m[2] != c.name(n) {
				t.Errorf("%s: %s is %s in the specification, %d is %s in the code", c.section, m[1], m[2], n, c.name(n))
			}
		}
	}
}

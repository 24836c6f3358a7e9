package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// cProgram compiles a program of the folder c, and returns what runs it and reads the number that it prints. It returns
// nil where there is no C compiler for a processor that the programs are written for.
func cProgram(b *testing.B, name string) func(args ...int) float64 {
	b.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		b.Log("no figures of C: there is no C compiler, cc")
		return nil
	}
	program := filepath.Join(b.TempDir(), name)
	if out, err := exec.Command(cc, "-O2", "-o", program, filepath.Join("c", name+".c")).CombinedOutput(); err != nil {
		b.Logf("no figures of C: %v\n%s", err, out)
		return nil
	}
	return func(args ...int) float64 {
		b.Helper()
		words := strings.Fields(strings.Trim(fmt.Sprint(args), "[]"))
		out, err := exec.Command(program, words...).Output()
		if err != nil {
			b.Fatalf("%s %v: %v", name, args, err)
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
}

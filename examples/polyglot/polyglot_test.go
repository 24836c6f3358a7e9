package main

import (
	"bytes"
	"log"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestPolyglot runs the example. Where a language is missing it is skipped, unless IPCGEN_INTEROP says that it is there.
func TestPolyglot(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the runtime has no pipes there yet")
	}
	if _, err := find(); err != nil {
		if os.Getenv("IPCGEN_INTEROP") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), log.New(&out, "", 0)); err != nil {
		t.Fatalf("%v, behind\n%s", err, &out)
	}
	for text, want := range map[string]int{
		"started: Python ":     2,
		"started: TypeScript ": 2,
		`TypeScript asks Go:         what is "meter"? the meter`: 2,
		"tells Go:        3000 samples of 3 sensors":             2,
		"the attic       0.6 °C ± 3.5 °C   |----------o":         2,
		`UnknownSensor{Sensor: "garage"}`:                        1,
		"UNAVAILABLE, not executed for certain: false":           1,
		"the summary is the same":                                1,
	} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
	if t.Failed() {
		t.Logf("the output:\n%s", &out)
	}
}

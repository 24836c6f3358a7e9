package protobuf_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConformance lets protobuf's own runner test what ipcgen generates and this package: see testdata/conformance.
func TestConformance(t *testing.T) {
	const variable, from = "IPCGEN_CONFORMANCE_RUNNER", "../../testdata/conformance"
	runner := os.Getenv(variable)
	if runner == "" {
		t.Skip(variable + " does not name protobuf's conformance_test_runner; testdata/conformance/fetch gets it")
	}
	testee := filepath.Join(t.TempDir(), "testee")
	if out, err := exec.Command("go", "build", "-o", testee, from+"/testee").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(runner, "--enforce_recommended", "--maximum_edition", "2023",
		"--text_format_failure_list", from+"/failing_text.txt", "--output_dir", t.TempDir(), testee)
	out, err := cmd.CombinedOutput()
	results := strings.Count(string(out), "CONFORMANCE SUITE PASSED")
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "CONFORMANCE SUITE") {
			t.Log(line)
		}
	}
	if err != nil || results != 2 { // one suite is for the wire format and JSON, the other for text
		t.Errorf("%d suites of 2 passed: %v\n%s", results, err, out)
	}
}

package ring

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// TestSpec compares the specification's table of a segment with where things are.
func TestSpec(t *testing.T) {
	spec, err := os.ReadFile("../../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("0x%03x 8 `% x` (`%s`)", atMagic, magic, magic),
		fmt.Sprintf("0x%03x 4 version of the layout: %d", atVersion, version),
		fmt.Sprintf("0x%03x 4 size of the header: %d", atHeader, HeaderSize),
		fmt.Sprintf("0x%03x 4 size of the ring", atSize),
		fmt.Sprintf("0x%03x 4 flags: 0", atFlags),
		fmt.Sprintf("0x%03x 16 session", atSession),
		fmt.Sprintf("0x%03x 4 side: 0", atSide),
		fmt.Sprintf("0x%03x 4 `tail`", atTail),
		fmt.Sprintf("0x%03x 4 `head`", atHead),
		fmt.Sprintf("0x%03x 4 `rx_wait`", atRxWait),
		fmt.Sprintf("0x%03x 4 `tx_wait`", atTxWait),
		fmt.Sprintf("0x%03x 4 `tx_wake_at`", atWakeAt),
		fmt.Sprintf("0x%03x 4 `freed`", atFreed),
		fmt.Sprintf("0x%03x 4 `taken`", atTaken),
		fmt.Sprintf("0x%03x %d `free`", atFree, 4*returnsSize),
		fmt.Sprintf("0x%03x  the ring", HeaderSize),
	}
	rows := regexp.MustCompile(`(?m)^\| (0x[0-9a-f]{3,4}) \| ?([0-9]*) \| ([^|:]+(?:: [0-9]+)?)[^|]*\|[^|]*\|[^|]*\|$`).FindAllSubmatch(spec, -1)
	if len(rows) != len(want) {
		t.Fatalf("the table has %d rows, want %d", len(rows), len(want))
	}
	for i, row := range rows {
		got := regexp.MustCompile(` +$`).ReplaceAllString(fmt.Sprintf("%s %s %s", row[1], row[2], row[3]), "")
		if got != want[i] {
			t.Errorf("row %d is %q, want %q", i, got, want[i])
		}
	}
}

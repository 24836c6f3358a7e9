package session

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// limitRow is a row of the table of PROTOCOL.md, section 3: the limit, its values for the same user and for another, and the
// least there may be.
var limitRow = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]*)\| [^|]+ \|$`)

// size writes a number of bytes as the specification does.
func size(n int) string {
	for _, u := range []struct {
		bytes int
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprint(n/u.bytes, " ", u.name)
		}
	}
	return fmt.Sprint(n)
}

func seconds(d time.Duration) string { return fmt.Sprint(d.Seconds(), " s") }

// TestSpecLimits holds the defaults, and the least that is taken, against the specification's table.
func TestSpecLimits(t *testing.T) {
	text, err := os.ReadFile("../../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## 3. Limits\n")
	section, _, _ = strings.Cut(section, "\n## 4.")
	rows := map[string][]string{}
	for _, m := range limitRow.FindAllStringSubmatch(section, -1) {
		name, _, _ := strings.Cut(m[1], ":")
		rows[name] = []string{m[2], m[3], strings.TrimSpace(m[4])}
	}
	least := Limits{MaxFrame: 1, MaxMessage: 1, Slots: 1, Window: 1, Ring: 1, PeerRing: 1, Arena: 1, PeerArena: 1}.withDefaults(true)
	for _, l := range []struct {
		name string
		of   func(Limits) string
		less bool // the table has the least
	}{
		{"max_frame", func(l Limits) string { return size(l.MaxFrame) }, true},
		{"max_message", func(l Limits) string { return size(l.MaxMessage) }, true},
		{"max_slots", func(l Limits) string { return fmt.Sprint(l.Slots) }, true},
		{"window", func(l Limits) string { return size(l.Window) }, true},
		{"raised windows of a session, above the initial ones", func(l Limits) string { return size(l.Raised) }, false},
		{"large messages of a session that are put together or not yet taken", func(l Limits) string { return size(l.Assembly) }, false},
		{"metadata of a call, trailers of a STATUS", func(l Limits) string {
			return strings.Replace(fmt.Sprintf("%d entries, %s", l.Metadata.Entries, size(l.Metadata.Bytes)), "32 entries", "32", 1)
		}, false},
		{"nesting of messages", func(l Limits) string { return fmt.Sprint(l.Depth) }, false},
		{"ring of shared memory, this side's", func(l Limits) string { return size(l.Ring) }, true},
		{"ring of shared memory, the peer's", func(l Limits) string { return size(l.PeerRing) }, true},
		{"the peer's preface and HELLO, and the frames of section 13.1", func(l Limits) string { return seconds(l.Handshake) }, false},
		{"a write that makes no progress", func(l Limits) string { return seconds(l.Stall) }, false},
		{"running calls, when a side is shut down", func(l Limits) string { return seconds(l.Grace) }, false},
	} {
		want := []string{l.of(trusted), l.of(untrusted), ""}
		if l.less {
			want[2] = l.of(least)
		}
		got := rows[l.name]
		if l.name == "large messages of a session that are put together or not yet taken" && len(got) == 3 {
			got[2] = "" // max_message
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the specification has %q, the code %q", l.name, got, want)
		}
	}
}

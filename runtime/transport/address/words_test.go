package address

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"cat":                        {"cat"},
		"  cat \t -n  ":              {"cat", "-n"},
		`a 'b c' "d e"`:              {"a", "b c", "d e"},
		`a'b'"c"d`:                   {"abcd"},
		`a '' ""`:                    {"a", "", ""},
		`a\ b \'c\' \\`:              {"a b", "'c'", `\`},
		`a "\"q\" \\ \n" '\n "'`:     {"a", `"q" \ \n`, `\n "`},
		"python3 -c 'print(\"x\")'":  {"python3", "-c", `print("x")`},
		"caf\u00e9 \xff\xfe":         {"caf\u00e9", "\xff\xfe"},
		`/opt/my\ program/bin --a=b`: {"/opt/my program/bin", "--a=b"},
	} {
		if got, err := words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("words(%q) = %q, %v, want %q", line, got, err, want)
		}
	}
}

// FuzzWords: what is quoted comes back as it was, by either way of quoting.
func FuzzWords(f *testing.F) {
	f.Add("cat\x00-n")
	f.Add("it's\x00\"\\ \t\x00\xff")
	f.Fuzz(func(t *testing.T, joined string) {
		argv := strings.Split("x"+joined, "\x00")
		var single, double []string
		for _, word := range argv {
			single = append(single, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
			double = append(double, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word)+`"`)
		}
		for _, quoted := range [][]string{single, double} {
			line := strings.Join(quoted, " ")
			if got, err := words(line); err != nil || !slices.Equal(got, argv) {
				t.Fatalf("words(%q) = %q, %v, want %q", line, got, err, argv)
			}
		}
		words(joined) // whatever it is
	})
}

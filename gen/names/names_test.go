package names_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl/diag"
)

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                  nil,
		"echo":              {"echo"},
		"say_hello":         {"say", "hello"},
		"SayHello":          {"Say", "Hello"},
		"HTTPServer_v2Name": {"HTTP", "Server", "v2", "Name"},
		"echo.v1.Say":       {"echo", "v1", "Say"},
		"_a__b_":            {"a", "b"},
		"ABC":               {"ABC"},
		"aB":                {"a", "B"},
		"x2Y":               {"x2", "Y"},
	} {
		if got := names.Words(in); !slices.Equal(got, want) {
			t.Errorf("Words(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLowerFirst(t *testing.T) {
	for in, want := range map[string]string{"": "", "HTTPServer": "httpServer", "Echo": "echo", "x": "x", "_": "_"} {
		if got := names.LowerFirst(in); got != want {
			t.Errorf("LowerFirst(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestScope(t *testing.T) {
	var s names.Scope
	var wrong diag.List
	first := names.Owner{What: "message a", Pos: diag.Position{File: "a.proto", Line: 1, Column: 9}}
	second := names.Owner{What: "message b", Pos: diag.Position{File: "b.proto", Line: 2, Column: 9}}
	s.Claim("A", first, &wrong)
	if !s.Taken("A") || s.Taken("B") || len(wrong) != 0 {
		t.Fatalf("one claim: %v", wrong)
	}
	s.Claim("A", second, &wrong)
	if len(wrong) != 1 || wrong[0].Pos != second.Pos || len(wrong[0].See) != 1 || wrong[0].See[0].Pos != first.Pos {
		t.Fatalf("a second claim: got %v, want an error at the second that shows the first", wrong)
	}
	if text := wrong[0].Text; !strings.Contains(text, "message a") || !strings.Contains(text, "message b") {
		t.Errorf("the error is %q, want both named", text)
	}
}

package idl

import "testing"

func TestMethodID(t *testing.T) {
	// printf echo.v1.Echo/Say | sha256sum, its first 16 digits read from the right in pairs
	if got, want := MethodID("echo.v1.Echo/Say"), uint64(0x2f5219e2a47ec74a); got != want {
		t.Errorf("MethodID = %#x, want %#x", got, want)
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Bidi.String(), "bidi"},
		{Oneway.String(), "oneway"},
		{ServerStream.String(), "server stream"},
		{Required.String(), "required"},
		{KindSint64.String(), "sint64"},
		{Kind(0).String(), "idl.Kind(0)"},
		{Shape(9).String(), "idl.Shape(9)"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

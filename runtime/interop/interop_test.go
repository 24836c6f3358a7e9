//go:build unix

package interop

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// A pairing is who calls whom over what.
type pairing struct {
	server, client *language
	transport      string
}

// A testCase is one thing that must hold in every pairing.
type testCase struct {
	feature, name string
	run           func(t *testing.T, v *visit)
	// Own gives the case a session of its own, since it ends it; so do options. Fresh gives it testees of its own, since
	// it ends one of them.
	own, fresh bool
	options    *interopv1.Options
}

// rawFeatures are those of the cases in which the suite itself is the peer.
var rawFeatures = []string{"handshake", "version skew", "broken peers"}

// cases are all of them, by what a language must support for them. Most of them share a session, so that it is seen to
// survive them.
var cases = slices.Concat(messageCases, callCases, errorCases, streamCases, pressureCases, bothCases, endCases)

func TestInterop(t *testing.T) {
	if len(cases) < 44 {
		t.Errorf("there are %d cases", len(cases))
	}
	there, missing := languages(t)
	for name, why := range missing {
		t.Run(name, func(t *testing.T) { t.Skip(why) })
	}
	for _, server := range there {
		for _, client := range there {
			for _, transport := range transports {
				t.Run(fmt.Sprintf("%s from %s over %s", server.name, client.name, transport), func(t *testing.T) {
					t.Parallel()
					pairing{server, client, transport}.test(t)
				})
			}
		}
	}
	for _, l := range there {
		t.Run(l.name+" from a raw peer", func(t *testing.T) {
			t.Parallel()
			testRaw(t, l)
		})
	}
}

// lacks says which language does not have a feature.
func (p pairing) lacks(feature string) string {
	for _, l := range []*language{p.server, p.client} {
		if !l.has(feature) {
			return l.name
		}
	}
	return ""
}

func (p pairing) test(t *testing.T) {
	if l := p.lacks(p.transport); l != "" {
		t.Skipf("%s does not have %s", l, p.transport)
	}
	if p.transport == "shm" && (runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64") {
		t.Skip("there is no shared memory on this system")
	}
	shared := newVisit(t, p)
	for _, c := range cases {
		t.Run(c.feature+"/"+c.name, func(t *testing.T) {
			if l := p.lacks(c.feature); l != "" {
				t.Skipf("%s does not have %s", l, c.feature)
			}
			v := shared
			switch {
			case c.fresh:
				v = newVisit(t, p)
			case c.own || c.options != nil:
				v = shared.another(t, c.options)
			}
			c.run(t, v)
			if !c.fresh && !c.own {
				v.lives(t)
			}
		})
	}
}

package wkt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// NewFieldMask returns a mask of fields of message, whose content does not matter: "name", "owner.name". It fails as
// CheckValid does.
func NewFieldMask(message codec.Message, paths ...string) (*FieldMask, error) {
	m := &FieldMask{Paths: paths}
	if err := m.CheckValid(message); err != nil {
		return nil, err
	}
	return m, nil
}

// CheckValid returns an error unless each path goes to a field of message: by the names in the schema, through messages
// that are neither in a list nor in a map.
func (m *FieldMask) CheckValid(message codec.Message) error {
	for _, path := range m.GetPaths() {
		if !codec.HasPath(message, path) {
			return fmt.Errorf("field mask: %q is not a field of %s", path, codec.FullName(message))
		}
	}
	return nil
}

// Normalize sorts the paths and removes those that another one covers: "owner" covers "owner.name".
func (m *FieldMask) Normalize() {
	slices.Sort(m.Paths)
	kept := m.Paths[:0]
	for _, path := range m.Paths {
		if len(kept) == 0 || !covers(kept[len(kept)-1], path) {
			kept = append(kept, path)
		}
	}
	m.Paths = kept
}

// covers says that path is outer, or goes through it.
func covers(outer, path string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.')
}

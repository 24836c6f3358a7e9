// Package templates holds the text of what generators lay out by templates: a folder a language. The generator's view
// decides what is said, the template how it looks.
package templates

import "embed"

// Python has the templates of gen/python.
//
//go:embed python
var Python embed.FS

// TypeScript has the templates of gen/typescript.
//
//go:embed typescript
var TypeScript embed.FS

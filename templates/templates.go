// Package templates holds the text of what generators lay out by templates: a folder a language. The generator's view
// decides what is said, the template how it looks.
package templates

import "embed"

// TypeScript has the templates of gen/typescript.
//
//go:embed typescript
var TypeScript embed.FS

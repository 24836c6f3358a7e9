// Package interop is the conformance suite: programs in every language call each other over every transport. README.md
// says what a language brings for it. There is nothing in the package but tests, which need a Unix system.
package interop

// Package golang generates Go: for each .proto file one file that holds its messages, enums, extensions and services.
//
// The code imports the runtime and the standard library, nothing of protobuf. What users wrote is data here: comments
// go out behind our own markers, names through a names.Scope, imports through the printer's table of imports.
package golang

import (
	"runtime"
	"sync"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// The packages that generated code is built on.
const (
	codecPath = "github.com/ipcgen/ipcgen/runtime/codec"
	ipcPath   = "github.com/ipcgen/ipcgen/runtime/ipc"
	wktPath   = "github.com/ipcgen/ipcgen/runtime/wkt"
)

// Generator generates Go. It has no settings: there is one shape.
type Generator struct{}

var _ gen.Generator = Generator{}

// Generate returns one file for each .proto file asked for: "echo/v1/echo.proto" gives "echo/v1/echo.ipc.go". A
// name that would tie the file to a platform, as robot_arm.proto's, gets an underscore: "robot_arm_.ipc.go".
//
// A file's Go import path is what req.ImportPath says, else the option go_package; both may name the package behind a
// semicolon. Files of google/protobuf that are not mapped one by one are in the runtime.
func (Generator) Generate(req *gen.Request) ([]gen.File, error) {
	var wrong diag.List
	p := newProgram(req, &wrong)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	return p.emit(req.Schema)
}

// emit generates the files that are asked for, as many at once as there are processors.
func (p *program) emit(schema *idl.Schema) ([]gen.File, error) {
	var asked []*idl.File
	for _, f := range schema.Files {
		if f.Asked {
			asked = append(asked, f)
		}
	}
	files := make([]gen.File, len(asked))
	errs := make([]error, len(asked))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(asked)) {
		wg.Go(func() {
			for i := range next {
				files[i], errs[i] = p.file(asked[i])
			}
		})
	}
	for i := range asked {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// messageTree prints a message and what is declared in it.
func (w *printer) messageTree(m *idl.Message) {
	if m.MapEntry {
		return
	}
	w.message(w.messages[m])
	for _, e := range m.Enums {
		w.enum(e)
	}
	for _, inner := range m.Messages {
		w.messageTree(inner)
	}
	w.extensions(m.Extensions)
}

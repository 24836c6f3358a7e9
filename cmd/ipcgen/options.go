package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ipcgen/ipcgen/idl/load"
)

const optionsFile = "ipcgen/v1/options.proto"

func optionsCommand() *cli.Command {
	return &cli.Command{
		Name:      "options",
		Usage:     "print ipcgen/v1/options.proto, or write it below DIR",
		UsageText: "ipcgen options [DIR]",
		Description: `ipcgen itself has the file built in: importing "ipcgen/v1/options.proto" needs no copy. protoc, buf and editors do:

A copy that an earlier version wrote is replaced; any other file of its name is not.

EXAMPLES:
   ipcgen options                 print it
   ipcgen options third_party     write third_party/ipcgen/v1/options.proto`,
		Action: func(c *cli.Context) error {
			if c.Args().Len() > 1 {
				return usagef("options takes at most one DIR")
			}
			text, err := fs.ReadFile(load.Include(), optionsFile)
			if err != nil {
				return err
			}
			if dir := c.Args().First(); dir != "" {
				return writeOptions(dir, text)
			}
			_, err = c.App.Writer.Write(text)
			return err
		},
	}
}

// writeOptions writes the file below dir, over a copy of any version, which is told by its package.
func writeOptions(dir string, text []byte) error {
	name := filepath.Join(dir, filepath.FromSlash(optionsFile))
	old, err := os.ReadFile(name)
	switch {
	case err == nil && !bytes.Contains(old, []byte("\npackage ipcgen.v1;")):
		return fmt.Errorf("options: %s is not a copy of ipcgen's and is not overwritten; remove it, or choose another DIR", name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("options: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	if err := os.WriteFile(name, text, 0o666); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	return nil
}

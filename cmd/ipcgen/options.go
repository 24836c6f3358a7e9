package main

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ipcgen/ipcgen/idl/load"
)

func optionsCommand() *cli.Command {
	return &cli.Command{
		Name:      "options",
		Usage:     "print ipcgen/v1/options.proto, or write it below DIR",
		UsageText: "ipcgen options [DIR]",
		Description: `ipcgen itself has the file built in: importing "ipcgen/v1/options.proto" needs no copy. protoc, buf and editors do:

EXAMPLES:
   ipcgen options                 print it
   ipcgen options third_party     write third_party/ipcgen/v1/options.proto`,
		Action: func(c *cli.Context) error {
			if c.Args().Len() > 1 {
				return usagef("options takes at most one DIR")
			}
			if dir := c.Args().First(); dir != "" {
				return writeOptions(dir)
			}
			text, err := fs.ReadFile(load.Include(), "ipcgen/v1/options.proto")
			if err == nil {
				_, err = c.App.Writer.Write(text)
			}
			return err
		},
	}
}

func writeOptions(dir string) error {
	if err := os.CopyFS(dir, load.Include()); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	return nil
}

package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// bashCompletion asks the program itself what may come next.
const bashCompletion = `_ipcgen() {
  local words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _ipcgen ipcgen
`

func completionCommand() *cli.Command {
	scripts := map[string]func(*cli.App) (string, error){
		"bash": func(*cli.App) (string, error) { return bashCompletion, nil },
		"zsh": func(*cli.App) (string, error) {
			return "autoload -U compinit bashcompinit\ncompinit\nbashcompinit\n" + bashCompletion, nil
		},
		"fish": (*cli.App).ToFishCompletion,
	}
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that completes ipcgen's commands in a shell",
		UsageText: "ipcgen completion bash|zsh|fish",
		Description: `EXAMPLES:
   source <(ipcgen completion bash)          in ~/.bashrc
   source <(ipcgen completion zsh)           in ~/.zshrc
   ipcgen completion fish | source           in ~/.config/fish/config.fish`,
		Action: func(c *cli.Context) error {
			script := scripts[c.Args().First()]
			if script == nil {
				return usagef("which shell? ipcgen completion bash, zsh or fish")
			}
			text, err := script(c.App)
			if err == nil {
				_, err = fmt.Fprintln(c.App.Writer, strings.TrimRight(text, "\n"))
			}
			return err
		},
	}
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A server is a child process that serves.
type server struct {
	address string // to dial
	cmd     *exec.Cmd
	stdin   io.Closer
	killed  bool
}

// with starts program as a server at address, does something with it, and ends it.
func with(ctx context.Context, program, address string, do func(*server) error) error {
	s, err := start(ctx, program, address)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.stop())
}

// start starts program as a server at address and returns when it listens.
func start(ctx context.Context, program, address string) (*server, error) {
	cmd := exec.CommandContext(ctx, program, "serve", address)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Cancel, cmd.WaitDelay = stdin.Close, 5*time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, stdin: stdin}
	if s.address, err = bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, errors.Join(errors.New("the server did not start"), s.stop())
	}
	s.address = strings.TrimSpace(s.address)
	return s, nil
}

// stop ends the server, which finishes its calls first. One that was killed needs no ending.
func (s *server) stop() error {
	s.stdin.Close()
	if err := s.cmd.Wait(); err != nil && !s.killed {
		return err
	}
	return nil
}

func (s *server) kill() error {
	s.killed = true
	return s.cmd.Process.Kill()
}

// runServer is the server process. It ends when its stdin does, and so not later than the process that started it. Over
// "stdio:" that is what the session does anyway: stdin and stdout are its own.
func runServer(ctx context.Context, address string) error {
	if address == "stdio:" {
		return serve(ctx, address, func(string) {})
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return serve(ctx, address, func(address string) { fmt.Println(address) })
}

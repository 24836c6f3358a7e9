//go:build unix

package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// grace is how long a child may run on after its stdin was closed before it is killed, and how long its exit status is
// waited for once it has closed its stdout.
const grace = 5 * time.Second

// child is a Conn to a process that this one started.
type child struct {
	transport.Conn
	transport.TryWriter
	cmd    *exec.Cmd
	exited chan struct{}
	once   sync.Once
}

// Exec starts a program whose stdin and stdout are the session; its stderr is stderr. Closing the Conn closes them,
// waits 5 s for the program to end, and then kills it. The program speaks on "stdio:".
func Exec(ctx context.Context, argv []string, stderr io.Writer) (transport.Conn, error) {
	address := "exec:" + argv[0]
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	theirIn, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	r, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		w.Close()
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, stderr
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		r.Close()
		w.Close()
		return nil, fmt.Errorf("%s: starting it: %w", address, err)
	}
	c := &child{cmd: cmd, exited: make(chan struct{})}
	go func() {
		cmd.Wait() // the state is in cmd
		close(c.exited)
	}()
	inner, err := newConn(address, r, w)
	if err != nil {
		cmd.Process.Kill()
		<-c.exited
		return nil, err
	}
	c.Conn, c.TryWriter = inner, inner.(transport.TryWriter)
	return c, nil
}

// Read tells how the child ended, where it ended badly.
func (c *child) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil || !errors.Is(err, io.EOF) {
		return n, err
	}
	select {
	case <-c.exited:
	case <-time.After(grace):
		return n, err
	}
	if c.cmd.ProcessState.Success() {
		return n, err
	}
	return n, fmt.Errorf("%s ended: %v: %w", c.Peer().Address, c.cmd.ProcessState, err)
}

// Peer is the child.
func (c *child) Peer() transport.Peer {
	p := c.Conn.Peer()
	p.Identified, p.PID, p.UID, p.GID = true, c.cmd.Process.Pid, os.Getuid(), os.Getgid()
	return p
}

// Close does not wait for the child; a goroutine does, for the grace.
func (c *child) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		go func() {
			timer := time.NewTimer(grace)
			defer timer.Stop()
			select {
			case <-c.exited:
			case <-timer.C:
				c.cmd.Process.Kill()
			}
		}()
	})
	return err
}

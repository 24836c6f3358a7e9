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
	*conn
	cmd    *exec.Cmd
	exited chan struct{} // closed when the state is in cmd
	// exit ends with the child: a pipe, so that Read can wait for it as it waits for bytes, within its deadline and
	// until Close.
	exit    ends
	leaving sync.Once
}

// Exec starts a program whose stdin and stdout are the session; its stderr is stderr. Closing the Conn closes them,
// gives the program 5 s to end, and then kills it; nobody does where this process ends before. The program speaks on
// "stdio:". Once it has ended, Read's error says how, where that was not well.
func Exec(ctx context.Context, argv []string, stderr io.Writer) (transport.Conn, error) {
	address := "exec:" + argv[0]
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	var in, out, exit ends
	fail := func(err error) (transport.Conn, error) {
		in.close()
		out.close()
		exit.close()
		return nil, fmt.Errorf("%s: starting it: %w", address, err)
	}
	for _, e := range []*ends{&in, &out, &exit} {
		var err error
		if e.r, e.w, err = os.Pipe(); err != nil {
			return fail(err)
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in.r, out.w, stderr
	cmd.WaitDelay = grace // for its own children that have its stderr still
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	in.r.Close()
	out.w.Close()
	c := &child{cmd: cmd, exited: make(chan struct{}), exit: exit}
	go func() {
		cmd.Wait()
		close(c.exited)
		exit.w.Close()
	}()
	peer := transport.Peer{Address: address, Identified: true, PID: cmd.Process.Pid, UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
	var err error
	if c.conn, err = newConn(peer, out.r, in.w); err != nil {
		cmd.Process.Kill()
		exit.r.Close()
		return nil, err
	}
	return c, nil
}

// Read tells how the child ended, where it ended badly.
func (c *child) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	if err != io.EOF {
		return n, err
	}
	impatient := time.AfterFunc(grace, func() { c.exit.w.Close() }) // it closed its stdout and runs on
	defer impatient.Stop()
	if _, err := c.exit.r.Read(make([]byte, 1)); err != io.EOF {
		return n, c.failed(err)
	}
	select {
	case <-c.exited:
		if !c.cmd.ProcessState.Success() {
			return n, fmt.Errorf("%s ended: %v: %w", c.peer.Address, c.cmd.ProcessState, io.EOF)
		}
	default:
	}
	return n, io.EOF
}

// SetReadDeadline is transport.Conn's.
func (c *child) SetReadDeadline(t time.Time) error {
	return errors.Join(c.conn.SetReadDeadline(t), c.exit.r.SetReadDeadline(t))
}

// Close does not wait for the child; a goroutine does, for the grace.
func (c *child) Close() (err error) {
	c.leaving.Do(func() {
		c.exit.r.Close() // first: a Read is not to see the child end for want of stdin
		err = c.conn.Close()
		go c.killAfter(grace)
	})
	return err
}

// Kill is transport.Killer's.
func (c *child) Kill() {
	c.cmd.Process.Kill()
	c.Close()
}

func (c *child) killAfter(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		c.cmd.Process.Kill()
	}
}

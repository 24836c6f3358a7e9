package socket_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ipcgen/ipcgen/runtime/transport/socket"
)

// roles are what the test binary does when it is started as a child, by the value of roleVar. The argument is a path.
// Each says one line on stdout about how it went and goes on until its stdin ends.
var roles = map[string]func(path string) error{
	"listen": func(path string) error {
		_, err := socket.ListenUnix(context.Background(), path)
		return err
	},
	"listen and accept": func(path string) error {
		l, err := socket.ListenUnix(context.Background(), path)
		if err == nil {
			go l.Accept(context.Background())
		}
		return err
	},
	"dial": func(path string) error {
		_, err := socket.DialUnix(context.Background(), path)
		return err
	},
}

const (
	roleVar = "IPCGEN_SOCKET_TEST_ROLE"
	well    = "well"
)

func TestMain(m *testing.M) {
	role := roles[os.Getenv(roleVar)]
	if role == nil {
		goleak.VerifyTestMain(m)
		return
	}
	if gate := os.NewFile(3, "gate"); os.Getenv(roleVar+"_GATE") != "" {
		io.ReadAll(gate)
	}
	if err := role(os.Args[1]); err != nil {
		fmt.Println(err)
	} else {
		fmt.Println(well)
	}
	io.ReadAll(os.Stdin)
}

// A child is a process in one of the roles.
type child struct {
	*exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

// start starts a child that ends with the test at the latest. Change may be nil.
func start(t *testing.T, role, path string, change func(*exec.Cmd)) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, path)
	cmd.Env = append(os.Environ(), roleVar+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	return &child{cmd, stdin, bufio.NewReader(out)}
}

// said returns what the child says about how it went.
func (c *child) said(t *testing.T) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	return strings.TrimSpace(line)
}

// kill ends the child as a crash would.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
}

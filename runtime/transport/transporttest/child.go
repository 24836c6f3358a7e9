package transporttest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// A Role is what the test binary does when it is started as a child. It says on stdout, by one line, how it went, and
// then goes on until its stdin ends, with what it returned. The argument is what Start was given.
type Role func(arg string) (keep any, err error)

const (
	roleVar = "IPCGEN_TEST_ROLE"
	gateVar = "IPCGEN_TEST_GATE"
	// Well is what a child says whose role returned no error.
	Well = "well"
)

// Main is the TestMain of a package that has roles.
func Main(m *testing.M, roles map[string]Role) {
	name := os.Getenv(roleVar)
	if name == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if os.Getenv(gateVar) != "" {
		io.ReadAll(os.NewFile(3, "gate"))
	}
	keep, err := roles[name](os.Args[1])
	if err != nil {
		fmt.Println(err)
	} else {
		fmt.Println(Well)
	}
	io.ReadAll(os.Stdin)
	runtime.KeepAlive(keep)
}

// Environ is the environment of a child in a role. The race detector is not to sleep at the child's end.
func Environ(role string) []string {
	return append(os.Environ(), roleVar+"="+role, "GORACE=atexit_sleep_ms=0")
}

// A Child is a process in a role. It ends with the test at the latest.
type Child struct {
	*exec.Cmd
	out *bufio.Reader
}

// Start starts a child. Change, which may be nil, changes how.
func Start(t *testing.T, role, arg string, change func(*exec.Cmd)) *Child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, arg)
	cmd.Env = Environ(role)
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
	return &Child{cmd, bufio.NewReader(out)}
}

// StartAtOnce starts n children that begin their role at the same moment, and returns what each says.
func StartAtOnce(t *testing.T, n int, role, arg string) []string {
	t.Helper()
	gate, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	children := make([]*Child, n)
	for i := range children {
		children[i] = Start(t, role, arg, func(cmd *exec.Cmd) {
			cmd.Env = append(cmd.Env, gateVar+"=1")
			cmd.ExtraFiles = []*os.File{gate}
		})
	}
	gate.Close()
	open.Close()
	said := make([]string, n)
	for i, c := range children {
		said[i] = c.Said(t)
	}
	return said
}

// Said returns what the child says about how it went.
func (c *Child) Said(t *testing.T) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	return strings.TrimSpace(line)
}

// Crash ends the child as a crash would, and waits until it has ended.
func (c *Child) Crash(t *testing.T) {
	t.Helper()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
}

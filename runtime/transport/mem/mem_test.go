package mem_test

import (
	"os"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/mem"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func TestTransport(t *testing.T) {
	self := transport.Peer{Address: "mem:", Identified: true, PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
	transporttest.Run(t, transporttest.Transport{
		Pair: func() (a, b transport.Conn, err error) {
			a, b = mem.Pair()
			return a, b, nil
		},
		Dialed: self, Accepted: self,
	})
}

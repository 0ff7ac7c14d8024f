// migrate_server.c in Go: one process, N listeners with SO_REUSEPORT, a goroutine a connection.
//
// usage: migrate_server [--gen ID] [--workers N] [--network tcp4|tcp6|tcp] [--addr HOST] PORT
// Prints "ready PID" when it listens; ends by SIGTERM when what is accepted is finished.
// Go listens with MPTCP by default since 1.24; GODEBUG=multipathtcp=0 says no.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	head      = 27
	reusePort = 15
)

var (
	gen     = flag.String("gen", "-", "")
	workers = flag.Int("workers", 4, "")
	network = flag.String("network", "tcp4", "")
	addr    = flag.String("addr", "127.0.0.1", "")
)

func serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(50 * time.Second))
	request := make([]byte, head, head+1024)
	if _, err := io.ReadFull(c, request); err != nil {
		return
	}
	n, err := strconv.ParseUint(string(request[22:26]), 16, 16)
	if err != nil || n > 1024 {
		return
	}
	body := request[head : head+int(n)]
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	for i := range body {
		body[i] ^= 0x5a
	}
	c.Write(append([]byte(fmt.Sprintf("%s %-15s %010d\n", request[5:21], *gen, os.Getpid())), body...))
}

func main() {
	flag.Parse()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1)
		})
		return err
	}}
	var listeners []net.Listener
	var serving sync.WaitGroup
	for i := 0; i < *workers; i++ {
		l, err := config.Listen(context.Background(), *network, net.JoinHostPort(*addr, flag.Arg(0)))
		if err != nil {
			fmt.Fprintln(os.Stderr, "migrate_server.go:", err)
			os.Exit(1)
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		serving.Add(1)
		go func(l net.Listener) {
			defer serving.Done()
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Add(1)
				go func() {
					defer serving.Done()
					serve(c)
				}()
			}
		}(l)
	}
	fmt.Println("ready", os.Getpid())
	<-end
	for _, l := range listeners {
		l.Close()
	}
	serving.Wait()
}

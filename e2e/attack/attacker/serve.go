package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
)

// heard is what arrived at the listeners, and how often.
var heard = struct {
	sync.Mutex
	texts map[string]int
}{texts: map[string]int{}}

// maxTexts is how many different texts are remembered.
const maxTexts = 10_000

func remember(text string) {
	heard.Lock()
	defer heard.Unlock()
	if len(heard.texts) < maxTexts {
		heard.texts[text]++
	}
}

func takeHeard() map[string]int {
	heard.Lock()
	defer heard.Unlock()
	texts := heard.texts
	heard.texts = map[string]int{}
	return texts
}

// serve answers lines on TCP and datagrams on UDP with the container's name
// and what was said.
func serve(addr string) error {
	listener, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp4", addr)
	if err != nil {
		return err
	}
	go serveTCP(listener)
	go serveUDP(packets)
	return nil
}

func serveTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			slog.Error("Cannot accept any more", "error", err)
			os.Exit(1)
		}
		go func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				remember(lines.Text())
				if _, err := fmt.Fprintln(conn, os.Getenv("CONTAINER"), lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

func serveUDP(packets net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := packets.ReadFrom(buf)
		if err != nil {
			slog.Warn("Cannot read a datagram", "error", err)
			continue
		}
		text := strings.TrimSpace(string(buf[:n]))
		remember(text)
		if _, err := packets.WriteTo([]byte(os.Getenv("CONTAINER")+" "+text), from); err != nil {
			slog.Warn("Cannot answer a datagram", "error", err)
		}
	}
}

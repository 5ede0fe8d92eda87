package tlsterm

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"wsproxy/internal/sock"
	"wsproxy/internal/splice"
)

// Connections that wait for a listener are accepted by the one that succeeds it.
func TestSuccessorHasTheQueue(t *testing.T) {
	engine, err := splice.New(splice.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, home := range map[string]func() sock.Home{"nowhere": nil, "in a loop": engine.Home()} {
		t.Run(name, func(t *testing.T) {
			first, err := Listen("127.0.0.1:0", Config{Home: home})
			if err != nil {
				t.Fatal(err)
			}
			const n = 20
			var clients []net.Conn
			for range n {
				clients = append(clients, dial(t, first.Addr().String()))
			}
			second, err := first.Succeed(Config{Home: home, HTTPSPort: 443})
			if err != nil {
				t.Fatal(err)
			}
			defer second.Close()
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if err := first.Close(); err != nil {
				t.Errorf("second Close = %v", err)
			}
			clients = append(clients, dial(t, first.Addr().String()))
			for i, client := range clients {
				conn, err := second.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if port := conn.(interface{ HTTPSPort() int }).HTTPSPort(); port != 443 {
					t.Errorf("connection %d has port %d, want the successor's", i, port)
				}
				go func() {
					_, _ = io.WriteString(conn, "x")
					conn.Close()
				}()
				if b, err := io.ReadAll(client); err != nil || string(b) != "x" {
					t.Errorf("client %d reads %q, %v", i, b, err)
				}
			}
		})
	}
}

func TestSuccessorMayHaveTLS(t *testing.T) {
	first, err := Listen("127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.Succeed(Config{Certs: selfSigned(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	shaken := make(chan error, 1)
	go func() {
		conn, err := second.Accept()
		if err == nil {
			err = conn.(Conn).Handshake()
			defer conn.Close()
		}
		shaken <- err
	}()
	client, err := tls.Dial("tcp", second.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-shaken; err != nil {
		t.Error(err)
	}
}

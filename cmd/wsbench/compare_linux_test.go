package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func init() {
	children["run"] = fakeProxy
	children["stubborn"] = stubborn
}

// fakeProxy stands for a wsproxy: it relays both ports of its configuration to the backend. It refuses a
// configuration with an engine.
func fakeProxy(args []string) {
	config, err := os.ReadFile(args[1]) // run -c CONFIG
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if strings.Contains(string(config), "engine:") {
		fmt.Fprintln(os.Stderr, "error: unknown key engine")
		os.Exit(1)
	}
	find := func(pattern string) []string {
		return regexp.MustCompile(pattern).FindStringSubmatch(string(config))[1:]
	}
	ports := find(`(?s)address: "(127\.0\.0\.1:\d+)".*address: "(127\.0\.0\.1:\d+)"`)
	files := find(`cert: (\S+), key: ([^\s}]+)`)
	backend := find(`http://([\d.:]+)`)[0]
	pair, err := tls.LoadX509KeyPair(files[0], files[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i, address := range ports {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if i == 1 {
			ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
		}
		go func() {
			for {
				client, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer client.Close()
					server, err := net.Dial("tcp", backend)
					if err != nil {
						return
					}
					go func() {
						defer server.Close()
						_, _ = io.Copy(server, client)
					}()
					_, _ = io.Copy(client, server)
				}()
			}
		}()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
}

// stubborn ignores SIGTERM, and so does the child it starts; both hold the standard output open.
func stubborn(args []string) {
	signal.Ignore(syscall.SIGTERM)
	if len(args) == 0 {
		cmd := exec.Command(os.Args[0], "stubborn", "child")
		cmd.Stdout = os.NewFile(3, "held") // the pipe that the test waits on
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("ready")
	select {}
}

func TestCompareEndToEnd(t *testing.T) {
	t.Parallel()
	opt := compareOptions{
		quick: true, rounds: 1, links: 20, only: []string{workHandshake, workGet}, peers: []string{"none"},
		wsproxy: []string{"one=" + os.Args[0], "two=" + os.Args[0]},
	}
	if err := opt.check(false); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	rep, err := runCompare(context.Background(), opt, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if len(rep.troubles) > 0 || len(rep.absent) > 0 {
		t.Errorf("troubles %q, absent %q", rep.troubles, rep.absent)
	}
	for _, c := range opt.cells() {
		for _, name := range []string{"one", "two"} {
			if v := rep.values[valueKey{c, 0}][name].median(); !(v > 0) {
				t.Errorf("%s %s of %s: %v, want a value", c.workload, c.scheme(), name, v)
			}
		}
	}
	order := regexp.MustCompile(`(?s)handshake ws  one .*handshake ws  two .*handshake wss  one .*handshake wss  two .*get http  one .*get https  two `)
	if !order.MatchString(log.String()) {
		t.Errorf("order of measures:\n%s", &log)
	}
}

func TestCompareNamesThePeerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	opt := compareOptions{quick: true, engines: true, only: []string{workHandshake}, peers: []string{"none"}, wsproxy: []string{os.Args[0]}}
	if err := opt.check(false); err != nil {
		t.Fatal(err)
	}
	_, err := runCompare(context.Background(), opt, io.Discard)
	want := "no proxy takes part:\n  wsproxy-goroutines: did not start: error: unknown key engine\n  wsproxy-epoll: did not start: error: unknown key engine"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want\n%s", err, want)
	}
}

func TestInterruptedCompareStopsAll(t *testing.T) {
	opt := compareOptions{quick: true, only: []string{workHandshake}, peers: []string{"none"}, wsproxy: []string{os.Args[0]}}
	if err := opt.check(false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := descendants(t)
	_, err := runCompare(ctx, opt, cancelOn{"round 1/", cancel})
	if err != errInterrupted {
		t.Errorf("interrupted run: %v, want %v", err, errInterrupted)
	}
	if after := descendants(t); after > before {
		t.Errorf("%d processes left running", after-before)
	}
}

// cancelOn calls cancel when a text is written.
type cancelOn struct {
	text   string
	cancel func()
}

func (c cancelOn) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.text) {
		c.cancel()
	}
	return len(p), nil
}

func descendants(t *testing.T) int {
	t.Helper()
	a, err := newAccount(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return len(a.known)
}

func TestStopEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(os.Args[0], "stubborn")
	cmd.ExtraFiles = []*os.File{w}
	p, err := startCommand(cmd, t.TempDir())
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("grandchild says %q, %v", line, err)
	}
	<-p.output.first
	p.stop()
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // every holder of the pipe is gone
		t.Errorf("after stop the pipe gives %v, want EOF", err)
	}
}

func TestPeersAcceptTheirConfigurations(t *testing.T) {
	dir := t.TempDir()
	files, err := makeCertificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string][]string{ // how a program checks its configuration and ends
		"nginx":   {"-t", "-p", "DIR", "-e", "stderr", "-c", "CONFIG"},
		"haproxy": {"-c", "-f", "CONFIG"},
		"caddy":   {"validate", "--adapter", "caddyfile", "--config", "CONFIG"},
	}
	for _, p := range peerTable {
		t.Run(p.name, func(t *testing.T) {
			ports, err := freePorts(3)
			if err != nil {
				t.Fatal(err)
			}
			own := filepath.Join(dir, p.name)
			if err := os.Mkdir(own, 0o755); err != nil {
				t.Fatal(err)
			}
			config, err := p.render(peerConfig{
				Dir: own, Port: ports[0], TLSPort: ports[1], BackendPort: ports[2],
				Cert: files.cert, Key: files.key, Bundle: files.bundle, Descriptors: 1024, MaxLinks: 100,
			})
			if err != nil {
				t.Fatal(err)
			}
			path, err := p.find()
			if err != nil {
				t.Skip(err)
			}
			check := p
			check.args = checks[p.program]
			if out, err := exec.Command(path, check.commandLine(config, own)...).CombinedOutput(); err != nil {
				t.Errorf("%s refuses its configuration: %v\n%s", p.name, err, out)
			}
		})
	}
}

func TestOurConfiguration(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ engine, want string }{
		{"", "log: {level: warn}\n"},
		{"epoll", "log: {level: warn}\nengine: epoll\n"},
	} {
		p := ourPeer("wsproxy", "wsproxy", tt.engine)
		path, err := p.render(peerConfig{Dir: dir, Port: 1, TLSPort: 2, BackendPort: 3, Cert: "c.pem", Key: "k.pem"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := `listeners:
  - address: "127.0.0.1:1"
  - address: "127.0.0.1:2"
    tls:
      certificates: [{cert: c.pem, key: k.pem}]
routes:
  - path: /*
    backends: ["http://127.0.0.1:3"]
` + tt.want
		if string(got) != want {
			t.Errorf("engine %q:\n%s\nwant\n%s", tt.engine, got, want)
		}
	}
}

func TestMissingPeerNamesItsPackage(t *testing.T) {
	for _, tt := range []struct {
		p    peer
		want string
	}{
		{peer{program: "no-such-nginx", packages: "nginx-light (or nginx)"},
			"no-such-nginx is not installed: apt-get install nginx-light brings it (Debian package nginx-light (or nginx))"},
		{peer{program: "no-such-caddy"}, "no-such-caddy is not on the PATH"},
	} {
		if _, err := tt.p.find(); err == nil || err.Error() != tt.want {
			t.Errorf("find %s: %v, want %s", tt.p.program, err, tt.want)
		}
	}
}

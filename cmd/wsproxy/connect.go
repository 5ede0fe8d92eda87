package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/term"
)

// connectOptions are the flags of connect.
type connectOptions struct {
	headers      []string
	origin       string
	subprotocols []string
	insecure     bool
	binary       bool
	wait         time.Duration
	timeout      time.Duration
}

func connectCommand() *cobra.Command {
	var o connectOptions
	c := &cobra.Command{
		Use:   "connect URL",
		Short: "Try a WebSocket from the terminal: lines go out, answers are printed",
		Long: `connect opens a WebSocket. Each line of standard input goes out as a text message, each answer is
printed as a line. The end of input (Ctrl-D) closes the socket.

Exit status: 0 when the socket was closed with code 1000 or none, 1 when it could not be opened or
broke, 3 when it was closed with any other code.`,
		Example: "  wsproxy connect wss://localhost:8443/ --insecure\n  echo hello | wsproxy connect ws://localhost:8080/chat",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer cancel()
			return connect(ctx, args[0], o, os.Stdin, os.Stdout, os.Stderr)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.headers, "header", "H", nil, "a header of the handshake, `'Name: value'` (repeatable)")
	f.StringVar(&o.origin, "origin", "", "the Origin that a browser would send, such as https://example.com")
	f.StringSliceVar(&o.subprotocols, "subprotocol", nil, "subprotocols to offer, by preference (repeatable, or with commas)")
	f.BoolVar(&o.insecure, "insecure", false, "accept any certificate")
	f.BoolVar(&o.binary, "binary", false, "send input as binary messages of up to 64 KiB, print answers as they are")
	f.DurationVar(&o.wait, "wait", time.Second, "after the end of input, how long to wait for as many answers as messages went out")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long the handshake may take")
	return c
}

// connect talks to target until either side ends it. ctx done, by Ctrl-C, ends it like the end of
// input.
func connect(ctx context.Context, target string, o connectOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	u, header, err := o.request(target)
	if err != nil {
		return err
	}
	dialer := websocket.Dialer{
		HandshakeTimeout: o.timeout,
		Subprotocols:     o.subprotocols,
		TLSClientConfig:  &tls.Config{InsecureSkipVerify: o.insecure},
	}
	conn, answer, err := dialer.DialContext(ctx, u, header)
	if err != nil {
		return refused(u, answer, err, stderr)
	}
	s := &session{conn: conn, stdout: stdout, raw: o.binary}
	s.plain = !o.binary && isTerminal(stdout)
	if isTerminal(stdin) {
		fmt.Fprintf(stderr, "connected to %s", u)
		if p := conn.Subprotocol(); p != "" {
			fmt.Fprintf(stderr, ", subprotocol %s", p)
		}
		fmt.Fprintln(stderr, "; a line is a message, Ctrl-D ends")
	}
	return s.talk(ctx, o, stdin, stderr)
}

// request checks the URL and the flags.
func (o *connectOptions) request(target string) (string, http.Header, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", nil, fmt.Errorf("connect %q: not a URL; write ws://host/path or wss://host/path", target)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", nil, fmt.Errorf("connect %q: scheme %q; write ws://host/path or wss://host/path", target, u.Scheme)
	}
	if u.Hostname() == "" {
		return "", nil, fmt.Errorf("connect %q: no host; write %s://host/path", target, u.Scheme)
	}
	u.Fragment = "" // RFC 6455 §3: it is not part of a ws URL
	header := http.Header{}
	for _, line := range o.headers {
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return "", nil, fmt.Errorf("--header %q: write 'Name: value'", line)
		}
		header[name] = append(header[name], value)
	}
	if o.origin != "" {
		header.Set("Origin", o.origin)
	}
	for _, p := range o.subprotocols {
		if !httpguts.ValidHeaderFieldName(p) { // both are tokens
			return "", nil, fmt.Errorf("--subprotocol %q: a subprotocol has letters, digits and !#$%%&'*+-.^_`|~ only", p)
		}
	}
	return u.String(), header, nil
}

// refused shows what came instead of a WebSocket.
func refused(u string, answer *http.Response, err error, stderr io.Writer) error {
	if answer == nil {
		hint := ""
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			hint = "; --insecure accepts any certificate"
		}
		return fmt.Errorf("connect %s: %w%s", u, err, hint)
	}
	fmt.Fprintf(stderr, "%s %s\n", answer.Proto, answer.Status)
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		for _, value := range answer.Header[name] {
			fmt.Fprintf(stderr, "%s: %s\n", name, printable(value))
		}
	}
	body, _ := io.ReadAll(answer.Body) // websocket has kept the first KiB
	fmt.Fprintf(stderr, "\n%s\n", strings.TrimRight(printable(string(body)), "\n"))
	return fmt.Errorf("connect %s: the server refused the websocket with status %d", u, answer.StatusCode)
}

// session is an open WebSocket of connect.
type session struct {
	conn   *websocket.Conn
	stdout io.Writer
	raw    bool // print answers as they are
	plain  bool // stdout is a terminal: keep control characters from it

	sent, received atomic.Int64
}

const (
	// maxLine bounds a line of input and so the memory it takes.
	maxLine = 64 << 20

	// closeWait is how long the other side may take to answer a Close.
	closeWait = 5 * time.Second
)

func (s *session) talk(ctx context.Context, o connectOptions, stdin io.Reader, stderr io.Writer) error {
	defer s.conn.Close()
	answered := make(chan struct{}, 1)
	var ended error
	read := make(chan struct{})
	go func() {
		defer close(read)
		ended = s.print(answered)
	}()
	sent := make(chan error, 1)
	go func() { sent <- s.send(stdin) }() // ends with the process: a terminal's read cannot be interrupted

	var inputErr error
	select {
	case <-read:
		return closed(ended, stderr)
	case inputErr = <-sent:
		s.awaitAnswers(ctx, o.wait, answered, read)
	case <-ctx.Done():
	}
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	// A socket that has ended already says why below.
	_ = s.conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(closeWait))
	_ = s.conn.SetReadDeadline(time.Now().Add(closeWait))
	<-read
	err := closed(ended, stderr)
	if inputErr != nil {
		return inputErr
	}
	return err
}

// awaitAnswers waits until as many messages have come as went out, for wait at the longest, while
// there is somebody to read from.
func (s *session) awaitAnswers(ctx context.Context, wait time.Duration, answered, read <-chan struct{}) {
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for s.received.Load() < s.sent.Load() {
		select {
		case <-answered:
		case <-read:
			return
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// send sends input until it ends.
func (s *session) send(stdin io.Reader) error {
	if s.raw {
		buf := make([]byte, 64<<10)
		for {
			n, err := stdin.Read(buf)
			if n > 0 && !s.write(websocket.BinaryMessage, buf[:n]) {
				return nil
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read input: %w", err)
			}
		}
	}
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if !utf8.Valid(lines.Bytes()) {
			return fmt.Errorf("line %d of the input is not UTF-8, as text messages must be; --binary sends anything", n)
		}
		if !s.write(websocket.TextMessage, lines.Bytes()) {
			return nil
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line of the input is longer than %d MiB; --binary sends anything", maxLine>>20)
	}
	return lines.Err()
}

// write reports whether the message went out; when not, the reading side knows why.
func (s *session) write(kind int, message []byte) bool {
	if s.conn.WriteMessage(kind, message) != nil {
		return false
	}
	s.sent.Add(1)
	return true
}

// print prints answers until the socket ends, and returns how.
func (s *session) print(answered chan<- struct{}) error {
	for {
		kind, message, err := s.conn.ReadMessage()
		if err != nil {
			return err
		}
		switch {
		case s.raw:
			_, err = s.stdout.Write(message)
		case kind == websocket.BinaryMessage:
			_, err = fmt.Fprintf(s.stdout, "binary, %d bytes: %s\n", len(message), excerpt(message))
		case s.plain:
			_, err = fmt.Fprintln(s.stdout, printable(string(message)))
		default:
			_, err = fmt.Fprintf(s.stdout, "%s\n", message)
		}
		if err != nil {
			return fmt.Errorf("print answer: %w", err)
		}
		s.received.Add(1)
		select {
		case answered <- struct{}{}:
		default:
		}
	}
}

// excerpt is the start of a binary message in hexadecimal.
func excerpt(message []byte) string {
	const most = 32
	if len(message) > most {
		return fmt.Sprintf("% x …", message[:most])
	}
	return fmt.Sprintf("% x", message)
}

// closed makes an exit status of how the socket ended.
func closed(err error, stderr io.Writer) error {
	end, ok := errors.AsType[*websocket.CloseError](err)
	switch {
	case !ok:
		return fmt.Errorf("websocket broke: %w", err)
	case end.Code == websocket.CloseAbnormalClosure:
		return errors.New("websocket ended without a close frame")
	case end.Code == websocket.CloseNormalClosure, end.Code == websocket.CloseNoStatusReceived:
		return nil
	}
	fmt.Fprintf(stderr, "closed with code %d", end.Code)
	if end.Text != "" {
		fmt.Fprintf(stderr, ": %s", printable(end.Text))
	}
	fmt.Fprintln(stderr)
	return exitStatus(3)
}

// printable keeps what a server sends from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, s)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

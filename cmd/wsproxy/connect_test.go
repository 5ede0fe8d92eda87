package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// server is a WebSocket server that serve talks for. It answers /refuse with 401.
func server(t *testing.T, serve func(*websocket.Conn, *http.Request)) (url string) {
	t.Helper()
	upgrader := websocket.Upgrader{
		CheckOrigin:  func(*http.Request) bool { return true },
		Subprotocols: []string{"chat.v2", "chat.v1"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "who are you?\x1b[2J\n")
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn, r)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// echoing answers every message with itself until the client closes.
func echoing(conn *websocket.Conn, _ *http.Request) {
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// try runs connect with input and returns what it printed, said and gave back.
func try(t *testing.T, url string, o connectOptions, input string) (stdout, stderr string, err error) {
	t.Helper()
	if o.wait == 0 {
		o.wait = hung
	}
	o.timeout = hung
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	defer cancel()
	var out, said bytes.Buffer
	err = connect(ctx, url, o, strings.NewReader(input), &out, &said)
	return out.String(), said.String(), err
}

func TestConnectPrintsAnswersInOrder(t *testing.T) {
	url := server(t, echoing)
	tests := []struct {
		name, input, want string
		binary            bool
	}{
		{"lines", "one\ntwo\n\nthree\n", "one\ntwo\n\nthree\n", false},
		{"last line without its end", "one", "one\n", false},
		{"nothing", "", "", false},
		{"binary", "\x00\xff\n\x1b", "\x00\xff\n\x1b", true},
	}
	for _, tt := range tests {
		stdout, stderr, err := try(t, url, connectOptions{binary: tt.binary}, tt.input)
		if err != nil || stdout != tt.want {
			t.Errorf("%s: prints %q, %v; want %q; says %q", tt.name, stdout, err, tt.want, stderr)
		}
	}
}

func TestConnectShowsBinaryAnswersAsHexadecimal(t *testing.T) {
	url := server(t, func(conn *websocket.Conn, r *http.Request) {
		conn.WriteMessage(websocket.BinaryMessage, []byte{0, 0x1b, 0xff})
		echoing(conn, r)
	})
	if stdout, _, err := try(t, url, connectOptions{}, "x\ny\n"); err != nil || !strings.HasPrefix(stdout, "binary, 3 bytes: 00 1b ff\n") {
		t.Errorf("prints %q, %v", stdout, err)
	}
}

func TestConnectSendsWhatItsFlagsSay(t *testing.T) {
	got := make(chan *http.Request, 1)
	var subprotocol string
	url := server(t, func(conn *websocket.Conn, r *http.Request) {
		subprotocol = conn.Subprotocol()
		got <- r
		echoing(conn, r)
	})
	_, _, err := try(t, url+"/path?query=1", connectOptions{
		headers:      []string{"X-One: 1", "X-Two:a: b"},
		origin:       "https://example.com",
		subprotocols: []string{"chat.v1", "other"},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	r := <-got
	for name, want := range map[string]string{
		"X-One": "1", "X-Two": "a: b", "Origin": "https://example.com", "Sec-Websocket-Protocol": "chat.v1, other",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if r.URL.RequestURI() != "/path?query=1" || subprotocol != "chat.v1" {
		t.Errorf("target %q, subprotocol %q", r.URL.RequestURI(), subprotocol)
	}
}

func TestConnectShowsARefusal(t *testing.T) {
	url := server(t, nil)
	_, stderr, err := try(t, url+"/refuse", connectOptions{}, "")
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("error %v, want one with 401", err)
	}
	for _, want := range []string{"HTTP/1.1 401 Unauthorized\n", "Www-Authenticate: Bearer\n", "\n\nwho are you?\uFFFD[2J\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it says %q, want %q in it", stderr, want)
		}
	}
}

func TestCloseCodeDecidesTheExitStatus(t *testing.T) {
	const status = exitStatus(3)
	tests := []struct {
		name string
		end  func(*websocket.Conn)
		want error
		says string
	}{
		{"1000", closing(1000, "done"), nil, ""},
		{"no code", closing(websocket.CloseNoStatusReceived, ""), nil, ""},
		{"1001", closing(1001, ""), status, "closed with code 1001\n"},
		{"1008 with a reason", closing(1008, "no\x1b"), status, "closed with code 1008: no\uFFFD\n"},
		{"4000", closing(4000, "own"), status, "closed with code 4000: own\n"},
		{"no close frame", func(conn *websocket.Conn) { conn.NetConn().Close() }, errAny, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := server(t, func(conn *websocket.Conn, _ *http.Request) {
				if _, _, err := conn.ReadMessage(); err == nil {
					tt.end(conn)
				}
			})
			_, stderr, err := try(t, url, connectOptions{}, "end\n")
			switch {
			case tt.want == errAny && (err == nil || errors.As(err, new(exitStatus))):
				t.Errorf("error %v, want one that is printed", err)
			case tt.want != errAny && !errors.Is(err, tt.want):
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if stderr != tt.says {
				t.Errorf("it says %q, want %q", stderr, tt.says)
			}
		})
	}
}

var errAny = errors.New("any")

// closing closes with a code and waits for the client's answer.
func closing(code int, reason string) func(*websocket.Conn) {
	return func(conn *websocket.Conn) {
		conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(hung))
		conn.SetReadDeadline(time.Now().Add(hung))
		_, _, _ = conn.ReadMessage()
	}
}

func TestConnectRefusesWhatItCannotSend(t *testing.T) {
	url := server(t, echoing)
	tests := []struct {
		name, url string
		o         connectOptions
		input     string
		want      string
	}{
		{"scheme", "ftp://host/", connectOptions{}, "", "write ws://host/path"},
		{"no scheme", "localhost:8080", connectOptions{}, "", "write ws://host/path"},
		{"no host", "ws:///path", connectOptions{}, "", "no host"},
		{"header without a colon", url, connectOptions{headers: []string{"X"}}, "", "'Name: value'"},
		{"header with a line break", url, connectOptions{headers: []string{"X: a\r\nY: b"}}, "", "'Name: value'"},
		{"subprotocol", url, connectOptions{subprotocols: []string{"a b"}}, "", `--subprotocol "a b"`},
		{"not UTF-8", url, connectOptions{}, "good\nb\xffd\n", "line 2"},
		{"nobody there", "ws://127.0.0.1:1/", connectOptions{}, "", "refused"},
	}
	for _, tt := range tests {
		if _, _, err := try(t, tt.url, tt.o, tt.input); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.want)
		}
	}
}

func TestConnectEndsWhenInterrupted(t *testing.T) {
	closed := make(chan int, 1)
	url := server(t, func(conn *websocket.Conn, _ *http.Request) {
		conn.WriteMessage(websocket.TextMessage, []byte("hello"))
		_, _, err := conn.ReadMessage()
		var end *websocket.CloseError
		if errors.As(err, &end) {
			closed <- end.Code
		}
		close(closed)
	})
	ctx, interrupt := context.WithCancel(context.Background())
	stdin, keepOpen := io.Pipe()
	defer keepOpen.Close()
	out := newWatched()
	done := make(chan error, 1)
	go func() {
		done <- connect(ctx, url, connectOptions{wait: hung, timeout: hung}, stdin, out, io.Discard)
	}()
	out.await(t, "hello\n")
	interrupt()
	if err := <-done; err != nil {
		t.Errorf("error %v, want none", err)
	}
	if code := <-closed; code != 1000 {
		t.Errorf("the server saw close code %d, want 1000", code)
	}
}

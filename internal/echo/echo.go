// Package echo is builtin:echo, a backend inside wsproxy: a fresh checkout has something to talk to,
// and a route can be tried before its real backend exists.
package echo

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"wsproxy/internal/head"
)

// maxMessage bounds the memory that one message costs, since it is answered whole.
const maxMessage = 64 << 20

// Server answers every WebSocket message with itself and every plain request with one line. It
// listens on a loopback port of its own, so that it is reached as any other backend is.
type Server struct {
	ln     net.Listener
	http   fasthttp.Server
	served chan struct{}
}

// Start starts a Server; Close ends it.
func Start() (*Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start builtin:echo: %w", err)
	}
	s := &Server{ln: ln, served: make(chan struct{})}
	s.http = fasthttp.Server{
		Handler:     answer,
		ReadTimeout: 10 * time.Second,
		IdleTimeout: time.Minute,
		Name:        "wsproxy builtin:echo",
		Logger:      quiet{},
	}
	go s.serve()
	return s, nil
}

// Addr is the host:port it listens on.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Close stops accepting. Sockets that are open are the proxy's links: they end with those.
func (s *Server) Close() {
	s.ln.Close()
	<-s.served
}

func (s *Server) serve() {
	defer close(s.served)
	if err := s.http.Serve(s.ln); err != nil {
		slog.Error("builtin:echo", "err", err)
	}
}

// upgrader takes any origin and the first subprotocol that a client offers: what a route allows is
// not the echo's to say.
var upgrader = websocket.FastHTTPUpgrader{
	EnableCompression: true,
	CheckOrigin:       func(*fasthttp.RequestCtx) bool { return true },
}

func answer(ctx *fasthttp.RequestCtx) {
	if !websocket.FastHTTPIsWebSocketUpgrade(ctx) {
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString("builtin:echo answers WebSocket messages with themselves: wsproxy connect ws://HOST/\n")
		return
	}
	for name := range head.Elements(ctx.Request.Header.Peek("Sec-WebSocket-Protocol")) {
		ctx.Response.Header.SetBytesV("Sec-WebSocket-Protocol", name) // the upgrader takes it from there
		break
	}
	_ = upgrader.Upgrade(ctx, echo) // a bad handshake has been answered
}

// echo answers until the socket ends; websocket itself answers Ping and Close.
func echo(conn *websocket.Conn) {
	conn.SetReadLimit(maxMessage)
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// quiet drops what fasthttp says of single connections.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

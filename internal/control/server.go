package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"wsproxy/internal/sock"
)

const (
	// places is how many connections are served at a time; further ones wait in the system's queue.
	places = 16

	// parting is how long a client may take to read its answer once the Server is being closed.
	parting = time.Second
)

// Handler does what one command stands for. It may run several times at once, and beside other
// handlers. ctx is done when the client has gone, or the Server is being closed; whether that ends the
// command is the handler's choice, but Close waits for it.
type Handler func(ctx context.Context, args []string) Reply

// Server answers requests until Close.
type Server struct {
	// Fixed at creation.
	path     string
	handlers map[string]Handler
	log      *slog.Logger
	limits   limits
	claim    *claim
	listener *net.UnixListener

	ctx     context.Context // done when the Server is being closed
	cancel  context.CancelFunc
	places  chan struct{}  // holds one for each connection
	running sync.WaitGroup // accept, and one for each connection
	closing sync.Once
}

// Listen answers requests on a socket at path, which only its owner may open, in a folder that is made
// if it is not there. A socket that a process left behind is replaced. One that a process listens on is
// left alone: the error says which. handlers are by command; a nil log stands for slog.Default.
func Listen(path string, handlers map[string]Handler, log *slog.Logger) (*Server, error) {
	return listen(path, handlers, log, limits{idle: idle, reply: maxReply})
}

// limits are what a client may take; tests lower them.
type limits struct {
	idle  time.Duration
	reply int // bytes
}

func listen(path string, handlers map[string]Handler, log *slog.Logger, limits limits) (*Server, error) {
	claim, listener, err := take(path)
	if err != nil {
		return nil, err
	}
	s := &Server{
		path: path, handlers: maps.Clone(handlers), log: log, limits: limits, claim: claim, listener: listener,
		places: make(chan struct{}, places),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.accept)
	return s, nil
}

// Path is where it listens.
func (s *Server) Path() string { return s.path }

// Close takes the socket away, has running commands told by their context, and waits until each has
// been answered. It must not be called by a handler.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.cancel()
		s.claim.release(s.listener)
	})
	s.running.Wait()
}

func (s *Server) accept() {
	for {
		select {
		case s.places <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		conn, err := s.listener.AcceptUnix()
		if err == nil {
			s.running.Go(func() {
				defer func() { <-s.places }()
				s.serve(conn)
			})
			continue
		}
		<-s.places
		if s.ctx.Err() != nil {
			return
		}
		s.log.Warn("control socket", "err", err)
		select { // there may be no descriptors for the moment
		case <-time.After(100 * time.Millisecond):
		case <-s.ctx.Done():
			return
		}
	}
}

// serve answers one connection and closes it.
func (s *Server) serve(conn *net.UnixConn) {
	defer conn.Close()
	// What is being read is cut off by Close, and what is being written after a moment.
	defer context.AfterFunc(s.ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		_ = conn.SetWriteDeadline(time.Now().Add(parting))
	})()

	reply, ok := s.answer(conn)
	if !ok {
		return
	}
	line, err := encode(reply, s.limits.reply)
	if err != nil {
		line, _ = encode(Reply{OK: reply.OK, Faults: []string{"the answer cannot be sent: " + err.Error()}}, s.limits.reply)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(s.limits.idle))
	if s.ctx.Err() != nil {
		_ = conn.SetWriteDeadline(time.Now().Add(parting))
	}
	if _, err := conn.Write(line); err != nil {
		s.log.Debug("control answer", "err", err)
	}
}

// answer reads the request and gives the answer to it; ok is false when nobody waits for one.
func (s *Server) answer(conn *net.UnixConn) (reply Reply, ok bool) {
	uid, pid, known := sock.User(conn)
	_ = conn.SetReadDeadline(time.Now().Add(s.limits.idle))
	if s.ctx.Err() != nil {
		return Reply{}, false
	}
	var request Request
	switch err := receive(conn, maxRequest, &request); {
	case err == io.EOF: // somebody looked whether anyone listens
		return Reply{}, false
	case known && uid != 0 && uid != os.Geteuid(): // now, since a client that still writes may not read
		s.log.Warn("control request refused", "uid", uid, "pid", pid)
		return Refuse("only root and user %d, who runs wsproxy, may ask; this is user %d", os.Geteuid(), uid), true
	case err == nil:
		reply = s.handle(conn, request)
		s.log.Debug("control request", "command", request.Command, "uid", uid, "pid", pid, "ok", reply.OK)
		return reply, true
	case errors.Is(err, errTooLarge):
		return Refuse("a request may have %d bytes", maxRequest), true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Refuse("no request came within %v", s.limits.idle), s.ctx.Err() == nil
	default:
		return Refuse("the request is not a line of JSON: %v", err), true
	}
}

// handle runs a request's handler while it watches whether the client is still there.
func (s *Server) handle(conn *net.UnixConn, request Request) (reply Reply) {
	handler := s.handlers[request.Command]
	if handler == nil {
		return Refuse("wsproxy has no command %q; it has %s", request.Command,
			strings.Join(slices.Sorted(maps.Keys(s.handlers)), ", "))
	}
	ctx, cancel := context.WithCancel(s.ctx)
	_ = conn.SetReadDeadline(time.Time{})
	if s.ctx.Err() != nil {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
	var watching sync.WaitGroup
	watching.Go(func() { awaitEnd(conn, cancel) })
	defer func() {
		cancel()
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		watching.Wait()
	}()
	defer func() {
		// A fault of one command must not end every link.
		if fault := recover(); fault != nil {
			s.log.Error("control command", "command", request.Command, "err", fault, "stack", string(debug.Stack()))
			reply = Refuse("%s: a fault of wsproxy itself: %v", request.Command, fault)
		}
	}()
	return handler(ctx, request.Args)
}

// awaitEnd calls gone when the client has closed the connection, or reading is cut off. A client says
// nothing after its request: if it does, it has gone, too.
func awaitEnd(conn *net.UnixConn, gone func()) {
	_, _ = conn.Read(make([]byte, 1))
	gone()
}

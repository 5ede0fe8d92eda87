package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"wsproxy/internal/sock"
)

// ErrNobody is the error of Call and Find when nobody listens.
var ErrNobody = errors.New("no wsproxy runs there")

// nobody is an ErrNobody with a text of its own.
type nobody string

func (n nobody) Error() string      { return string(n) }
func (nobody) Is(target error) bool { return target == ErrNobody }

// Call asks the wsproxy that listens at path and waits for its answer until ctx is done: a command may
// take minutes. A request that was understood and not done is a Reply with OK false, not an error. An
// error is an ErrNobody when nothing listens there.
func Call(ctx context.Context, path string, request Request) (Reply, error) {
	line, err := encode(request, maxRequest)
	if err != nil {
		return Reply{}, fmt.Errorf("ask wsproxy: the request of at most %d bytes is %w", maxRequest, err)
	}
	conn, err := dial(ctx, path)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(idle))
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	// A server that refuses may have answered before it has read everything.
	_, sendErr := conn.Write(line)
	var reply Reply
	err = receive(conn, maxReply, &reply)
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil:
		return Reply{}, fmt.Errorf("wait for the answer of wsproxy at %s: %w", path, context.Cause(ctx))
	case sendErr != nil:
		return Reply{}, fmt.Errorf("ask wsproxy at %s: %v", path, sendErr)
	case err == io.EOF:
		return Reply{}, fmt.Errorf("wsproxy at %s ended without an answer", path)
	}
	return Reply{}, fmt.Errorf("answer of wsproxy at %s: %v", path, err)
}

// dial connects to whoever listens at path, if that can be trusted.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	if err := fits(path); err != nil {
		return nil, fmt.Errorf("control socket: %v", err)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), sock.Refused(err):
		return nil, nobody("nothing listens on " + path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: only root and the user that runs wsproxy may ask it", path)
	default:
		return nil, fmt.Errorf("ask wsproxy: %w", err)
	}
	// Anyone could have put a socket into a folder that all may write to. Root may ask everyone.
	me := os.Geteuid()
	if uid, _, ok := sock.User(conn); ok && uid != 0 && uid != me && me != 0 {
		conn.Close()
		return nil, fmt.Errorf("%s: user %d listens there, who is neither root nor this user", path, uid)
	}
	return conn.(*net.UnixConn), nil
}

package front

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/inbound"
)

// unreadable answers what fasthttp cannot parse. Its words are not passed on: they may quote the
// request.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	conn := ctx.Conn().(*inbound.Conn)
	if fault := conn.Fault(); fault != nil {
		err = fault
	}
	network, broken := errors.AsType[net.Error](err)
	switch {
	case reasonOf(err) != nil:
	case broken && !network.Timeout(), endOfFile(err):
		err = errGone
	default:
		err = meaning(&ctx.Request.Header, err)
	}
	s.refuse(&request{ctx: ctx, conn: conn, client: conn.Client().Addr()}, err)
}

// meaning is the gate's word for what fasthttp refuses of a head that inbound has passed. It reads some
// of what the gate reads, before the gate does.
func meaning(h *fasthttp.RequestHeader, err error) error {
	text, unread := strings.CutPrefix(err.Error(), "error when reading request headers: ")
	switch {
	case !unread:
		// It has the head and does not like a host or a target in it.
		if _, ours := gate(h); ours != nil {
			return ours
		}
	case errors.Is(err, fasthttp.ErrDuplicateContentLength):
		return errLengths
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		return errCoding
	case strings.HasPrefix(text, "cannot parse content-length"):
		return errLength
	case strings.HasPrefix(text, "too many host headers"), strings.HasPrefix(text, "missing required host header"):
		return errHostCount
	case strings.HasPrefix(text, "invalid request uri"):
		return errTarget
	}
	return errMalformed
}

// endOfFile reports whether the client has ended the connection, in the middle of a head too.
func endOfFile(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// fasthttpLog is where fasthttp says what it thinks.
type fasthttpLog struct{ log *slog.Logger }

func (l fasthttpLog) Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, known := range [...]string{"error when reading request headers", "error when serving connection"} {
		if strings.Contains(text, known) {
			// It may quote the request, and unreadable has said what there is to say.
			return
		}
	}
	l.log.Warn(text) // more connections than it serves, for one
}

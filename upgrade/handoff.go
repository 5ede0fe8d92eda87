package upgrade

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/dial"
	"wsproxy/internal/sock"
	"wsproxy/internal/splice"
	"wsproxy/tlsterm"
)

// Config is an Upgrader's.
type Config struct {
	// Engine carries the links.
	Engine *splice.Engine

	// Dialer connects to backends. Nil means a zero one.
	Dialer *dial.Dialer

	// HeaderSize is the most bytes that a backend's answer may have before its body. Zero means
	// 16 KiB.
	HeaderSize int

	// Log gets what goes wrong between a 101 and its link. Nil means slog's default.
	Log *slog.Logger
}

const (
	defaultHeaderSize = 16 << 10

	// answerTimeout is how long a client may take to receive its 101, which is smaller than any
	// socket's buffer.
	answerTimeout = 10 * time.Second
)

// Upgrader makes links.
type Upgrader struct {
	cfg     Config
	pending sync.WaitGroup // links between their 101 and the engine
}

// New makes an Upgrader.
func New(cfg Config) *Upgrader {
	if cfg.Dialer == nil {
		cfg.Dialer = new(dial.Dialer)
	}
	if cfg.HeaderSize == 0 {
		cfg.HeaderSize = defaultHeaderSize
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Upgrader{cfg: cfg}
}

// ErrClientGone is a client that left while its backend was asked.
var ErrClientGone = errors.New("client gone")

// Link answers the client with the backend's 101 and joins the two once fasthttp has let go of the
// request: call it as the handler's last act. It ends the use of a. policy is the link's, nil for
// none. owner is told once, when the link has ended or could not be made; then the Result has no
// duration. On an error, ErrClientGone, it is not told.
func (u *Upgrader) Link(ctx *fasthttp.RequestCtx, a *Answer, policy *splice.Policy, owner splice.Owner) error {
	conn := ctx.Conn().(tlsterm.Conn)
	if conn.Gone() {
		a.Close()
		return ErrClientGone
	}
	u.pending.Add(1)
	// fasthttp lets go of the connection by closing it when it cannot send the answers to requests
	// that were pipelined before this one.
	conn.OnClose(func() {
		defer u.pending.Done()
		a.Close()
		owner.Ended(splice.Result{Cause: splice.ClientGone})
	})
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(hijacked net.Conn) {
		defer u.pending.Done()
		u.join(hijacked, conn, a, policy, owner)
	})
	return nil
}

// Wait returns when every link on its way has reached the engine, or when ctx is done, with its
// error. Call it when no handler runs any more.
func (u *Upgrader) Wait(ctx context.Context) error {
	arrived := make(chan struct{})
	go u.awaitPending(arrived)
	select {
	case <-arrived:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitPending ends by itself, at the latest when answerTimeout has.
func (u *Upgrader) awaitPending(arrived chan<- struct{}) {
	u.pending.Wait()
	close(arrived)
}

// join takes the client's connection from fasthttp, which recycles all it held for the request as
// soon as this returns.
func (u *Upgrader) join(hijacked net.Conn, conn tlsterm.Conn, a *Answer, policy *splice.Policy, owner splice.Owner) {
	client, spliced := conn.Detach(), false
	defer func() {
		// A panic here would end the process: nobody above recovers.
		if fault := recover(); fault != nil {
			u.cfg.Log.Error("hand-over", "err", fault)
		}
		if !spliced {
			sock.CloseNow(client)
			a.Close()
			owner.Ended(splice.Result{Cause: splice.ClientGone})
		}
	}()
	fromClient := drain(hijacked)

	_ = client.SetDeadline(time.Now().Add(answerTimeout))
	buf := headBuffers.Get().(*[]byte)
	*buf = a.response.Append((*buf)[:0])
	_, err := client.Write(*buf)
	headBuffers.Put(buf)
	if err != nil {
		return
	}
	_ = client.SetDeadline(time.Time{})
	spec := splice.Spec{
		Client: client.(splice.End), Backend: a.conn.(splice.End),
		FromClient: fromClient, FromBackend: a.early(),
		Extensions: a.extensions,
		Policy:     policy,
		Owner:      owner,
	}
	if u.cfg.Engine.Home() != nil {
		// The loops carry TLS themselves.
		var clientErr, backendErr error
		spec.Client, spec.ClientTLS, spec.FromClient, clientErr = undress(spec.Client, spec.FromClient)
		spec.Backend, spec.BackendTLS, spec.FromBackend, backendErr = undress(spec.Backend, spec.FromBackend)
		if clientErr != nil || backendErr != nil {
			// One may have been taken out of what is closed below.
			spec.Client.Close()
			spec.Backend.Close()
			return
		}
	}
	putReader(a.br)
	spliced = true
	if u.cfg.Engine.Splice(spec) != nil {
		owner.Ended(splice.Result{Cause: splice.Drained})
	}
}

// undress takes the TLS off an end that has some. It fails when that has been broken off.
func undress(end splice.End, early []byte) (splice.End, *splice.Secured, []byte, error) {
	over, ok := end.(*tlsterm.TLSConn)
	if !ok {
		return end, nil, early, nil
	}
	d, err := over.Detach()
	if err != nil {
		return end, nil, early, err
	}
	return d.TCP.(splice.End), &splice.Secured{Session: d.Session, Raw: d.Raw}, append(early, d.Plain...), nil
}

// drain reads what a client has sent behind its handshake: what fasthttp's reader holds, since a
// detached connection gives no more.
func drain(hijacked net.Conn) []byte {
	early, _ := io.ReadAll(hijacked) // ends with tlsterm.ErrDetached
	return early
}

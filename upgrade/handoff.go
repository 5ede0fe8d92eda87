package upgrade

import (
	"errors"
	"net"
	"time"

	"wsproxy/internal/dial"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
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
}

const (
	defaultHeaderSize = 16 << 10

	// answerTimeout is how long a client may take to receive its 101, which is smaller than any
	// socket's buffer.
	answerTimeout = 10 * time.Second
)

// Upgrader makes links.
type Upgrader struct{ cfg Config }

// New makes an Upgrader.
func New(cfg Config) *Upgrader {
	if cfg.Dialer == nil {
		cfg.Dialer = new(dial.Dialer)
	}
	if cfg.HeaderSize == 0 {
		cfg.HeaderSize = defaultHeaderSize
	}
	return &Upgrader{cfg: cfg}
}

// ErrClientGone is a client that left while its backend was asked.
var ErrClientGone = errors.New("client gone")

// Link answers the client with the backend's 101, its fields changed by edit unless that is nil, and joins
// the two. It ends the use of a, and takes the connection away from fasthttp: the handler returns behind
// it. policy is the link's, nil for none. owner is told once, when the link has ended or could not be
// made; then the Result has no duration. On an error, ErrClientGone, it is not told.
func (u *Upgrader) Link(client *inbound.Conn, a *Answer, edit *head.Edit, policy *splice.Policy, owner splice.Owner) error {
	if client.Gone() {
		a.Close()
		return ErrClientGone
	}
	conn, early := client.Detach()
	spliced := false
	defer func() {
		if !spliced {
			sock.CloseNow(conn)
			a.Close()
			owner.Ended(splice.Result{Cause: splice.ClientGone})
		}
	}()
	spliced = u.join(conn, early, a, edit, policy, owner)
	return nil
}

// join reports whether both connections are the engine's, or closed.
func (u *Upgrader) join(client net.Conn, early []byte, a *Answer, edit *head.Edit, policy *splice.Policy, owner splice.Owner) bool {
	_ = client.SetDeadline(time.Now().Add(answerTimeout))
	buf := headBuffers.Get().(*[]byte)
	*buf = a.response.Append((*buf)[:0], edit)
	_, err := client.Write(*buf)
	headBuffers.Put(buf)
	if err != nil {
		return false
	}
	_ = client.SetDeadline(time.Time{})
	spec := splice.Spec{
		Client: client.(splice.End), Backend: a.conn.(splice.End),
		FromClient: early, FromBackend: a.early(),
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
			// One may have been taken out of what is closed by the caller.
			spec.Client.Close()
			spec.Backend.Close()
			return false
		}
	}
	putReader(a.br)
	if u.cfg.Engine.Splice(spec) != nil {
		owner.Ended(splice.Result{Cause: splice.Drained})
	}
	return true
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

// Package routing decides where a request goes. Load reads proxy.yaml into a Config, plain values;
// NewTable makes of its routes an immutable Table, which gives for a host and a path the Route that
// serves them, and a Route picks the Backend.
package routing

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Config is proxy.yaml as plain values. Load fills in every default; who builds one in Go may leave
// zero values and call FillDefaults. Nothing in it changes after that.
type Config struct {
	// File is the path as given to Load, empty for a Config built in Go.
	File string

	// Listeners are the addresses to accept on, at least one after Load.
	Listeners []Listener

	// Routes are in the file's order, which means nothing: the most specific match wins. At least one
	// after Load.
	Routes []RouteConfig

	// TrustedProxies are those whose word about a client is taken: in X-Forwarded-For and its like, in a
	// PROXY protocol header. None means nobody's. Load gives each in its shortest form: host bits are
	// zero, and IPv4 addresses mapped to IPv6 are IPv4.
	TrustedProxies Networks

	// Forwarded sends backends Forwarded (RFC 7239) beside X-Forwarded-For and its like.
	Forwarded bool

	Timeouts Timeouts
	Limits   Limits

	// GracePeriod is how long requests and links may take to end after SIGTERM. Zero means 30 seconds.
	GracePeriod time.Duration

	// Engine is how links are carried: "auto", "epoll" or "goroutines". Empty means "auto".
	Engine string

	// Loops is how many epoll loops there are. Zero means one for each CPU.
	Loops int

	Log Log

	// Warnings are what does not stop the proxy but should be looked at: a certificate that expires.
	Warnings []Fault
}

// Listener is one address to accept on.
type Listener struct {
	// Address is host:port, :port or [ip]:port. Port 0 is one picked by the system.
	Address string

	// TLS is nil for a listener of ws:// and http://.
	TLS *TLS

	// HTTPSPort is the port of https that requests are redirected to; only a listener without TLS has
	// one. Zero means that they are served.
	HTTPSPort int

	// ProxyProtocol says that connections from TrustedProxies begin with a PROXY protocol header, of
	// version 1 or 2. Others are served as they are.
	ProxyProtocol bool

	// Line is where the file has it, zero for one built in Go.
	Line int
}

// TLS says how a listener ends TLS. After Load it has one of Certificates, SelfSigned and ACME.
type TLS struct {
	// Certificates are the pairs to choose from by server name; the first serves whoever asks for none.
	Certificates []CertificateFiles

	// SelfSigned are the names and IP addresses of a certificate to be made at start.
	SelfSigned []string

	// ACME says where certificates come from that are obtained and renewed by themselves.
	ACME *ACME

	// MinVersion is a constant of crypto/tls. Zero means TLS 1.2.
	MinVersion uint16

	// Curves are the key exchanges that are spoken. None means all that crypto/tls has.
	Curves []tls.CurveID

	// Protocols are what a client may name with ALPN. None means http/1.1 and http/1.0. AnyProtocol
	// leaves ALPN out.
	Protocols   []string
	AnyProtocol bool

	// ClientAuth is "off", "request" or "require". Empty means "off". ClientCA is the PEM file of those
	// who vouch for clients, empty with "off".
	ClientAuth string
	ClientCA   string

	// NoTickets leaves out session tickets. TicketKeys is the file of their keys, as checkTicketKeys
	// describes it; empty means keys of the listener's own.
	NoTickets  bool
	TicketKeys string
}

// ACME is a CA that certificates are obtained from.
type ACME struct {
	// Hosts are names without wildcards, at least one after Load.
	Hosts []string

	// Email is where the CA can write to, empty for nowhere.
	Email string

	// Directory is the URL of the CA's directory. Empty means Let's Encrypt.
	Directory string

	// Cache is a folder for keys and certificates.
	Cache string

	// CA is a PEM file of those who vouch for the directory's own certificate. Empty means the system's.
	CA string
}

// CertificateFiles is a certificate chain and its key, both PEM files. Load has read them once: they
// parsed, and the key fits the certificate.
type CertificateFiles struct {
	// Cert and Key are paths; what the file writes relative to its own folder stands here joined with it.
	Cert, Key string

	// Names are the host names and IP addresses the certificate is for, as it lists them.
	Names []string

	// NotAfter is when the certificate expires.
	NotAfter time.Time
}

// RouteConfig is one entry of routes.
type RouteConfig struct {
	// Host is an exact name, a wildcard such as *.example.com, or empty for any. Load gives it in lower
	// case, without trailing dot. A wildcard stands for one label or more, never for none.
	Host string

	// Path is exact ("/chat") or a prefix ("/ws/*"). Empty means "/*", every path. Table.Match says what
	// a prefix matches.
	Path string

	// Backends take turns. At least one.
	Backends []BackendConfig

	// HostHeader is the Host a backend is sent. Zero keeps the client's.
	HostHeader HostHeader

	// ProxyProtocol is the version, 1 or 2, of the PROXY protocol header that a backend is sent first
	// on each connection, which is then for that one client alone. Zero sends none. A builtin reads none.
	ProxyProtocol int

	// NoHTTP serves WebSockets only: any other request is refused with 426.
	NoHTTP bool

	// Prefix says what becomes of the path's prefix on the way to a backend. Zero keeps it.
	Prefix PathPrefix

	// RequestHeaders change what backends are sent, ResponseHeaders what clients are.
	RequestHeaders, ResponseHeaders HeaderRules

	// DialTimeout is how long connecting to a backend may take, the lookup of its name and TLS included. Zero
	// means 5 seconds.
	DialTimeout time.Duration

	// HandshakeTimeout is how long a backend may take to answer an opening handshake. Zero means
	// 10 seconds.
	HandshakeTimeout time.Duration

	// ResponseTimeout is how long a backend may take to begin answering a plain request. Zero means
	// 60 seconds.
	ResponseTimeout time.Duration

	// ReadTimeout is how long a backend may pause within the body of an answer. Zero means 5 minutes,
	// negative for ever.
	ReadTimeout time.Duration

	// Pool is for the connections of plain requests, each backend's by itself.
	Pool Pool

	// WebSocket is what the route asks of its links.
	WebSocket WebSocket

	// Line is where the file has it, zero for one built in Go.
	Line int

	// tls is for the backends that have none of their own, until Load has given it to them.
	tls *BackendTLS
}

// BackendConfig is one backend of a route, as ParseBackend makes it.
type BackendConfig struct {
	// URL is as written.
	URL string

	// Addr is host:port, empty for a builtin.
	Addr string

	// Builtin is the name behind "builtin:", empty for any other backend.
	Builtin string

	// TLS is nil for a backend that is spoken to without.
	TLS *BackendTLS
}

// HostHeader says which Host a backend is sent. The zero value keeps the client's.
type HostHeader struct {
	// Backend sends the backend's own, as its URL has it.
	Backend bool

	// Literal, unless empty, is sent as it stands; Backend is false then.
	Literal string
}

// Log says what is logged and how.
type Log struct {
	// Level is the least that is logged. Zero is slog.LevelInfo.
	Level slog.Level

	// Format is "text" or "json". Empty means "text".
	Format string
}

// FillDefaults puts the default into every field that is zero. Load has done it.
func (c *Config) FillDefaults() {
	for i := range c.Listeners {
		if t := c.Listeners[i].TLS; t != nil {
			t.fillDefaults()
		}
	}
	for i := range c.Routes {
		c.Routes[i].fillDefaults()
	}
	c.Timeouts.fillDefaults()
	c.Limits.fillDefaults()
	fill(&c.GracePeriod, 30*time.Second)
	fill(&c.Engine, "auto")
	fill(&c.Log.Format, "text")
}

func (t *TLS) fillDefaults() {
	fill(&t.MinVersion, tls.VersionTLS12)
	fill(&t.ClientAuth, "off")
	if t.Curves == nil {
		for _, c := range curves {
			t.Curves = append(t.Curves, c.value)
		}
	}
	if t.Protocols == nil && !t.AnyProtocol {
		t.Protocols = []string{"http/1.1", "http/1.0"}
	}
}

func (r *RouteConfig) fillDefaults() {
	fill(&r.Path, "/*")
	fill(&r.DialTimeout, 5*time.Second)
	fill(&r.HandshakeTimeout, 10*time.Second)
	fill(&r.ResponseTimeout, 60*time.Second)
	fill(&r.ReadTimeout, 5*time.Minute)
	r.Pool.fillDefaults()
	r.WebSocket.fillDefaults()
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Package routing decides where a request goes. Load reads proxy.yaml into a Config, plain values;
// NewTable makes of its routes an immutable Table, which gives for a host and a path the Route that
// serves them, and a Route picks the Backend.
package routing

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"
)

// Config is proxy.yaml as plain values. Load fills in every default; who builds one in Go may leave
// zero values and call FillDefaults. Nothing in it changes after that.
type Config struct {
	// File is the path as given to Load, empty for a Config built in Go.
	File string

	// Files are what Load has read for it, in this order: File; then, include by include, the folder that
	// it names or that its pattern is for, with a slash at the end, and the files in there that were read.
	// They are relative if File is, or as include has them if absolute. A change to one of them, or a file
	// more in one of the folders, may mean another Config. PEM files are not among them.
	Files []string

	// Listeners are the addresses to accept on, at least one after Load.
	Listeners []Listener

	// Routes are in the file's order, then in that of included files, which means nothing: the most
	// specific match wins. At least one after Load.
	Routes []RouteConfig

	// TrustedProxies are those whose word about a client is taken: in X-Forwarded-For and its like, in a
	// PROXY protocol header. None means nobody's. Load gives each in its shortest form: host bits are
	// zero, and IPv4 addresses mapped to IPv6 are IPv4.
	TrustedProxies Networks

	// Forwarded sends backends Forwarded (RFC 7239) beside X-Forwarded-For and its like.
	Forwarded bool

	Timeouts Timeouts
	Limits   Limits

	// Drain is how links are closed that cannot stay.
	Drain Drain

	// Control is the path of the socket on which a running proxy is asked, "auto" for one that is found by
	// the file's name, or "off". Empty means "auto".
	Control string

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

	// Access says which clients are served; others get 403.
	Access Access

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

	// Backends is at least one. Balance says how one is picked; HashKey is for Hash only.
	Backends []BackendConfig
	Balance  Balance
	HashKey  HashKey

	// SlowStart is for how long a backend that is new or healthy again gets less than its share. Zero means
	// that there is no such time. Hash does not heed it.
	SlowStart time.Duration

	// Sticky brings clients back to their backends. Nil does not.
	Sticky *StickyConfig

	// MaxLinks is the most links for each of the backends that have no limit of their own. Zero means no
	// limit.
	MaxLinks int

	// Queue is for those that find all backends full.
	Queue Queue

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

	// Health says how backends are probed, Passive what failures of requests make of them.
	Health  HealthCheck
	Passive PassiveCheck

	// Limits are the route's own, which hold besides those of Config.
	Limits LinkLimits

	// Access says which clients are served, of those that the listener serves; others get 403.
	Access Access

	// Origins says which pages may open WebSockets; others get 403.
	Origins Origins

	// SourceAddresses are what connections to backends come from, in turn; where one has no port left
	// for a backend, the next is tried. None leaves the choice to the system.
	SourceAddresses []netip.Addr

	// File and Line are where it stands, empty and zero for one built in Go.
	File string
	Line int

	// Retries is on how many other backends a request is tried whose dial or opening handshake fails, while
	// its client has been sent nothing. Zero means 2, negative none.
	Retries int

	// OnDown is what becomes of the links of a backend that goes down.
	OnDown OnDown

	// Rebalance is for backends that have been added or have come back.
	Rebalance Rebalance

	// tls is for the backends that have none of their own, until Load has given it to them.
	tls *BackendTLS
}

// BackendConfig is one backend of a route, as ParseBackend makes it.
type BackendConfig struct {
	// URL is as written.
	URL string

	// Addr is host:port, empty for a builtin. A host that is a name stands for all its addresses.
	Addr string

	// SRV says that Addr is a name alone, whose SRV records say where the servers are.
	SRV bool

	// Builtin is the name behind "builtin:", empty for any other backend.
	Builtin string

	// TLS is nil for a backend that is spoken to without.
	TLS *BackendTLS

	// Weight is its share beside the others', up to 1000. Zero means 1.
	Weight int

	// Backup is for a backend that is used only when no other can be. Drain gives it nothing new.
	Backup, Drain bool

	// MaxLinks is the most links there may be to it for this route to open another; the links of other
	// routes count. Zero means the route's MaxLinks, negative no limit.
	MaxLinks int
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
	fill(&c.Drain.Window, defaultDrainWindow)
	fill(&c.Control, "auto")
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
	fill(&r.Queue.Timeout, 5*time.Second)
	if r.Sticky != nil {
		sticky := *r.Sticky // whose may be another's
		sticky.fillDefaults()
		r.Sticky = &sticky
	}
	r.Pool.fillDefaults()
	r.WebSocket.fillDefaults()
	r.fillOperation()
	r.Health.fillDefaults()
	r.Passive.fillDefaults()
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

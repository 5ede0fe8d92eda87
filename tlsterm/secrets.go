package tlsterm

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"

	"wsproxy/internal/record"
)

// Labels of a key log (draft-ietf-tls-keylogfile §2).
const (
	logMaster        = "CLIENT_RANDOM" // TLS 1.2
	logClientTraffic = "CLIENT_TRAFFIC_SECRET_0"
	logServerTraffic = "SERVER_TRAFFIC_SECRET_0"
)

// keyLog is a takeover as its tls.Config's KeyLogWriter. crypto/tls tells secrets in no other way.
// They go nowhere else.
type keyLog takeover

// Write takes one line: label, client random and secret.
func (k *keyLog) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return 0, errors.New("key log line that is not three words")
	}
	var secret *[]byte
	switch string(fields[0]) {
	case logMaster:
		secret = &k.secrets.Master
	case logClientTraffic:
		secret = &k.secrets.ClientTraffic
	case logServerTraffic:
		secret = &k.secrets.ServerTraffic
	default:
		return len(line), nil
	}
	clear(*secret)
	value, err := hex.AppendDecode(nil, fields[2])
	if err != nil {
		return 0, errors.New("key log line that is not hexadecimal")
	}
	*secret = value
	return len(line), nil
}

// serverConfig makes of a listener's config the one for connections that are taken over: what the
// record layer does not know is not offered, and each handshake tells its secrets to the takeover it
// runs over. A GetConfigForClient of base goes on working, except that all tickets are base's: made
// with its WrapSession, or with ticket keys that change by themselves.
func serverConfig(base *tls.Config) *tls.Config {
	shared := base.Clone()
	shared.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		conn, ok := hello.Conn.(*takeover)
		if !ok {
			return nil, errors.New("tls handshake that is not to be taken over")
		}
		config := shared
		if base.GetConfigForClient != nil {
			chosen, err := base.GetConfigForClient(hello)
			if err != nil {
				return nil, err
			}
			if chosen != nil {
				config = chosen
			}
		}
		config = config.Clone()
		conn.observe(config)
		conn.keepMaster(config, base)
		return config, nil
	}
	return shared
}

// clientConfig is serverConfig for one connection to a backend. Nothing is resumed: the tickets of
// TLS 1.3 come after the handshake, when crypto/tls is gone.
func (c *takeover) clientConfig(base *tls.Config) *tls.Config {
	config := base.Clone()
	config.ClientSessionCache = nil
	config.Renegotiation = tls.RenegotiateNever
	c.observe(config)
	return config
}

// observe makes a handshake tell its secrets, and end in what the record layer knows.
func (c *takeover) observe(config *tls.Config) {
	config.KeyLogWriter = (*keyLog)(c)
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if config.CipherSuites == nil {
		config.CipherSuites = knownSuites
		return
	}
	var known []uint16
	for _, id := range config.CipherSuites {
		if record.Knows(id) {
			known = append(known, id)
		}
	}
	config.CipherSuites = append([]uint16{}, known...) // empty, and not nil, which would mean all
}

// knownSuites are the ones of TLS 1.2. Those of TLS 1.3 are all known, and cannot be chosen.
var knownSuites = func() (ids []uint16) {
	for _, suite := range tls.CipherSuites() {
		if record.Knows(suite.ID) {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}()

// ticketLabel stands before the master secret among a ticket's extra values.
const ticketLabel = "wsproxy master secret "

// keepMaster keeps TLS 1.2's master secret in tickets. A resumed session has the master secret of the
// one before it, which is in the ticket, too, but where only crypto/tls finds it, and no key log
// tells it again.
func (c *takeover) keepMaster(config, base *tls.Config) {
	wrap, unwrap := base.WrapSession, base.UnwrapSession
	if wrap == nil {
		wrap = base.EncryptTicket
	}
	if unwrap == nil {
		unwrap = base.DecryptTicket
	}
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if state.Version == tls.VersionTLS12 {
			session.Extra = append(session.Extra, append([]byte(ticketLabel), c.secrets.Master...))
		}
		return wrap(state, session)
	}
	config.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(identity, state)
		if err != nil || session == nil || state.Version != tls.VersionTLS12 {
			return session, err
		}
		for _, extra := range session.Extra {
			if master, ok := bytes.CutPrefix(extra, []byte(ticketLabel)); ok {
				c.secrets.Master = bytes.Clone(master)
				return session, nil
			}
		}
		return nil, nil // from before the record layer; a whole handshake follows
	}
}

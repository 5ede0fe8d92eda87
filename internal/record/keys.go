package record

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
)

// What both sides of a session know of their secrets.
const (
	masterSize = 48
	randomSize = 32
)

// Secrets are what a handshake leaves behind. They are not kept.
type Secrets struct {
	// Suite is the cipher suite, as crypto/tls numbers them; it says which version of TLS it is.
	Suite uint16

	// Client says that this side is the client.
	Client bool

	// TLS 1.3: the first application traffic secrets, client_ and server_application_traffic_secret_0.
	ClientTraffic, ServerTraffic []byte

	// TLS 1.2: the master secret and the hellos' randoms.
	Master, ClientRandom, ServerRandom []byte
}

// New makes the Session that begins right behind the handshake. In TLS 1.2 the other side's Finished
// counts as opened; Sent counts what this side has sealed already.
func New(secrets Secrets) (Session, error) {
	at := suiteOf(secrets.Suite)
	if at == 0 {
		return Session{}, fmt.Errorf("cipher suite %#04x is not known to the record layer", secrets.Suite)
	}
	s := Session{suite: at}
	clients, servers := &s.in, &s.out
	if secrets.Client {
		s.flags |= client
		clients, servers = servers, clients
	}
	if s.is13() {
		size := suites[at].hash().Size()
		if len(secrets.ClientTraffic) != size || len(secrets.ServerTraffic) != size {
			return Session{}, errors.New("traffic secrets do not fit the cipher suite")
		}
		copy(clients.secret[:], secrets.ClientTraffic)
		copy(servers.secret[:], secrets.ServerTraffic)
		clients.derive(at)
		servers.derive(at)
		return s, nil
	}
	if len(secrets.Master) != masterSize || len(secrets.ClientRandom) != randomSize || len(secrets.ServerRandom) != randomSize {
		return Session{}, errors.New("master secret or randoms of a wrong size")
	}
	// RFC 5246 §6.3. The AEADs have no MAC keys.
	seed := append(append([]byte("key expansion"), secrets.ServerRandom...), secrets.ClientRandom...)
	keySize, ivSize := suites[at].keySize, nonceSize
	if suites[at].explicit {
		ivSize -= explicitSize
	}
	block := prf(suites[at].hash, secrets.Master, seed, 2*keySize+2*ivSize)
	defer clear(block)
	rest := block
	for _, part := range [][]byte{
		clients.key[:keySize], servers.key[:keySize], clients.iv[:ivSize], servers.iv[:ivSize],
	} {
		rest = rest[copy(part, rest):]
	}
	s.in.seq = 1
	return s, nil
}

// next moves a direction of TLS 1.3 to its next key (RFC 8446 §7.2).
func (h *half) next(s suite) {
	size := suites[s].hash().Size()
	secret := expandLabel(suites[s].hash, h.secret[:size], "traffic upd", size)
	copy(h.secret[:], secret)
	clear(secret)
	h.derive(s)
}

// derive makes key and IV of the traffic secret (RFC 8446 §7.3); sequence numbers begin again.
func (h *half) derive(s suite) {
	secret := h.secret[:suites[s].hash().Size()]
	key := expandLabel(suites[s].hash, secret, "key", suites[s].keySize)
	copy(h.key[:], key)
	clear(key)
	copy(h.iv[:], expandLabel(suites[s].hash, secret, "iv", nonceSize))
	h.seq = 0
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func expandLabel(h func() hash.Hash, secret []byte, label string, size int) []byte {
	const prefix = "tls13 "
	info := append([]byte{byte(size >> 8), byte(size), byte(len(prefix) + len(label))}, prefix+label...)
	out, err := hkdf.Expand(h, secret, string(append(info, 0)), size)
	if err != nil {
		panic(err) // sizes are ours, and far below HKDF's limit
	}
	return out
}

// prf is TLS 1.2's, label and seed together (RFC 5246 §5).
func prf(h func() hash.Hash, secret, seed []byte, size int) []byte {
	mac := hmac.New(h, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, part := range parts {
			mac.Write(part)
		}
		return mac.Sum(nil)
	}
	out := make([]byte, 0, size+mac.Size())
	for a := sum(seed); len(out) < size; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:size]
}

// version is a constant of crypto/tls, 0 of no suite.
func (s suite) version() uint16 {
	switch {
	case s == 0:
		return 0
	case s < first12:
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

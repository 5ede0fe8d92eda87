package tlsterm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/pires/go-proxyproto"
)

// errProxyHeader is how a connection ends that had to begin with a PROXY protocol header and did not.
var errProxyHeader = errors.New("no valid PROXY protocol header")

// endpoints are the two ends of a client's connection to the proxy before us.
type endpoints struct{ client, destination netip.AddrPort }

// readProxyHeader reads a PROXY protocol header of version 1 or 2, and no byte behind it: what follows
// may be read from the descriptor by somebody else. It gives nil for a header that leaves the
// connection's own addresses in force, and says whether anything has come.
func readProxyHeader(r io.Reader) (told *endpoints, heard bool, err error) {
	b := make([]byte, 0, maxLine)
	for {
		left, err := headerLeft(b)
		if err != nil {
			return nil, true, fmt.Errorf("%w: %w", errProxyHeader, err)
		}
		if left == 0 {
			break
		}
		b = slices.Grow(b, left)
		n, err := r.Read(b[len(b) : len(b)+left])
		b = b[:len(b)+n]
		if err != nil && n == 0 { // one with bytes comes again
			return nil, len(b) > 0, fmt.Errorf("read PROXY protocol header: %w", err)
		}
	}
	if told, err = parseProxyHeader(b); err != nil {
		return nil, true, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	return told, true, nil
}

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"

	// Bytes of version 2.
	command = len(signature2)
	family  = command + 1

	minLine  = len("PROXY UNKNOWN\r\n")
	maxLine  = 107 // of version 1, with the line's end
	prefix2  = 16  // of version 2: the signature, command, family and length
	maxRest2 = 2048
)

// headerLeft says how many bytes a header that begins with b still has at least: none when it is whole.
// It fails as soon as no header begins like that.
func headerLeft(b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return min(minLine, prefix2), nil
	case strings.HasPrefix(signature1, string(b[:min(len(b), len(signature1))])):
		return lineLeft(b)
	case strings.HasPrefix(signature2, string(b[:min(len(b), len(signature2))])):
		return binaryLeft(b)
	}
	return 0, errors.New("no signature")
}

// lineLeft is headerLeft of version 1.
func lineLeft(b []byte) (int, error) {
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		if end < len(b)-1 {
			return 0, errors.New("line too short")
		}
		return 0, nil
	}
	if len(b) < minLine {
		return minLine - len(b), nil
	}
	if len(b) == maxLine {
		return 0, errors.New("line too long")
	}
	// Of addresses and ports that much is to come behind as many spaces, whatever the word under way
	// still lacks. It saves reading the line byte by byte, which is done for what UNKNOWN may have.
	behind := [...]string{2: " :: 0 0\r\n", 3: " 0 0\r\n", 4: " 0\r\n", 5: "\r\n"}
	spaces := bytes.Count(b, []byte(" "))
	if !bytes.HasPrefix(b, []byte("PROXY TCP")) || spaces >= len(behind) || b[len(b)-1] == '\r' {
		return 1, nil
	}
	return min(max(1, len(behind[spaces])), maxLine-len(b)), nil
}

// binaryLeft is headerLeft of version 2.
func binaryLeft(b []byte) (int, error) {
	if len(b) > command && b[command] != byte(proxyproto.LOCAL) && b[command] != byte(proxyproto.PROXY) {
		return 0, errors.New("unknown version or command")
	}
	if len(b) < prefix2 {
		return prefix2 - len(b), nil
	}
	rest := int(binary.BigEndian.Uint16(b[prefix2-2:]))
	if rest > maxRest2 {
		return 0, fmt.Errorf("%d bytes of addresses and more", rest)
	}
	return prefix2 + rest - len(b), nil
}

// parseProxyHeader parses a whole header. LOCAL, UNKNOWN and what is no TCP leave the connection's own
// addresses in force.
func parseProxyHeader(b []byte) (*endpoints, error) {
	if b[0] == signature2[0] && b[family] == byte(proxyproto.UNSPEC) && b[command] == byte(proxyproto.PROXY) {
		// The receiver is free to accept it and use the connection's own addresses (§2.2), which the
		// parser is not.
		b[command] = byte(proxyproto.LOCAL)
	}
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return nil, err
	}
	client, destination, ok := header.TCPAddrs()
	if !ok || header.Command.IsLocal() {
		return nil, nil
	}
	return &endpoints{addrPort(client), addrPort(destination)}, nil
}

// addrPort is a TCP address as a value, IPv4 as such; the zero one stands for none.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	to := tcp.AddrPort()
	return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
}

package tlsterm

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
)

// proxyHeader is one as go-proxyproto writes it.
func proxyHeader(t testing.TB, version byte, client, destination net.Addr, tlvs ...proxyproto.TLV) string {
	t.Helper()
	header := proxyproto.HeaderProxyFromAddrs(version, client, destination)
	if err := header.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := header.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tcp(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// goodHeader is a header and the endpoints that it tells, none for those of the connection itself.
type goodHeader struct{ name, header, client, destination string }

func goodHeaders(t testing.TB) []goodHeader {
	const client4, server4 = "192.0.2.1:1234", "198.51.100.255:443"
	const client6, server6 = "[2001:db8::1]:65535", "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:443"
	tlv := func(size int) proxyproto.TLV {
		return proxyproto.TLV{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, size)}
	}
	long := strings.Repeat("ffff:", 7) + "ffff"
	return []goodHeader{
		{"v1 TCP4", proxyHeader(t, 1, tcp(client4), tcp(server4)), client4, server4},
		{"v1 TCP4, shortest", "PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n", "1.1.1.1:0", "2.2.2.2:0"},
		{"v1 TCP6", proxyHeader(t, 1, tcp(client6), tcp(server6)), client6, server6},
		{"v1 TCP6, shortest", "PROXY TCP6 :: :: 0 0\r\n", "[::]:0", "[::]:0"},
		{"v1 TCP6, longest", "PROXY TCP6 " + long + " " + long + " 65535 65535\r\n", "[" + long + "]:65535", "[" + long + "]:65535"},
		{"v1 TCP6, mapped", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:64ff 1234 443\r\n", client4, server4},
		{"v1 UNKNOWN", proxyHeader(t, 1, nil, nil), "", ""},
		{"v1 UNKNOWN, longest", "PROXY UNKNOWN " + long + " " + long + " 65535 65535\r\n", "", ""},
		{"v1 UNKNOWN with anything", "PROXY UNKNOWN \r \x00\r\r\n", "", ""},
		{"v2 TCP4", proxyHeader(t, 2, tcp(client4), tcp(server4)), client4, server4},
		{"v2 TCP6", proxyHeader(t, 2, tcp(client6), tcp(server6)), client6, server6},
		{"v2 TCP6, mapped", proxyHeader(t, 2, tcp(client4), tcp(server6)), client4, server6},
		{"v2 TLVs", proxyHeader(t, 2, tcp(client4), tcp(server4), tlv(7), tlv(300)), client4, server4},
		{"v2 longest", proxyHeader(t, 2, tcp(client4), tcp(server4), tlv(maxRest2-12-3)), client4, server4},
		{"v2 LOCAL", proxyHeader(t, 2, nil, nil), "", ""},
		{"v2 LOCAL with TLVs", proxyHeader(t, 2, nil, nil, tlv(10)), "", ""},
		{"v2 LOCAL with addresses", strings.Replace(proxyHeader(t, 2, tcp(client4), tcp(server4)), "\x21", "\x20", 1), "", ""},
		{"v2 LOCAL of TCP4 without", signature2 + "\x20\x11\x00\x00", "", ""},
		{"v2 UNSPEC", signature2 + "\x21\x00\x00\x00", "", ""},
		{"v2 UNSPEC with more", signature2 + "\x21\x00\x00\x02ab", "", ""},
		{"v2 UDP", proxyHeader(t, 2, &net.UDPAddr{IP: net.IPv4(1, 1, 1, 1)}, &net.UDPAddr{IP: net.IPv4(2, 2, 2, 2)}), "", ""},
		{"v2 UNIX", proxyHeader(t, 2, &net.UnixAddr{Net: "unix", Name: "/a"}, &net.UnixAddr{Net: "unix", Name: "/b"}), "", ""},
	}
}

// badHeaders are refused with their last byte, however many a client would send behind it.
func badHeaders(t testing.TB) map[string]string {
	v2 := proxyHeader(t, 2, tcp("192.0.2.1:1234"), tcp("192.0.2.2:443"))
	return map[string]string{
		"HTTP":                     "G",
		"HTTP with a P":            "PO",
		"TLS":                      "\x16",
		"a line's end":             "\r\n\r\nG",
		"lower case":               "Pr",
		"no space":                 "PROXYT",
		"v1 too short":             "PROXY TCP4\r\n",
		"v1 without a protocol":    "PROXY \r\n",
		"v1 unknown protocol":      "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"v1 no CR":                 "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
		"v1 no CR, UNKNOWN":        "PROXY UNKNOWN\n",
		"v1 families mixed":        "PROXY TCP4 1.1.1.1 ::1 1 2\r\n",
		"v1 IPv4 in TCP6":          "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
		"v1 zone":                  "PROXY TCP6 fe80::1%lo fe80::1 1 2\r\n",
		"v1 large port":            "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
		"v1 port with zeros":       "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
		"v1 negative port":         "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
		"v1 no second port":        "PROXY TCP4 1.1.1.1 2.2.2.2 12345\r\n",
		"v1 a word more":           "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
		"v1 two spaces":            "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
		"v1 a byte too long":       "PROXY UNKNOWN" + strings.Repeat(" ", maxLine-minLine+2),
		"v1 a byte too long, TCP6": "PROXY TCP6 " + strings.Repeat("f", maxLine-11),
		"v2 signature":             signature2[:11] + "\r",
		"v2 of version 1":          signature2 + "\x11",
		"v2 command":               signature2 + "\x22",
		"v2 protocol":              signature2 + "\x21\x13\x00\x0c" + v2[prefix2:],
		"v2 addresses too short":   signature2 + "\x21\x11\x00\x0b" + v2[prefix2:len(v2)-1],
		"v2 IPv6 of IPv4's length": signature2 + "\x21\x21\x00\x0c" + v2[prefix2:],
		"v2 too long":              signature2 + "\x21\x11\x08\x01",
		"v2 LOCAL too long":        signature2 + "\x20\x00\xff\xff",
	}
}

func TestReadProxyHeader(t *testing.T) {
	for _, tt := range goodHeaders(t) {
		for way, from := range readers(tt.header + "behind") {
			told, heard, err := readProxyHeader(from)
			if err != nil || !heard {
				t.Errorf("%s, %s: heard %v, %v", tt.name, way, heard, err)
				continue
			}
			switch {
			case told == nil && tt.client == "":
			case told == nil || told.client.String() != netip.MustParseAddrPort(tt.client).String() ||
				told.destination.String() != netip.MustParseAddrPort(tt.destination).String():
				t.Errorf("%s, %s: it tells %v, want %s and %s", tt.name, way, told, tt.client, tt.destination)
			}
			if rest, _ := io.ReadAll(from); string(rest) != "behind" {
				t.Errorf("%s, %s: behind it are %q", tt.name, way, rest)
			}
		}
	}
	for name, header := range badHeaders(t) {
		// A reader that would block instead of a client that waits.
		for way, from := range readers(header) {
			told, heard, err := readProxyHeader(io.MultiReader(from, iotest.ErrReader(errors.New("read too far"))))
			if told != nil || !heard || !errors.Is(err, errProxyHeader) {
				t.Errorf("%s, %s: %v, heard %v, %v, want %v", name, way, told, heard, err, errProxyHeader)
			}
		}
	}
}

func readers(s string) map[string]io.Reader {
	return map[string]io.Reader{
		"at once": strings.NewReader(s), "in bytes": iotest.OneByteReader(strings.NewReader(s)),
		"in halves": iotest.HalfReader(strings.NewReader(s)), "with the error": iotest.DataErrReader(strings.NewReader(s)),
	}
}

func TestProxyHeaderThatBreaksOff(t *testing.T) {
	for _, tt := range goodHeaders(t) {
		for n := range len(tt.header) {
			if _, heard, err := readProxyHeader(strings.NewReader(tt.header[:n])); !errors.Is(err, io.EOF) || heard != (n > 0) {
				t.Fatalf("%s, %d bytes of it: heard %v, %v, want %v", tt.name, n, heard, err, io.EOF)
			}
		}
	}
}

// Whatever comes: go-proxyproto, which reads ahead, takes the same headers for the same and ends at the
// same byte, and how the bytes come makes no difference.
func FuzzReadProxyHeader(f *testing.F) {
	for _, tt := range goodHeaders(f) {
		f.Add([]byte(tt.header + "behind"))
	}
	for _, header := range badHeaders(f) {
		f.Add([]byte(header))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, pieces := bytes.NewReader(b), bytes.NewReader(b)
		told, _, err := readProxyHeader(whole)
		again, _, errAgain := readProxyHeader(iotest.OneByteReader(pieces))
		if (err == nil) != (errAgain == nil) || errors.Is(err, errProxyHeader) != errors.Is(errAgain, errProxyHeader) ||
			err == nil && whole.Len() != pieces.Len() || (told == nil) != (again == nil) || told != nil && *told != *again {
			t.Fatalf("at once %v, %v and %d bytes behind it, in bytes %v, %v and %d", told, err, whole.Len(), again, errAgain, pieces.Len())
		}

		if len(b) > len(signature2)+1 && string(b[len(signature2):len(signature2)+2]) == "\x21\x00" {
			return // UNSPEC
		}
		theirs := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		header, theirErr := proxyproto.Read(theirs)
		behind := theirs.Buffered()
		if theirErr == nil && header.Version == 2 && len(b)-behind > prefix2+maxRest2 {
			return
		}
		if (err == nil) != (theirErr == nil) || err == nil && whole.Len() != behind {
			t.Fatalf("we say %v and %d bytes behind it, go-proxyproto %v and %d", err, whole.Len(), theirErr, behind)
		}
		if err == nil && told != nil && told.client != addrPort(header.SourceAddr) {
			t.Fatalf("we say %v, go-proxyproto %v", told.client, header.SourceAddr)
		}
	})
}

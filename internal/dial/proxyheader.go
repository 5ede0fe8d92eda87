package dial

import (
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// AppendProxyHeader appends a PROXY protocol header of version 1 or 2, which tells a backend who the
// client is and where it connected to. When one of the two is IPv6, the other is mapped into it; zones
// are left out. When either is not known, the zero value, the header says so: UNKNOWN in version 1, LOCAL
// in version 2.
func AppendProxyHeader(dst []byte, version int, client, destination netip.AddrPort) []byte {
	header := proxyproto.HeaderProxyFromAddrs(byte(version), tcpAddr(client), tcpAddr(destination))
	b, err := header.Format()
	if err != nil {
		panic(err) // it has two addresses of one family, or none
	}
	return append(dst, b...)
}

// tcpAddr is an address as the formatter wants it, nil for the zero value.
func tcpAddr(a netip.AddrPort) net.Addr {
	if !a.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

package dnstest

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// Address is an A or AAAA record.
func Address(owner, addr string, ttl uint32) dnsmessage.Resource {
	a := netip.MustParseAddr(addr)
	r := dnsmessage.Resource{Header: header(owner, dnsmessage.TypeAAAA, ttl)}
	if a.Is4() {
		r.Header.Type = dnsmessage.TypeA
		r.Body = &dnsmessage.AResource{A: a.As4()}
		return r
	}
	r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
	return r
}

// Alias is a CNAME record.
func Alias(owner, target string, ttl uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header(owner, dnsmessage.TypeCNAME, ttl),
		Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target)},
	}
}

// Service is an SRV record.
func Service(owner, target string, port, priority, weight uint16, ttl uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header(owner, dnsmessage.TypeSRV, ttl),
		Body: &dnsmessage.SRVResource{
			Target: dnsmessage.MustNewName(target), Port: port, Priority: priority, Weight: weight},
	}
}

// Text is a TXT record, which nobody asks for.
func Text(owner string, ttl uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header(owner, dnsmessage.TypeTXT, ttl),
		Body:   &dnsmessage.TXTResource{TXT: []string{"beside the matter"}},
	}
}

func header(owner string, kind dnsmessage.Type, ttl uint32) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{
		Name: dnsmessage.MustNewName(owner), Type: kind, Class: dnsmessage.ClassINET, TTL: ttl}
}

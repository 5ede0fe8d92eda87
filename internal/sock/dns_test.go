package sock

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// reply is what a dnsServer says to one question.
type reply struct {
	code    dnsmessage.RCode
	records []dnsmessage.Resource
	silent  bool // says nothing at all
	cut     bool // by UDP, the TC bit is set
}

// dnsServer answers DNS questions on a port of 127.0.0.1, by UDP and by TCP.
type dnsServer struct {
	addr      string
	questions atomic.Int64

	mu     sync.Mutex // guards answer
	answer func(q dnsmessage.Question, network string) reply
}

func newDNSServer(t *testing.T) *dnsServer {
	t.Helper()
	udp, tcp, err := listenBoth()
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{addr: tcp.Addr().String()}
	s.set(func(dnsmessage.Question, string) reply { return reply{code: dnsmessage.RCodeNameError} })
	var serving sync.WaitGroup
	serving.Go(func() { s.serveUDP(udp, &serving) })
	serving.Go(func() { s.serveTCP(tcp, &serving) })
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		serving.Wait()
	})
	return s
}

// listenBoth tries until a port is free for both.
func listenBoth() (udp net.PacketConn, tcp net.Listener, err error) {
	for range 20 {
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return udp, tcp, nil
		}
		tcp.Close()
	}
	return nil, nil, err
}

// set makes answer the server's from the next question on. It may block.
func (s *dnsServer) set(answer func(q dnsmessage.Question, network string) reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// setRecords answers A and AAAA questions with those of the records that fit: all but the other
// family's addresses.
func (s *dnsServer) setRecords(records ...dnsmessage.Resource) {
	s.set(func(q dnsmessage.Question, _ string) reply { return reply{records: fitting(q, records)} })
}

func fitting(q dnsmessage.Question, records []dnsmessage.Resource) (fit []dnsmessage.Resource) {
	for _, r := range records {
		if r.Header.Type == q.Type || r.Header.Type != dnsmessage.TypeA && r.Header.Type != dnsmessage.TypeAAAA {
			fit = append(fit, r)
		}
	}
	return fit
}

func (s *dnsServer) serveUDP(conn net.PacketConn, serving *sync.WaitGroup) {
	for {
		b := make([]byte, 1500)
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		serving.Go(func() {
			if message := s.respond(b[:n], "udp"); message != nil {
				_, _ = conn.WriteTo(message, from)
			}
		})
	}
}

func (s *dnsServer) serveTCP(ln net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer conn.Close()
			var length [2]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			// In two writes: a message need not come in one read.
			message := framed(s.respond(b, "tcp"))
			_, _ = conn.Write(message[:5])
			_, _ = conn.Write(message[5:])
		})
	}
}

// framed puts a message behind its length, as a stream carries it.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func (s *dnsServer) respond(query []byte, network string) []byte {
	s.questions.Add(1)
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	r := answer(q, network)
	if r.silent {
		return nil
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true,
			RCode: r.code, Truncated: r.cut && network == "udp"},
		Questions: []dnsmessage.Question{q},
		Answers:   r.records,
	}
	packed, err := m.Pack()
	if err != nil {
		panic(err) // a test's records are wrong
	}
	return packed
}

// address is an A or AAAA record.
func address(owner, addr string, ttl uint32) dnsmessage.Resource {
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

func alias(owner, target string, ttl uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header(owner, dnsmessage.TypeCNAME, ttl),
		Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target)},
	}
}

func text(owner string, ttl uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header(owner, dnsmessage.TypeTXT, ttl),
		Body:   &dnsmessage.TXTResource{TXT: []string{"beside the matter"}},
	}
}

func header(owner string, kind dnsmessage.Type, ttl uint32) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{
		Name: dnsmessage.MustNewName(owner), Type: kind, Class: dnsmessage.ClassINET, TTL: ttl}
}

// Package dnstest is a DNS server for tests.
package dnstest

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Reply is what a Server says to one question.
type Reply struct {
	Code    dnsmessage.RCode
	Records []dnsmessage.Resource
	Silent  bool // says nothing at all
	Cut     bool // by UDP, the TC bit is set
}

// Server answers DNS questions on a port of 127.0.0.1, by UDP and by TCP.
type Server struct {
	// Addr is host:port, the same for both.
	Addr string

	// Questions counts those that have come.
	Questions atomic.Int64

	mu     sync.Mutex // guards answer
	answer func(q dnsmessage.Question, network string) Reply
}

// maxDatagram is what net.Resolver says that it takes by UDP.
const maxDatagram = 1232

// NewServer starts a Server that ends with the test. It knows no name until it is told.
func NewServer(t *testing.T) *Server {
	t.Helper()
	udp, tcp, err := listenBoth()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: tcp.Addr().String()}
	s.Set(func(dnsmessage.Question, string) Reply { return Reply{Code: dnsmessage.RCodeNameError} })
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

// Set makes answer the server's from the next question on. It may block.
func (s *Server) Set(answer func(q dnsmessage.Question, network string) Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// SetRecords answers every question, whatever its name, with the Fitting ones of the records.
func (s *Server) SetRecords(records ...dnsmessage.Resource) {
	s.Set(func(q dnsmessage.Question, _ string) Reply { return Reply{Records: Fitting(q, records)} })
}

// Fitting leaves out the records that are for questions of another type than q's.
func Fitting(q dnsmessage.Question, records []dnsmessage.Resource) (fit []dnsmessage.Resource) {
	for _, r := range records {
		switch r.Header.Type {
		case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeSRV:
			if r.Header.Type != q.Type {
				continue
			}
		}
		fit = append(fit, r)
	}
	return fit
}

// SetZone answers as the server of all the names would whose records these are.
func (s *Server) SetZone(records ...dnsmessage.Resource) {
	s.Set(func(q dnsmessage.Question, _ string) Reply { return Zone(q, records) })
}

// Zone is what SetZone answers.
func Zone(q dnsmessage.Question, records []dnsmessage.Resource) (r Reply) {
	name, known := q.Name.String(), false
	for range 8 { // aliases
		next := ""
		for _, record := range records {
			if !strings.EqualFold(record.Header.Name.String(), name) {
				continue
			}
			known = true
			cname, isAlias := record.Body.(*dnsmessage.CNAMEResource)
			if isAlias {
				next = cname.CNAME.String()
			}
			if isAlias || record.Header.Type == q.Type {
				r.Records = append(r.Records, record)
			}
		}
		if name = next; name == "" {
			break
		}
	}
	if !known {
		r.Code = dnsmessage.RCodeNameError
	}
	return r
}

func (s *Server) serveUDP(conn net.PacketConn, serving *sync.WaitGroup) {
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

func (s *Server) serveTCP(ln net.Listener, serving *sync.WaitGroup) {
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
			message := Framed(s.respond(b, "tcp"))
			_, _ = conn.Write(message[:5])
			_, _ = conn.Write(message[5:])
		})
	}
}

// Framed puts a message behind its length, as a stream carries it.
func Framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func (s *Server) respond(query []byte, network string) []byte {
	s.Questions.Add(1)
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
	if r.Silent {
		return nil
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true,
			RCode: r.Code, Truncated: r.Cut && network == "udp"},
		Questions: []dnsmessage.Question{q},
		Answers:   slices.Clone(r.Records), // Pack writes in it
	}
	packed := pack(m)
	if network == "udp" && len(packed) > maxDatagram {
		m.Truncated, m.Answers = true, nil
		packed = pack(m)
	}
	return packed
}

func pack(m dnsmessage.Message) []byte {
	packed, err := m.Pack()
	if err != nil {
		panic(err) // a test's records are wrong
	}
	return packed
}

package front

import (
	"sync/atomic"
	"time"

	"wsproxy/routing"
)

// remedies say what can be done about what wsproxy itself lacks.
var remedies = map[error]string{
	routing.ErrPorts: "each port of the source addresses has a connection to this backend already, or an address is none of " +
		"this machine (bind); list more source_addresses for the route, more addresses or ports of the backend, or widen net.ipv4.ip_local_port_range",
	routing.ErrDescriptors: "raise the limit of open files (LimitNOFILE= for systemd, ulimit -n, fs.nr_open), " +
		"or have fewer connections of plain HTTP (timeouts.keep_alive, pool.max_idle)",
}

// shortages are when operators were last told of each.
type shortages struct{ ports, descriptors seldom }

// report tells operators of a shortage, which refusals do one by one, once a minute and with its remedy.
func (s *Server) reportShortage(kind error, r *request, err error) {
	last := &s.shortages.ports
	if kind == routing.ErrDescriptors {
		last = &s.shortages.descriptors
	}
	if remedies[kind] == "" || !last.due(time.Now()) {
		return
	}
	attrs := []any{"err", err, "remedy", remedies[kind]}
	if r.backend != nil {
		attrs = append(attrs, "backend", r.backend.Addr)
	}
	s.cfg.Log.Error(kind.Error(), attrs...)
}

// seldom is something that is done once a minute.
type seldom struct{ last atomic.Int64 } // in nanoseconds of Unix time

func (s *seldom) due(now time.Time) bool {
	last := s.last.Load()
	return now.UnixNano()-last >= int64(time.Minute) && s.last.CompareAndSwap(last, now.UnixNano())
}
